"""Patches: the change of one file, as pages. Pure: whoever calls reads and writes the pages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.comparing import Piece
from chroma_lifecycle.snapshot.frame import press, require_claim
from chroma_lifecycle.snapshot.pages import (
    DIGEST_BYTES,
    NO_NUMBERS,
    DigestRows,
    FilePages,
    PageNumbers,
    body_length,
    in_groups,
    leaf_count,
    page_count,
    pages_in,
)
from chroma_lifecycle.values import Digest

MOST_NEW_PAGES = 65_536
"""A file that grows by more does not fit into a pack."""

GROUP_PAGES = 64
"""So many pages are compressed together, beside the same pages before: more lie further apart than zstd looks."""

_THREADS = 2
# So many groups may wait for a thread, each in memory before and after.
_MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as a pack expects or leaves it."""

    size: int
    digest: Digest

    @classmethod
    def of(cls, pages: FilePages) -> FileState:
        return cls(pages.size, pages.digest)


@dataclass(frozen=True, slots=True)
class Patch:
    """The change of one file.

    Attributes:
        before: The file that it may be applied to; ``None`` if it is a new file.
        numbers: The pages that it holds, ascending.
        frames: Those pages, `GROUP_PAGES` to a frame; the last page of the file is as long as it is.
    """

    path: str
    before: FileState | None
    after: FileState
    numbers: tuple[int, ...]
    frames: tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """The patch of a file whose pages are still being compressed.

    Attributes:
        before: The file as published; ``None`` if it is a new one.
        after: The file as it is now.
        numbers: The pages that it holds.
    """

    path: str
    before: FilePages | None
    after: FilePages
    numbers: PageNumbers
    frames: tuple[Future[bytes], ...]

    def patch(self) -> Patch:
        """Wait for the rest, and return the patch."""
        before = FileState.of(self.before) if self.before else None
        frames = tuple(frame.result() for frame in self.frames)
        return Patch(self.path, before, FileState.of(self.after), tuple(self.numbers.tolist()), frames)


class Presses:
    """Threads that compress pages while others are read and hashed; no thread outlives the block."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "zstd")
        self._waiting = deque[Future[bytes]]()

    def press(self, piece: Piece) -> Future[bytes]:
        """Compress the pages of *piece*; with much under way already, wait for the first of it."""
        if len(self._waiting) == _MOST_WAITING:
            self._waiting.popleft().result()
        begun = self._threads.submit(press, piece.new, piece.old)
        self._waiting.append(begun)
        return begun

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)


def draft_patch(path: str, before: FilePages | None, size: int, pieces: Iterable[Piece], presses: Presses) -> Draft:
    """Begin the patch that leads from *before* to a file of *size* bytes.

    Args:
        path: The file, in the version.
        before: The file as published; ``None`` if it is a new one.
        size: What it has now.
        pieces: What changed: `GROUP_PAGES` pages at a time.
        presses: Compress them.

    Raises:
        Corrupt: A page before is not what was published. Nothing that was made from such a
            copy may be published.
    """
    digests = DigestRows(before.digests if before else b"", size)
    numbers, frames = [NO_NUMBERS], list[Future[bytes]]()
    for piece in pieces:
        _require_published(path, before, piece)
        digests.put(piece.leaves, piece.new_digests)
        numbers.append(piece.numbers)
        frames.append(presses.press(piece))
    return Draft(path, before, digests.pages(), np.concatenate(numbers), tuple(frames))


def group_count(pages: int) -> int:
    """Return how many frames hold so many pages."""
    return -(-pages // GROUP_PAGES)


def _require_published(path: str, before: FilePages | None, piece: Piece) -> None:
    """Refuse pages before that are not as published."""
    if before is None:
        return
    leaves = piece.leaves[: np.searchsorted(piece.leaves, leaf_count(before.size))]
    found, published = piece.old_digests, before.of(leaves)
    if found != published:
        differ = (i for i in range(len(leaves)) if _row(found, i) != _row(published, i))
        first, last = pages_in(leaves[[next(differ)]], before.size)[[0, -1]]
        raise Corrupt(
            f"the local copy of {path} is not as published at pages {first} to {last}",
            hint="the workspace is restored whole by the next attempt; if it happens again, check the disk",
        )


def pages_within(size: int, numbers: PageNumbers) -> PageNumbers:
    """Return those of the pages that a file of *size* bytes has."""
    return numbers[: np.searchsorted(numbers, page_count(size))]


def _row(digests: bytes, number: int) -> bytes:
    return digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]


def check_patch(patch: Patch) -> None:
    """Refuse a patch that breaks a rule of the format.

    Raises:
        ValueError: It does; the message names the rule.
        Corrupt: A frame does not claim to hold what it must.
    """
    old_size, new_size = patch.before.size if patch.before else 0, patch.after.size
    numbers = np.array(patch.numbers, np.int64)
    if (np.diff(numbers) <= 0).any():
        raise ValueError(f"the pages of {patch.path} do not ascend")
    if patch.numbers and patch.numbers[-1] >= page_count(new_size):
        raise ValueError(f"{patch.path} has no page {patch.numbers[-1]}")
    if patch.before == patch.after:
        raise ValueError(f"{patch.path} does not change")
    if len(missing := np.setdiff1d(_required(old_size, new_size), numbers)):
        raise ValueError(f"{patch.path} changes its size, and page {missing[0]} is not there")
    for group, frame in zip(in_groups(numbers, GROUP_PAGES), patch.frames, strict=True):
        require_claim(frame, body_length(new_size, group))


def _required(old_size: int, new_size: int) -> PageNumbers:
    """Return the pages that must be held because the size changes."""
    if old_size == new_size:
        return np.empty(0, np.int64)
    old_pages, new_pages = page_count(old_size), page_count(new_size)
    if new_pages - old_pages > MOST_NEW_PAGES:
        raise ValueError(f"a file that grows by {new_size - old_size} bytes does not fit into a pack")
    required = np.array([old_pages - 1, new_pages - 1, *range(old_pages, new_pages)], np.int64)
    return np.unique(required[(required >= 0) & (required < new_pages)])
