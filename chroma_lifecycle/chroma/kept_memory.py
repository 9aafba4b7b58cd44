"""Chroma's index in the memory that the one of the cycle before has left, where that takes no more of it.

Each opening reads the whole index into one piece of memory, and each close frees it. The C library gives so
large a piece back to the system, which empties every page of the next one. A process that does little else can
keep it: the template says so to the C library, and here it is told for how long large pieces come from what it
keeps. ``docs/adr/0261`` has the measurements.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chroma_lifecycle.config import keeps_freed_memory
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.snapshot.hnsw_files import HEADER, HnswHeader

# From <malloc.h> of the GNU C library, see mallopt(3); the default is what it begins with.
_M_MMAP_MAX = -4
_DEFAULT_MMAP_MAX = 65_536


@contextmanager
def kept_memory(directory: Path, plan: Plan, tail: int) -> Iterator[None]:
    """Let Chroma work on *plan* in kept memory while the block lasts, if the process keeps what it frees.

    An index that outgrows its room is moved to a larger one. The system moves a piece that is mapped by itself
    without a copy; in kept memory both would be there. So where that can happen, what was kept is given
    back, and the index is mapped as in any process.

    Args:
        directory: Of Chroma's files, closed.
        plan: What is to be done.
        tail: Vector operations that Chroma replays when it opens.
    """
    if not keeps_freed_memory():
        yield
    elif _room(directory) < tail + plan.size - len(plan.updates):
        _call("malloc_trim", 0)
        yield
    else:
        with in_kept_memory():
            yield


@contextmanager
def in_kept_memory() -> Iterator[None]:
    """Have large pieces come from what the process keeps while the block lasts."""
    _call("mallopt", _M_MMAP_MAX, 0)
    try:
        yield
    finally:
        _call("mallopt", _M_MMAP_MAX, _DEFAULT_MMAP_MAX)


def _call(name: str, *arguments: int) -> None:
    """Call a function of the GNU C library; another one has none of this name, and keeps nothing."""
    if function := getattr(ctypes.CDLL(None), name, None):
        function(*arguments)


def _room(directory: Path) -> int:
    """Return how many more elements the index has memory for; none where it is not on the disk, or not sound."""
    try:
        headers = [HnswHeader.parse(path.read_bytes()) for path in directory.glob(f"*/{HEADER}")]
    except ValueError:  # told when it is opened
        return 0
    return min((header.maximum - header.elements for header in headers), default=0)
