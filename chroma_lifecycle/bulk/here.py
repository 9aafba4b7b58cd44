"""What tasks are told by the machine that they run on, and what their events give them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from chroma_lifecycle.bulk.work import Work
from chroma_lifecycle.config import Checksums
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import parse_collection
from chroma_lifecycle.wiring import BUCKET, open_deliveries, open_delta_at, open_deltas, require_place

Event = Mapping[str, Any]
"""What a task is given by its engine."""

Tell = Callable[[int], None]

_WHAT = "see docs/bulk.md for what a task takes"
# No collection's name begins with a dot.
TASKS = ".bulk/tasks"
"""Below the workspace: where each task works, under the name of what it makes."""

WORK = ".bulk/work"
"""Below the workspace: where tasks of one machine meet, if nobody names another place."""


@dataclass(frozen=True, slots=True)
class Here:
    """What every task is told by the machine that it runs on.

    Attributes:
        store: Where versions go.
        workspace: Local directory in which tasks work, each below a name of its own.
        mapping: Says which ids fit, and the shards; ``None`` for a collection without a mapping.
        tail_budget: Vector operations that a reader may have to replay.
    """

    store: str
    workspace: Path
    mapping: str | None
    tail_budget: int
    checksums: Checksums | None = None

    def fits(self, collection: str) -> Callable[[str], bool]:
        """Return what tells whether an id may be one of the collection's."""
        mapping = self.load()
        return partial(mapping.fits, collection) if mapping and collection in mapping.collections else bool

    def load(self) -> TableMapping | None:
        """Return the mapping, if there is one."""
        return load_mapping(self.mapping) if self.mapping else None

    def clear(self) -> None:
        """Remove what tasks have left that were cut off; only where nobody else runs one, as in a function."""
        shutil.rmtree(self.workspace / TASKS, ignore_errors=True)

    def work(self, address: str, collection: str) -> Work:
        """Return where the tasks of a job meet; a directory is made if it is not there."""
        require_place(address)
        if not address.startswith(BUCKET):
            Path(address).mkdir(parents=True, exist_ok=True)
        deltas = open_deltas((address,), address, checksums=self.checksums)
        return Work(collection, deltas, open_deliveries(address, checksums=self.checksums))

    def data_set(self, address: str) -> tuple[str, RootedDeltas]:
        """Return the data set's address below a root, and what reads there."""
        return open_delta_at(address.rstrip("/"), checksums=self.checksums)

    @contextmanager
    def workspaces(self, name: str) -> Iterator[Workspace]:
        """Give the workspace of a task; nothing of it is left afterwards.

        Raises:
            NotOwned: Another one does the same just now.
        """
        with ExitStack() as stack:
            workspace = Workspace.open(self.workspace / TASKS / name)
            stack.callback(workspace.discard)
            yield workspace


def collection_of(event: Event) -> str:
    """Return the collection that a task is about.

    Raises:
        BadInput: It has no such name.
    """
    try:
        return parse_collection(event.get("collection"))
    except ValueError as problem:
        raise BadInput(f"the task's collection: {problem}", hint="correct the name") from problem


def text_of(event: Event, name: str) -> str:
    """Return a text that a task is given.

    Raises:
        BadInput: It is missing, or none.
    """
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(
            f"the task's {name!r} must be text, got {value!r}", hint="see docs/bulk.md for what a task takes"
        )
    return value


def number_of(event: Event, name: str, lowest: int, highest: int = 65_536) -> int:
    """Return a number that a task is given.

    Raises:
        BadInput: It is missing, or not from *lowest* to *highest*.
    """
    value = event.get(name)
    if type(value) is not int or not lowest <= value <= highest:
        raise BadInput(
            f"the task's {name!r} must be a whole number from {lowest} to {highest}, got {value!r}",
            hint=_WHAT,
        )
    return value
