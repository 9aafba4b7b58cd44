"""The managed client: the only way in which this library opens a Chroma directory."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import chromadb
from chromadb.config import Settings

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.chroma.apply import Applied, apply_plan
from chroma_lifecycle.chroma.closing import CloseReport, Way, end_and_prove, log_close
from chroma_lifecycle.chroma.engine_errors import chroma_errors
from chroma_lifecycle.chroma.ownership import Ownership, own
from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.errors import BadInput, LifecycleError, NoRoom
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.descriptors import below
from chroma_lifecycle.values import Scalar

Space = Literal["cosine", "l2", "ip"]
SPACES: Mapping[str, Space] = {"cosine": "cosine", "l2": "l2", "ip": "ip"}


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """What a new collection is made with.

    Attributes:
        space: How distances are measured.
        dimension: Of its vectors; Chroma itself would take that of the first ones to come.
        metadata: The collection's own; empty for none.
        hnsw: Settings of its index that are not Chroma's defaults (see ``marks.HNSW``).
    """

    space: Space
    dimension: int
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    hnsw: Mapping[str, float] = field(default_factory=dict)


class ManagedClient:
    """One collection of one directory, open for this process alone until it is closed.

    Use it as a context manager: it is closed whatever happens inside, and leaving the block
    without an error means that the directory is proven closed.
    """

    def __init__(
        self, client: Any, collection: Any, ownership: Ownership, dimension: int | None, *, everywhere: bool = True
    ) -> None:
        self._client = client
        self._everywhere = everywhere
        self._ownership = ownership
        self._collection = collection
        self._report: CloseReport | None = None
        self.dimension = dimension

    @classmethod
    def open(
        cls, directory: Path, collection: str, *, create: CollectionSettings | None = None, everywhere: bool = True
    ) -> Self:
        """Open *collection* in *directory*, exclusively, without a model, telemetry or the network.

        Args:
            create: Make the collection, in a directory that is missing or empty.
            everywhere: Look at the descriptors of every other process, now and at the close. Where the
                directory is sealed afterwards that happens then, and need not happen three times.

        Raises:
            NotOwned: Somebody else has the directory open.
            BadInput: There is no such collection, or another one beside it; or the directory was
                written by a newer Chroma.
            Corrupt: Its files are not whole.
        """
        with ExitStack() as undo:
            if create is not None:
                _make_room(directory)
            # 1. Nobody else has it, and nobody else gets it.
            ownership = own(directory, collection, everywhere=everywhere)
            undo.callback(ownership.release)
            # 2. Look before Chroma does: it answers torn files by wrong results or by dying.
            dimension = create.dimension if create else _check_before(ownership.directory, collection)
            # 3. Open.
            client = open_engine(ownership.directory)
            undo.callback(end_and_prove, client, timeout_seconds=5.0)
            with chroma_errors(f"collection {collection} in {directory}", ownership.directory):
                found = (
                    _create(client, collection, create)
                    if create
                    else client.get_collection(collection, embedding_function=None)
                )
            managed = cls(client, found, ownership, dimension, everywhere=everywhere)
            undo.pop_all()
            return managed

    @property
    def directory(self) -> Path:
        """The Chroma directory, resolved."""
        return self._ownership.directory

    @property
    def collection(self) -> Any:
        """Chroma's own collection object."""
        return self._collection

    @property
    def max_batch(self) -> int:
        """The most records that Chroma takes in one call."""
        with self.errors("asking for the largest batch"):
            return int(self._client.get_max_batch_size())

    def apply(self, plan: Plan, deltas: Mapping[str, Delta], tell: Callable[[int], None] = lambda _: None) -> Applied:
        """Bring the records to what *plan* says (see ``apply_plan``)."""
        return apply_plan(self, plan, deltas, tell)

    def errors(self, what: str, *, asked: bool = False) -> AbstractContextManager[None]:
        """Return a block in which Chroma's errors become ours, about *what* in this collection; see `chroma_errors`."""
        return chroma_errors(f"{what} in collection {self._ownership.owner.collection}", self.directory, asked=asked)

    def close(self, *, timeout_seconds: float = 5.0) -> CloseReport:
        """End the client and prove that the directory is closed; a second call only says so.

        Raises:
            NotClosed: The directory is still open; the error lists by what.
            Corrupt: It is closed, and not whole.
        """
        return self.close_proven(timeout_seconds=timeout_seconds)

    def close_proven(self, *, timeout_seconds: float) -> CloseReport:
        if self._report is not None:
            return replace(self._report, way=Way.AGAIN, seconds=0.0)
        try:
            report = end_and_prove(self._client, timeout_seconds=timeout_seconds, everywhere=self._everywhere)
        finally:
            self._ownership.release()
        name = self._ownership.owner.collection
        self._report = replace(report, client_type=type(self).__name__, collection=name)
        log_close(self._report)
        return self._report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except LifecycleError as unclosed:
            # A full disk leaves a journal behind. That it is full is what helps; nothing here is used any more.
            if not isinstance(problem, NoRoom):
                raise
            problem.add_note(unclosed.message)


def _make_room(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise BadInput(
            f"{directory} is not empty: a new collection needs a directory of its own",
            hint="name a directory that is missing or empty",
        )


def _check_before(directory: Path, collection: str) -> int | None:
    """Refuse a directory that should not be opened; return the collection's dimension, if it has one."""
    found = soundness.examine(directory)
    if newer := sorted(set(found.migrations) - installed_migrations()):
        raise BadInput(
            f"{directory} was written by a newer Chroma: its migration {newer[-1]} is unknown to the installed "
            f"chromadb {version('chromadb')}",
            hint="install the chromadb that wrote it, or a newer one; opening it with an older one could spoil it",
        )
    names = [state.name for state in found.collections]
    if names != [collection]:
        raise BadInput(
            f"{directory} holds {', '.join(names) or 'no collection'}, not {collection} alone",
            hint="one directory holds one collection: check the path and the collection's name",
        )
    return found.collections[0].dimension


def open_engine(directory: Path) -> Any:
    """Open a directory that we own; if Chroma fails half-way, leave nothing of the attempt behind."""
    with ExitStack() as undo:
        undo.callback(_drop_attempt, directory)
        with chroma_errors(f"opening {directory}", directory):
            # A copy, because Chroma writes the path into it; a deep one, since shallow ones are one before 1.5.2.
            client = chromadb.PersistentClient(path=str(directory), settings=deepcopy(_settings()))
        undo.pop_all()
        return client


@functools.cache
def _settings() -> Settings:
    """Return the settings of every client; making them takes 5 ms: each is looked for in the environment."""
    return Settings(anonymized_telemetry=False)


def _drop_attempt(directory: Path) -> None:
    for system in systems.on_directory(directory):
        systems.stop(system)
    wait_until(lambda: not below(directory), timeout_seconds=5.0)


def _create(client: Any, collection: str, settings: CollectionSettings) -> Any:
    return client.create_collection(
        collection,
        embedding_function=None,
        metadata=dict(settings.metadata) or None,  # an empty dictionary is refused
        configuration={"hnsw": {**settings.hnsw, "space": settings.space}},
    )


@functools.cache
def installed_migrations() -> frozenset[str]:
    """Return the migrations that the installed Chroma knows, as ``<kind>/<file name>``.

    They are compiled in; the SQL files in its Python package are an older set. So an empty
    database is made, once in a process (about 50 ms), and read. Chroma itself opens what a newer
    release wrote without a word.
    """
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as name:
        report = end_and_prove(open_engine(Path(name).resolve()), timeout_seconds=5.0)
    assert report.soundness is not None, "Chroma makes its database when it opens a directory"
    return frozenset(report.soundness.migrations)
