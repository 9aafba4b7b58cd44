"""Where a reader keeps its copies on this machine: a workspace of its own, for each process another."""

from __future__ import annotations

from pathlib import Path

from chroma_lifecycle.clock import Clock
from chroma_lifecycle.config import DEFAULT_WORKSPACE
from chroma_lifecycle.errors import NotOwned
from chroma_lifecycle.snapshot.workspace import Workspace

_READERS_ON_A_MACHINE = 256
# No collection can have such a name: the directories beside it are workspaces of collections.
_PLACES = ".readers"


def own_place(place: Path | None, collection: str, clock: Clock) -> Workspace:
    """Own the workspace at *place*, or the first free one of this machine's.

    Raises:
        NotOwned: Somebody has it, or all of them.
    """
    if place is not None:
        return Workspace.open(place / collection, clock=clock)
    for number in range(_READERS_ON_A_MACHINE - 1):
        try:
            return Workspace.open(_free_place(collection, number), clock=clock)
        except NotOwned:
            continue
    return Workspace.open(_free_place(collection, _READERS_ON_A_MACHINE - 1), clock=clock)


def _free_place(collection: str, number: int) -> Path:
    return DEFAULT_WORKSPACE / _PLACES / str(number) / collection
