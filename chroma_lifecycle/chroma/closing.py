"""How to close a Chroma client safely: end it, then prove that it let go.

Copying, uploading or deleting a Chroma directory is safe when nobody has it open, and Chroma does
not tell when that is: on released versions descriptors stay open for some milliseconds after the
client's end, and with a second client of the path ``close()`` releases nothing at all. This module
uses what a version offers to end a client, then looks at the descriptors of the process until
none is left, and raises if one is. ``docs/closing.md`` has the measurements.

::

    from chroma_lifecycle.chroma.closing import close_client

    client = chromadb.PersistentClient("/data/words")
    ...
    close_client(client)  # raises NotClosed if anything still has the directory open
    shutil.copytree("/data/words", "/backup/words")
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.chroma.holding import find_client
from chroma_lifecycle.chroma.systems import System
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.defects import kind_and_place
from chroma_lifecycle.errors import BadInput, NotClosed, NotOwned
from chroma_lifecycle.logs import Log
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.descriptors import Descriptor, below, held_by_others, listing, still_below
from chroma_lifecycle.snapshot.soundness import Soundness

log = Log(__name__)

_MOST_RELEASED = 10
"""Files that the log line names at most; a report has them all."""

_ended: weakref.WeakSet[object] = weakref.WeakSet()
"""Clients that were closed here: before 1.5.2 a client does not know it itself."""


class Way(StrEnum):
    """How a client was ended."""

    NOTHING = "nothing to close"
    AGAIN = "closed already"
    SYNCHRONOUS = "synchronous shutdown"
    CLOSE = "close()"
    STOP = "its system stopped and evicted"
    CLOSE_AND_STOP = "close(), then its system stopped and evicted"
    SESSION = "connections to the server closed"
    EVICTED = "taken out of Chroma's cache"


class Kind(StrEnum):
    """Where a client has its data."""

    NONE = "none"
    PERSISTENT = "persistent"
    MEMORY = "in memory"
    SERVER = "on a server"
    ASYNCHRONOUS = "on a server, asynchronous"


@dataclass(frozen=True, slots=True)
class CloseReport:
    """What a close did and found.

    Attributes:
        client_type: Class of what was passed.
        kind: Of the client that it is or holds; Chroma has one class for all kinds.
        way: How the client was ended.
        proven: Whether the directory was found closed. Never true where there is no directory:
            in-memory, HTTP and cloud clients; ``note`` says what that means.
        directory: Where the client kept its data.
        descriptors_before: Open below the directory when the close began.
        descriptors_after: Open when it ended: none, or an error was raised.
        soundness: What the light checks found; ``None`` if there is no directory (any more).
        seconds: How long it took, the waiting for descriptors included.
        note: What else the caller should know.
    """

    client_type: str
    way: Way
    proven: bool
    kind: Kind = Kind.NONE
    collection: str | None = None
    directory: Path | None = None
    descriptors_before: tuple[Descriptor, ...] = ()
    descriptors_after: tuple[Descriptor, ...] = ()
    soundness: Soundness | None = None
    seconds: float = 0.0
    note: str = ""


@runtime_checkable
class ClosesItself(Protocol):
    """A client that closes itself with proof, as ``ManagedClient`` does."""

    def close_proven(self, *, timeout_seconds: float) -> CloseReport:
        """Close and prove it."""
        ...


def close_client(client: object, collection_name: str | None = None, *, timeout_seconds: float = 5.0) -> CloseReport:
    """Close any Chroma client and prove that its directory is closed and whole.

    A second call ends nothing and says so; it proves the directory again.

    Args:
        client: ``None``, a client of chromadb, a ``ManagedClient``, or what holds one: in an
            attribute (``_client``, ``client``, ``vectorstore``, ...), as the stores, indexes and retrievers
            of LangChain and LlamaIndex do, by a method ``chroma_client()``, or a collection of it.
        collection_name: For the report and the log line.
        timeout_seconds: How long descriptors may take to go.

    Raises:
        NotClosed: The directory is still open; the error lists by what. The client is ended all
            the same: close the other holder, then call this again for the proof.
        NotOwned: The client was opened before this process was forked: only the process that opened it can close it.
        Corrupt: It is closed, and a file is missing, cut off, or does not fit the others.
        BadInput: *client* neither is nor holds a client of Chroma.
    """
    if isinstance(client, ClosesItself):
        return client.close_proven(timeout_seconds=timeout_seconds)
    held = find_client(client, tuple(_ended))
    if held is None:
        report = CloseReport(type(client).__name__, Way.NOTHING, proven=False)
    else:
        report = end_and_prove(held, timeout_seconds=timeout_seconds)
    report = replace(report, client_type=type(client).__name__, collection=collection_name)
    log_close(report)
    return report


def end_and_prove(client: Any, *, timeout_seconds: float, everywhere: bool = True) -> CloseReport:
    """End a client of chromadb and prove that its directory is closed and whole (see ``close_client``).

    Args:
        everywhere: Look at every other process too; who goes on to seal the directory need not, since the seal does.
    """
    began = SYSTEM_CLOCK.monotonic()
    system = systems.system_of(client)
    _refuse_inherited(system)
    directory = systems.directory_of(system)
    if directory is None:
        return replace(_end_without_directory(client, system), seconds=SYSTEM_CLOCK.monotonic() - began)
    _require_findable(system, directory)
    directory = directory.resolve()
    # 1. End the client; 2. wait until the process let go; 3. look at what it left.
    before = below(directory)
    way = _end(client, system)
    _prove_closed(system, directory, timeout_seconds, everywhere=everywhere)
    found = soundness.examine(directory) if soundness.is_chroma_directory(directory) else None
    return CloseReport(
        client_type=type(client).__name__,
        way=way,
        proven=True,
        kind=Kind.PERSISTENT,
        directory=directory,
        descriptors_before=before,
        soundness=found,
        seconds=SYSTEM_CLOCK.monotonic() - began,
        note="" if found else "the directory holds no database any more: it was removed beneath the client",
    )


def _refuse_inherited(system: System) -> None:
    """Refuse a client that a fork brought here: its threads are not, and its end would wait for them for ever."""
    if systems.is_inherited(system) and systems.is_running(system):
        raise NotOwned(
            "the client was opened before this process was forked from the one that opened it",
            hint="close it in the process that opened it; make a client in each worker, after the fork",
        )


def _require_findable(system: System, directory: Path) -> None:
    """Refuse a client whose relative path means another place by now: nothing could be proven.

    Where files are open that were removed beneath it, it is the right place.
    """
    if not systems.is_running(system) or directory.is_absolute():
        return
    if not soundness.is_chroma_directory(directory) and not below(directory.resolve()):
        raise BadInput(
            f"the client was opened on the relative path {directory}, where there is no database: the process "
            "has changed its working directory since",
            hint="open clients by absolute paths; to close this one, change back first",
        )


def _end(client: Any, system: System) -> Way:
    """End *client*, and its system unless another client lives on it.

    Its system is the one that it was made with: its own lookup by path may find a stranger's,
    which ``close()`` would then release.
    """
    server = systems.server_of(system)
    again = client in _ended or getattr(client, "_closed", False)
    _ended.add(client)
    if not systems.is_running(system):
        _mark_closed(client)
        systems.release_engine(system)
        systems.evict(system)
        return Way.AGAIN if again or client is server else Way.STOP
    synchronous = systems.has_synchronous_shutdown(system)
    closes = not again and hasattr(client, "close") and systems.is_cached(system)
    if closes:
        _try(client.close)
    else:
        _mark_closed(client)
    stops = systems.is_running(system) and not systems.clients_of(server, besides=tuple(_ended))
    if stops:
        _try(partial(systems.stop, system))
    systems.release_engine(system)
    if synchronous:
        return Way.SYNCHRONOUS
    return (Way.CLOSE_AND_STOP if stops else Way.CLOSE) if closes else (Way.STOP if stops else Way.NOTHING)


def _try(step: Callable[[], None]) -> None:
    """Take a step of an end. A part of Chroma that fails is told, and whether all is let go is proven afterwards."""
    try:
        step()
    except Exception as problem:  # noqa: BLE001  whatever it is, the rest is to be let go
        log.warning("chroma failed to stop", why=kind_and_place(problem))


def _mark_closed(client: Any) -> None:
    """Keep a later ``close()``, of a ``with`` block for instance, from ending whoever has the path by then."""
    if hasattr(client, "_closed"):
        client._closed = True  # noqa: SLF001


def _prove_closed(system: System, directory: Path, timeout_seconds: float, *, everywhere: bool) -> None:
    """Wait until nothing below *directory* is open; while another client lives, do not even wait."""
    living = [other for other in systems.on_directory(directory) if systems.is_running(other)]
    if systems.is_running(system) and system not in living:
        living.append(system)
    mine = still_below(directory, timeout_seconds=0.0 if living else timeout_seconds)
    held = listing(mine)
    if everywhere and not living and not mine:
        held = held_by_others(directory)
    if living or held:
        cause = "another client of this process has it open" if living else "files below it are open"
        raise NotClosed(
            f"{directory} is not closed: {cause}: {held}",
            hint="close the other holder, then close this client again for the proof; do not copy before",
        )


def _end_without_directory(client: Any, system: System) -> CloseReport:
    if not systems.is_local(system):
        return _end_remote(client, system)
    way = _end(client, system)
    note = "an in-memory client: there is no directory, and its data are gone"
    if systems.is_running(system):
        note = "an in-memory client: its data stay while another in-memory client of the process lives"
    return CloseReport(type(client).__name__, way, proven=False, kind=Kind.MEMORY, note=note)


def _end_remote(client: Any, system: System) -> CloseReport:
    again = client in _ended
    _ended.add(client)
    session = getattr(systems.server_of(system), "_session", None)
    systems.evict(system)
    if session is None:
        way, kind = Way.EVICTED, Kind.ASYNCHRONOUS
        note = "an asynchronous client of a server: only its own event loop can close its connections"
    else:
        session.close()
        way, kind = Way.SESSION, Kind.SERVER
        note = "a client of a server: what the server has open is not known here"
    return CloseReport(type(client).__name__, Way.AGAIN if again else way, proven=False, kind=kind, note=note)


def log_close(report: CloseReport) -> None:
    """Write the one line about a close: of what kind the client was, how it ended, which files it let go."""
    released = sorted({held.path.removeprefix(f"{report.directory}/") for held in report.descriptors_before})
    log.info(
        "client_closed",
        client=report.client_type,
        kind=report.kind.value,
        way=report.way.value,
        proven=report.proven,
        collection=report.collection,
        directory=str(report.directory) if report.directory else None,
        descriptors_before=len(report.descriptors_before),
        descriptors_after=len(report.descriptors_after),
        released=released[:_MOST_RELEASED],
        seconds=round(report.seconds, 4),
        note=report.note or None,
    )
