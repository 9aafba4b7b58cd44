"""Which pages differ between two files, with their bytes and the digests that they change.

Both files are read block by block; they must be closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chroma_lifecycle.snapshot.pages import (
    BLOCK_BYTES,
    LEAF_BYTES,
    NO_NUMBERS,
    PAGE_BYTES,
    LeafNumbers,
    PageNumbers,
    leaf_digests,
    leaves_of,
    opened,
    page_count,
    stretches,
)

_WORDS = PAGE_BYTES // 8


def changed_pages(before: Path, after: Path) -> PageNumbers:
    """Return the pages of *after* that a pack must hold.

    Those are the pages whose bytes differ, every page at or past the old end, and, when the
    size changes, the last page of either size.
    """
    return np.concatenate([NO_NUMBERS, *(block.changed for block in _changed_blocks(before, after))])


def _pages_by_size(old_size: int, new_size: int) -> PageNumbers:
    """Return the pages that count as changed because the size is another one."""
    if old_size == new_size:
        return NO_NUMBERS
    old_pages, new_pages = page_count(old_size), page_count(new_size)
    forced = {old_pages - 1, new_pages - 1, *range(old_pages, new_pages)}
    return np.array([number for number in sorted(forced) if 0 <= number < new_pages], np.int64)


def _differing(old: memoryview, new: memoryview) -> PageNumbers:
    """Return the pages that differ between two blocks of the same length."""
    whole = len(new) // PAGE_BYTES
    # As 64-bit words: comparing bytes takes twenty times as long.
    left, right = (np.frombuffer(block, np.uint64, whole * _WORDS).reshape(whole, _WORDS) for block in (old, new))
    pages: PageNumbers = np.flatnonzero((left != right).any(axis=1))
    if old[whole * PAGE_BYTES :] != new[whole * PAGE_BYTES :]:
        pages = np.append(pages, whole)
    return pages


@dataclass(frozen=True, slots=True)
class Piece:
    """Some pages of a file that a pack must hold, and the digests that they change.

    Attributes:
        numbers: Which ones.
        old: Those of them that the file had before, as they were, one after the other.
        new: All of them, as they are now.
        leaves: Some leaves with changed pages; those of these pages are here or in an earlier piece.
        old_digests: Of those of the leaves that the file had before, as they were.
        new_digests: Of all of them, as they are now.
    """

    numbers: PageNumbers
    old: memoryview
    new: memoryview
    leaves: LeafNumbers
    old_digests: bytes
    new_digests: bytes


class _Piece:
    """A piece that is being filled."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._old, self._new = bytearray(), bytearray()
        self._leaves = [NO_NUMBERS]
        self._old_digests: list[bytes] = []
        self._new_digests: list[bytes] = []

    def add_leaves(self, block: _Compared) -> None:
        """Hash the leaves that have changed pages in *block*."""
        leaves = leaves_of(block.changed)
        self._leaves.append(leaves)
        for first, count in stretches(leaves):
            at = LEAF_BYTES * first - block.start
            self._old_digests.append(leaf_digests(block.old[at : at + LEAF_BYTES * count]))
            self._new_digests.append(leaf_digests(block.new[at : at + LEAF_BYTES * count]))

    def add_page(self, number: int, block: _Compared) -> None:
        at = PAGE_BYTES * number - block.start
        self.numbers.append(number)
        self._old += block.old[at : at + PAGE_BYTES]
        self._new += block.new[at : at + PAGE_BYTES]

    def filled(self) -> Piece:
        """Return it."""
        return Piece(
            np.array(self.numbers, np.int64),
            memoryview(self._old),
            memoryview(self._new),
            np.concatenate(self._leaves),
            b"".join(self._old_digests),
            b"".join(self._new_digests),
        )


def changed_pieces(before: Path | None, after: Path, pages: int) -> Iterator[Piece]:
    """Yield what :func:`changed_pages` finds with its bytes, so many pages at a time, the last time fewer.

    Either file is read once.

    Args:
        before: ``None``, if there was no such file; then every page of *after* counts.
    """
    piece = _Piece()
    for block in _changed_blocks(before, after):
        piece.add_leaves(block)
        for number in block.changed.tolist():
            piece.add_page(number, block)
            if len(piece.numbers) == pages:
                yield piece.filled()
                piece = _Piece()
    if piece.numbers:
        yield piece.filled()


@dataclass(frozen=True, slots=True)
class _Compared:
    """A block of a file: where it starts, its bytes before and after, and its pages that count as changed."""

    start: int
    old: memoryview
    new: memoryview
    changed: PageNumbers


def _changed_blocks(before: Path | None, after: Path) -> Iterator[_Compared]:
    """Compare two files block by block; the bytes of a block are gone with the next."""
    with opened(after) as now, opened(before) if before else nullcontext(None) as was:
        old_size = was.size if was else 0
        forced = _pages_by_size(old_size, now.size)
        old_buffer, new_buffer = (memoryview(bytearray(min(size, BLOCK_BYTES))) for size in (old_size, now.size))
        for start in range(0, now.size, BLOCK_BYTES):
            old, new = old_buffer[: max(0, old_size - start)], new_buffer[: now.size - start]
            now.fill(new, start)
            if was:
                was.fill(old, start)
            common, first = min(len(old), len(new)), start // PAGE_BYTES
            differing = _differing(old[:common], new[:common]) + first
            here = forced[(forced >= first) & (forced < first + page_count(len(new)))]
            yield _Compared(start, old, new, np.union1d(differing, here).astype(np.int64))
