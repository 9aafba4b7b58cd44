"""Patches: the change of one file, as pages. Pure: whoever calls reads and writes the pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.pages import DIGEST_BYTES, PAGE_BYTES, FilePages, PageNumbers, page_count
from chroma_lifecycle.values import Digest

MOST_NEW_PAGES = 65_536
"""A file that grows by more does not fit into a pack."""

_GROUP_PAGES = 1_024

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

    def lengths(self) -> Iterator[int]:
        """Yield the length of each page in *body*."""
        return (page_length(self.after.size, number) for number in self.numbers)


def page_length(size: int, number: int) -> int:
    """Return how long page *number* of a file of *size* bytes is; 0 past its end."""
    return max(0, min(PAGE_BYTES, size - PAGE_BYTES * number))


def make_patch(
    path: str,
    before: FilePages | None,
    after: FilePages,
    changed: Sequence[int] | PageNumbers,
    old_page: Callable[[int], bytes],
    new_page: Callable[[int], bytes],
) -> Patch:
    """Return the patch that leads from *before* to *after*.

    Args:
        path: The file, in the version.
        before: The file as published; ``None`` if it is a new one.
        after: The file as it is now.
        changed: What :func:`.pages.changed_pages` found; every page, for a new file.
        old_page: Reads a page of the file as published.
        new_page: Reads a page of the file as it is now.

    Raises:
        Corrupt: A page before is not what was published. Nothing that was made from such a
            copy may be published.
    """
    numbers = tuple(int(number) for number in changed)
    held = []
    # In groups, so that memory follows the pack and not three times the pack.
    for start in range(0, len(numbers), _GROUP_PAGES):
        group = numbers[start : start + _GROUP_PAGES]
        old = [_proven_page(path, before, number, old_page) for number in group]
        held.append(_choose(old, [new_page(number) for number in group]))
    kinds, body = b"".join([kinds for kinds, _ in held]), b"".join([pages for _, pages in held])
    return Patch(path, FileState.of(before) if before else None, FileState.of(after), numbers, kinds, body)


def _proven_page(path: str, before: FilePages | None, number: int, old_page: Callable[[int], bytes]) -> bytes:
    """Return the page as published, after hashing it; empty where there was none."""
    if before is None or number >= page_count(before.size):
        return b""
    page = old_page(number)
    if hashlib.sha256(page).digest() != before.page(number):
        raise Corrupt(
            f"page {number} of {path} in the local copy is not as published",
            hint="the workspace is restored whole by the next attempt; if it happens again, check the disk",
        )
    return page


def _choose(old: list[bytes], new: list[bytes]) -> tuple[bytes, bytes]:
    """Return for each page whether its own bytes or the XOR is cheaper, and the pages so chosen."""
    kinds, body = np.full(len(new), RAW, np.uint8), bytearray(b"".join(new))
    # Only the last page of a file can be short, so a whole page lies where its number says.
    whole = np.array([i for i, page in enumerate(new) if len(page) == len(old[i]) == PAGE_BYTES], np.int64)
    if whole.size:
        after = np.frombuffer(body, np.uint8, PAGE_BYTES * (int(whole[-1]) + 1)).reshape(-1, PAGE_BYTES)
        xor = after[whole] ^ np.frombuffer(b"".join([old[i] for i in whole]), np.uint8).reshape(-1, PAGE_BYTES)
        # What zstd makes of a page grows with its bytes that are not zero; text becomes half as
        # long besides, its XOR does not. Measured: twice the weight gives the smallest packs.
        better = 2 * np.count_nonzero(xor, axis=1) < np.count_nonzero(after[whole], axis=1)
        kinds[whole[better]], after[whole[better]] = XOR, xor[better]
    return kinds.tobytes(), bytes(body)


@dataclass(frozen=True, slots=True)
class Patched:
    """A file after a patch: its pages' digests, and the pages to be written."""

    path: str
    pages: FilePages
    writes: tuple[tuple[int, bytes], ...]


def apply_patch(patch: Patch, before: FilePages | None, old_page: Callable[[int], bytes]) -> Patched:
    """Return what is to be written, after proving every byte of it; nothing is written here.

    Raises:
        Corrupt: The file is not the one that the patch was made from (so no pack can be applied
            twice or to another parent), or the result is not what the patch promises.
    """
    if patch.before != (FileState.of(before) if before else None):
        raise _unfit(f"it was made from another {patch.path}")
    digests = bytearray(before.digests if before else b"")
    count = page_count(patch.after.size)
    digests = digests[: DIGEST_BYTES * count].ljust(DIGEST_BYTES * count, b"\0")
    writes, offset = [], 0
    for number, kind, length in zip(patch.numbers, patch.kinds, patch.lengths(), strict=True):
        page = bytes(patch.body[offset : offset + length])
        if kind == XOR:
            page = _xor(page, _proven_page(patch.path, before, number, old_page))
        digests[DIGEST_BYTES * number : DIGEST_BYTES * (number + 1)] = hashlib.sha256(page).digest()
        writes.append((number, page))
        offset += length
    pages = FilePages(patch.after.size, bytes(digests))
    if pages.digest != patch.after.digest:
        raise _unfit(f"it does not make the {patch.path} that it promises")
    return Patched(patch.path, pages, tuple(writes))


def _xor(left: bytes, right: bytes) -> bytes:
    return (np.frombuffer(left, np.uint8) ^ np.frombuffer(right, np.uint8)).tobytes()


def check_patch(patch: Patch, size: int) -> None:
    """Refuse a patch that breaks a rule of the format.

    Raises:
        ValueError: It does; the message names the rule.
    """
    old_size = patch.before.size if patch.before else 0
    held, kind_of = set(patch.numbers), dict(zip(patch.numbers, patch.kinds, strict=True))
    if len(patch.body) != size or any(b <= a for a, b in pairwise(patch.numbers)):
        raise ValueError(f"the pages of {patch.path} do not ascend, or are cut off")
    if patch.numbers and patch.numbers[-1] >= page_count(patch.after.size):
        raise ValueError(f"{patch.path} has no page {patch.numbers[-1]}")
    if patch.before == patch.after:
        raise ValueError(f"{patch.path} does not change")
    if missing := _required(old_size, patch.after.size) - held:
        raise ValueError(f"{patch.path} changes its size, and page {min(missing)} is not there")
    if unfit := [n for n, kind in kind_of.items() if kind > _may_be(old_size, patch.after.size, n)]:
        raise ValueError(f"page {unfit[0]} of {patch.path} cannot be a difference")


def _required(old_size: int, new_size: int) -> set[int]:
    """Return the pages that must be held because the size changes."""
    if old_size == new_size:
        return set()
    old_pages, new_pages = page_count(old_size), page_count(new_size)
    if new_pages - old_pages > MOST_NEW_PAGES:
        raise ValueError(f"a file that grows by {new_size - old_size} bytes does not fit into a pack")
    return {n for n in (old_pages - 1, new_pages - 1, *range(old_pages, new_pages)) if 0 <= n < new_pages}


def _may_be(old_size: int, new_size: int, number: int) -> int:
    """Return the highest kind that a page may have: XOR needs whole pages before and after."""
    whole = page_length(old_size, number) == page_length(new_size, number) == PAGE_BYTES
    return XOR if whole else RAW


def _unfit(problem: str) -> Corrupt:
    return Corrupt(f"a patch does not fit: {problem}", hint="the version is restored whole instead")
