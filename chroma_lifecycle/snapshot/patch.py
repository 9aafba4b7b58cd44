"""Patches: the change of one file, as pages. Pure: whoever calls reads and writes the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.frame import press, require_claim
from chroma_lifecycle.snapshot.pages import (
    DIGEST_BYTES,
    PAGE_BYTES,
    FilePages,
    PageNumbers,
    ReadPages,
    body_length,
    in_groups,
    page_count,
    page_digests,
)
from chroma_lifecycle.values import Digest

MOST_NEW_PAGES = 65_536
"""A file that grows by more does not fit into a pack."""

GROUP_PAGES = 64
"""So many pages are compressed together, beside the same pages before: more lie further apart than zstd looks."""

_GROUP_BYTES = GROUP_PAGES * PAGE_BYTES
_THREADS = 2
# So few are done before threads have begun and handed them over.
_MOST_ALONE = 8
# Read, proven and compressed in turn; so much of it is in memory twice.
_AT_ONCE_PAGES = 4 * GROUP_PAGES

Pages = bytes | memoryview
"""Pages one after the other."""


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


def make_patch(
    path: str,
    before: FilePages | None,
    after: FilePages,
    changed: PageNumbers,
    read_old: ReadPages,
    read_new: ReadPages,
) -> Patch:
    """Return the patch that leads from *before* to *after*.

    Args:
        path: The file, in the version.
        before: The file as published; ``None`` if it is a new one.
        after: The file as it is now.
        changed: What :func:`.pages.changed_pages` found; every page, for a new file.
        read_old: Reads pages of the file as published.
        read_new: Reads pages of the file as it is now.

    Raises:
        Corrupt: A page before is not what was published. Nothing that was made from such a
            copy may be published.
    """

    def pieces() -> Iterator[tuple[list[Pages], list[Pages]]]:
        for many in in_groups(changed, _AT_ONCE_PAGES):
            old, new = _proven_pages(path, before, many, read_old), read_new(many)
            yield _groups(new, len(many)), _groups(old, len(many))

    frames = tuple(_in_threads(press, pieces(), group_count(len(changed))))
    state = FileState.of(before) if before else None
    return Patch(path, state, FileState.of(after), tuple(changed.tolist()), frames)


def group_count(pages: int) -> int:
    """Return how many frames hold so many pages."""
    return -(-pages // GROUP_PAGES)


def _groups(data: Pages, pages: int) -> list[Pages]:
    """Return *data* in the pieces that belong to the groups of so many pages; some may be short or empty."""
    return [data[_GROUP_BYTES * group : _GROUP_BYTES * (group + 1)] for group in range(group_count(pages))]


def _in_threads(
    work: Callable[..., bytes], pieces: Iterable[tuple[Sequence[Pages], Sequence[Pages]]], count: int
) -> Iterator[bytes]:
    """Yield what *work* makes of *count* groups; zstd lets other threads run: the next pieces are read meanwhile."""
    if count <= _MOST_ALONE:
        for some in pieces:
            yield from map(work, *some)
        return
    with ThreadPoolExecutor(_THREADS, "zstd") as threads:
        under_way: Iterable[bytes] = ()
        for some in pieces:
            done, under_way = under_way, threads.map(work, *some)
            yield from done
        yield from under_way


def _proven_pages(path: str, before: FilePages | None, numbers: PageNumbers, read_old: ReadPages) -> Pages:
    """Return those of the pages that there were as published, after hashing them."""
    if before is None or not len(numbers := pages_within(before.size, numbers)):
        return b""
    pages = read_old(numbers)
    found, published = page_digests(pages), before.of(numbers)
    if found != published:
        differ = (i for i in range(len(numbers)) if _row(found, i) != _row(published, i))
        raise Corrupt(
            f"page {numbers[next(differ)]} of {path} in the local copy is not as published",
            hint="the workspace is restored whole by the next attempt; if it happens again, check the disk",
        )
    return pages


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
