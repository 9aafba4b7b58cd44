"""Applying patches: what some of them, one after the other, make of a file. Pure: whoever calls reads and writes.

What several of them change is changed in memory. Only what was there before the first is read, and only
what is there after the last is hashed and written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.frame import unpress
from chroma_lifecycle.snapshot.pages import (
    PAGE_BYTES,
    DigestRows,
    FilePages,
    PageNumbers,
    ReadPages,
    body_length,
    in_groups,
    in_stretches,
    leaf_digests,
    leaves_of,
    pages_in,
)
from chroma_lifecycle.snapshot.patch import GROUP_PAGES, FileState, Patch, pages_within

_Rows = npt.NDArray[np.uint8]
"""Pages, each in a row of 4 KiB."""

# So many leaves are put together and hashed at a time, 4 MB.
_LEAVES_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Patched:
    """A file after its patches: its digests, and the stretches of pages to be written, by their first page."""

    path: str
    pages: FilePages
    writes: tuple[tuple[int, memoryview], ...]


def apply_patches(patches: Sequence[Patch], before: FilePages | None, read_old: ReadPages) -> Patched:
    """Return what is to be written after *patches* of one file, after proving every byte; nothing is written here.

    Args:
        patches: Each continues the one before it; at least one.
        before: The file that the first one is applied to; ``None`` if that one makes it.
        read_old: Reads pages of that file.

    Raises:
        Corrupt: The file is not the one that a patch was made from (so no pack can be applied twice or to another
            parent), or the result is not what the last one promises.
    """
    path, state = patches[0].path, FileState.of(before) if before else None
    held = _Held([patch.numbers for patch in patches], before.size if before else 0, read_old)
    for patch in patches:
        if patch.before != state:
            raise _unfit(f"it was made from another {path}")
        held.change(patch)
        state = patch.after
    after = held.pages(before.digests if before else b"")
    if FileState.of(after) != state:
        raise _unfit(f"it does not make the {path} that it promises")
    return Patched(path, after, held.writes())


class _Held:
    """The pages that some patches change, as they are after those that were applied."""

    def __init__(self, changed: Sequence[Sequence[int]], size: int, read_old: ReadPages) -> None:
        self._size, self._read_old = size, read_old
        self._numbers = np.unique(np.concatenate([np.array(numbers, np.int64) for numbers in changed]))
        self._rows: _Rows = np.empty((len(self._numbers), PAGE_BYTES), np.uint8)
        first = 0
        for many in in_groups(pages_within(size, self._numbers)):
            # Not hashed: whatever is wrong with them makes other pages than promised.
            _put(self._rows, np.arange(first, first + len(many)), read_old(many))
            first += len(many)

    def change(self, patch: Patch) -> None:
        """Apply one patch."""
        numbers = np.array(patch.numbers, np.int64)
        places = np.searchsorted(self._numbers, numbers)
        for group, frame in enumerate(patch.frames):
            some = slice(GROUP_PAGES * group, GROUP_PAGES * (group + 1))
            old = self._rows[_rows(places[some])].reshape(-1)[: body_length(self._size, numbers[some])]
            _put(self._rows, places[some], unpress(frame, old.data))
        self._size = patch.after.size

    def pages(self, before: bytes) -> FilePages:
        """Return the pages of the file, whose leaf digests were *before* where no patch changed it."""
        digests = DigestRows(before, self._size)
        for leaves in in_groups(leaves_of(self._there), _LEAVES_AT_ONCE):
            digests.put(leaves, leaf_digests(self._whole(pages_in(leaves, self._size))))
        return digests.pages()

    def _whole(self, numbers: PageNumbers) -> memoryview:
        """Return these pages as they are now, those of them that no patch changed as they were before."""
        places = np.searchsorted(self._numbers, numbers)
        is_held = self._numbers[np.minimum(places, len(self._numbers) - 1)] == numbers
        rows: _Rows = np.empty((len(numbers), PAGE_BYTES), np.uint8)
        rows[is_held] = self._rows[places[is_held]]
        if not is_held.all():
            # Never pages of a file that was shorter meanwhile: a page at or past an old end counts as changed.
            _put(rows, np.flatnonzero(~is_held), self._read_old(numbers[~is_held]))
        return rows.reshape(-1)[: body_length(self._size, numbers)].data

    def writes(self) -> tuple[tuple[int, memoryview], ...]:
        """Return the stretches of these pages, by their first page."""
        return tuple(in_stretches(self._there, self._bytes))

    @property
    def _there(self) -> PageNumbers:
        """Those of the pages that are within the file now."""
        return pages_within(self._size, self._numbers)

    @property
    def _bytes(self) -> memoryview:
        # Rows follow one another, and only the last page of a file is short.
        return self._rows.reshape(-1)[: body_length(self._size, self._there)].data


def _put(rows: _Rows, places: PageNumbers, pages: bytes | memoryview) -> None:
    """Set the rows at *places*; the last page of a file may be short."""
    data = np.frombuffer(pages, np.uint8)
    whole = len(data) // PAGE_BYTES
    rows[_rows(places[:whole])] = data[: PAGE_BYTES * whole].reshape(-1, PAGE_BYTES)
    if len(rest := data[PAGE_BYTES * whole :]):
        rows[places[whole], : len(rest)] = rest


def _rows(places: PageNumbers) -> PageNumbers | slice:
    """Return *places*, which ascend, as what takes the rows there: where they follow one another, without a copy."""
    if len(places) and places[-1] - places[0] == len(places) - 1:
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _unfit(problem: str) -> Corrupt:
    return Corrupt(f"a patch does not fit: {problem}", hint="the version is restored whole instead")
