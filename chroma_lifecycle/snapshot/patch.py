"""Patches: the change of one file, as pages. Pure: whoever calls reads and writes the pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.pages import (
    DIGEST_BYTES,
    PAGE_BYTES,
    DigestRows,
    FilePages,
    PageNumbers,
    ReadPages,
    in_groups,
    page_count,
    page_digests,
    stretches,
)
from chroma_lifecycle.values import Digest

MOST_NEW_PAGES = 65_536
"""A file that grows by more does not fit into a pack."""

RAW, XOR = 0, 1
"""How a page is held: by its own bytes, or by their XOR with the page before."""


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
        kinds: For each of them whether *body* has its bytes (0) or their XOR with the page before (1).
        body: Those pages one after the other; the last page of the file is as long as it is.
    """

    path: str
    before: FileState | None
    after: FileState
    numbers: tuple[int, ...]
    kinds: bytes
    body: bytes | memoryview


def body_length(size: int, numbers: PageNumbers) -> int:
    """Return how many bytes these pages of a file of *size* bytes have; none past its end."""
    return int(np.clip(size - PAGE_BYTES * numbers, 0, PAGE_BYTES).sum())


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
    whole = min(before.size if before else 0, after.size) // PAGE_BYTES
    held = []
    for group in in_groups(changed):
        old = _proven_pages(path, before, group, read_old)
        # Only the last page of a file can be short, so the whole ones come first.
        held.append(_choose(old, read_new(group), int(np.searchsorted(group, whole))))
    kinds, body = b"".join([kinds for kinds, _ in held]), b"".join([pages for _, pages in held])
    return Patch(
        path,
        FileState.of(before) if before else None,
        FileState.of(after),
        tuple(changed.tolist()),
        kinds,
        body,
    )


def _proven_pages(path: str, before: FilePages | None, numbers: PageNumbers, read_old: ReadPages) -> bytes:
    """Return those of the pages that there were as published, after hashing them."""
    numbers = numbers[: np.searchsorted(numbers, page_count(before.size) if before else 0)]
    if before is None or not len(numbers):
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


def _row(digests: bytes, number: int) -> bytes:
    return digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)]


def _choose(old: bytes, new: bytes, whole: int) -> tuple[bytes, bytes]:
    """Return for each page whether its own bytes or the XOR is cheaper, and the pages so chosen.

    Args:
        old: The pages before; shorter where there were fewer.
        new: The pages now.
        whole: How many of the first of them are whole, before and now.
    """
    kinds, body = np.full(page_count(len(new)), RAW, np.uint8), bytearray(new)
    if whole:
        before, after = _pages(old, whole), _pages(body, whole)
        xor = after ^ before
        # What zstd makes of a page grows with its bytes that are not zero; text becomes half as
        # long besides, its XOR does not. Measured: twice the weight gives the smallest packs.
        better = np.flatnonzero(2 * _bytes_set(xor) < _bytes_set(after))
        kinds[better], after[better] = XOR, xor[better]
    return kinds.tobytes(), bytes(body)


def _pages(data: bytes | bytearray, count: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8, PAGE_BYTES * count).reshape(-1, PAGE_BYTES)


def _bytes_set(pages: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return for each page how many of its bytes are not zero."""
    # A row at a time: numpy counts along an axis four times as slowly.
    return np.array([np.count_nonzero(page) for page in pages], np.int64)


@dataclass(frozen=True, slots=True)
class Patched:
    """A file after a patch: its pages' digests, and the stretches of pages to be written, by their first page."""

    path: str
    pages: FilePages
    writes: tuple[tuple[int, bytes], ...]


def apply_patch(patch: Patch, before: FilePages | None, read_old: ReadPages) -> Patched:
    """Return what is to be written, after proving every byte of it; nothing is written here.

    Raises:
        Corrupt: The file is not the one that the patch was made from (so no pack can be applied
            twice or to another parent), or the result is not what the patch promises.
    """
    if patch.before != (FileState.of(before) if before else None):
        raise _unfit(f"it was made from another {patch.path}")
    digests = DigestRows(before.digests if before else b"", patch.after.size)
    writes: list[tuple[int, bytes]] = []
    numbers, kinds, offset = np.array(patch.numbers, np.int64), np.frombuffer(patch.kinds, np.uint8), 0
    for group in in_groups(numbers):
        pages = bytearray(patch.body[PAGE_BYTES * offset : PAGE_BYTES * (offset + len(group))])
        rows = np.flatnonzero(kinds[offset : offset + len(group)] == XOR)
        if len(rows):
            old = _proven_pages(patch.path, before, group[rows], read_old)
            _pages(pages, int(rows[-1]) + 1)[rows] ^= _pages(old, len(rows))
        digests.put(group, page_digests(pages))
        writes += _in_stretches(group, bytes(pages))
        offset += len(group)
    after = digests.pages()
    if after.digest != patch.after.digest:
        raise _unfit(f"it does not make the {patch.path} that it promises")
    return Patched(patch.path, after, tuple(writes))


def _in_stretches(numbers: PageNumbers, pages: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    for first, count in stretches(numbers):
        yield first, pages[offset : offset + PAGE_BYTES * count]
        offset += PAGE_BYTES * count


def check_patch(patch: Patch, size: int) -> None:
    """Refuse a patch that breaks a rule of the format.

    Raises:
        ValueError: It does; the message names the rule.
    """
    old_size, new_size = patch.before.size if patch.before else 0, patch.after.size
    numbers, kinds = np.array(patch.numbers, np.int64), np.frombuffer(patch.kinds, np.uint8)
    if len(patch.body) != size or len(kinds) != len(numbers) or (np.diff(numbers) <= 0).any():
        raise ValueError(f"the pages of {patch.path} do not ascend, or are cut off")
    if patch.numbers and patch.numbers[-1] >= page_count(new_size):
        raise ValueError(f"{patch.path} has no page {patch.numbers[-1]}")
    if patch.before == patch.after:
        raise ValueError(f"{patch.path} does not change")
    if len(missing := np.setdiff1d(_required(old_size, new_size), numbers)):
        raise ValueError(f"{patch.path} changes its size, and page {missing[0]} is not there")
    # A difference needs whole pages before and after.
    may_be = np.where(numbers < min(old_size, new_size) // PAGE_BYTES, XOR, RAW)
    if len(unfit := numbers[kinds > may_be]):
        raise ValueError(f"page {unfit[0]} of {patch.path} cannot be a difference")


def _required(old_size: int, new_size: int) -> PageNumbers:
    """Return the pages that must be held because the size changes."""
    if old_size == new_size:
        return np.empty(0, np.int64)
    old_pages, new_pages = page_count(old_size), page_count(new_size)
    if new_pages - old_pages > MOST_NEW_PAGES:
        raise ValueError(f"a file that grows by {new_size - old_size} bytes does not fit into a pack")
    required = np.array([old_pages - 1, new_pages - 1, *range(old_pages, new_pages)], np.int64)
    return np.unique(required[(required >= 0) & (required < new_pages)])


def _unfit(problem: str) -> Corrupt:
    return Corrupt(f"a patch does not fit: {problem}", hint="the version is restored whole instead")
