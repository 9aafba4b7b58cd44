"""Pages of 4 KiB: digests over them, and which of them differ between two files.

A file digest is the SHA-256 over the SHA-256s of the file's pages, so that after a change only
the changed pages are hashed again. The last page is as long as it is, never padded.

Files are read in blocks of bounded size: a snapshot may be larger than memory.
They must be closed; nothing here may touch a file that Chroma has open.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.files import FileEntry, content_digest
from chroma_lifecycle.values import Digest

PAGE_BYTES = 4096
DIGEST_BYTES = 32
# A multiple of the page; two of them are compared at a time.
_BLOCK_BYTES = 1 << 20
_WORDS = PAGE_BYTES // 8

# Pages are read and hashed in groups: few calls, and memory that does not follow their number.
_GROUP_PAGES = 1_024

PageNumbers = npt.NDArray[np.int64]
"""Ascending numbers of pages; the first page of a file is 0."""

NO_NUMBERS: PageNumbers = np.empty(0, np.int64)

ReadPages = Callable[[PageNumbers], bytes | memoryview]
"""Returns pages of a file one after the other; its last page is as long as it is."""


def page_count(size: int) -> int:
    """Return how many pages a file of *size* bytes has."""
    return -(-size // PAGE_BYTES)


def body_length(size: int, numbers: PageNumbers) -> int:
    """Return how many bytes these pages of a file of *size* bytes have; none past its end."""
    return int(np.clip(size - PAGE_BYTES * numbers, 0, PAGE_BYTES).sum())


def page_digests(data: bytes | memoryview) -> bytes:
    """Return the SHA-256s of the pages of *data*, 32 bytes each, one after the other."""
    with memoryview(data) as view:
        starts = range(0, len(view), PAGE_BYTES)
        return b"".join([hashlib.sha256(view[start : start + PAGE_BYTES]).digest() for start in starts])


@dataclass(frozen=True, slots=True)
class FilePages:
    """What is known of one file: its size in bytes and the digest of each page.

    Attributes:
        digests: 32 bytes for each page, in order.
        digest: The file digest.
    """

    size: int
    digests: bytes
    digest: Digest = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.digests) != DIGEST_BYTES * page_count(self.size):
            raise ValueError(f"{self.size} bytes do not have {len(self.digests) / DIGEST_BYTES} pages")
        object.__setattr__(self, "digest", Digest(hashlib.sha256(self.digests).hexdigest()))

    def of(self, numbers: PageNumbers) -> bytes:
        """Return the digests of some pages, one after the other."""
        return np.frombuffer(self.digests, np.uint8).reshape(-1, DIGEST_BYTES)[numbers].tobytes()

    def between(self, offset: int, size: int) -> Digest:
        """Return what the file digest of this stretch alone would be; it begins on a page."""
        first, last = offset // PAGE_BYTES, page_count(offset + size)
        return Digest(hashlib.sha256(self.digests[DIGEST_BYTES * first : DIGEST_BYTES * last]).hexdigest())


PageTable = Mapping[str, FilePages]
"""The pages of every file of a directory, by path."""


def entries(table: PageTable) -> tuple[FileEntry, ...]:
    """Return the sorted table of files that *table* describes."""
    return tuple(FileEntry(path, pages.size, pages.digest) for path, pages in sorted(table.items()))


def table_digest(table: PageTable) -> Digest:
    """Return the content digest of the files that *table* describes."""
    return content_digest(entries(table))


def hash_file(path: Path) -> FilePages:
    """Read the whole file and return its pages."""
    with _opened(path) as file:
        return FilePages(file.size, b"".join([page_digests(block) for _, block in file.blocks(file.size)]))


def changed_pages(before: Path, after: Path) -> PageNumbers:
    """Return the pages of *after* that a pack must hold.

    Those are the pages whose bytes differ, every page at or past the old end, and, when the
    size changes, the last page of either size.
    """
    return np.concatenate([NO_NUMBERS, *(changed for *_, changed in _changed_blocks(before, after))])


def _pages_by_size(old_size: int, new_size: int) -> PageNumbers:
    """Return the pages that count as changed because the size is another one."""
    if old_size == new_size:
        return NO_NUMBERS
    old_pages, new_pages = page_count(old_size), page_count(new_size)
    forced = {old_pages - 1, new_pages - 1, *range(old_pages, new_pages)}
    return np.array([number for number in sorted(forced) if 0 <= number < new_pages], np.int64)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that is read. It is never mapped: a page that a failing disk cannot give would end the process."""

    path: Path
    descriptor: int
    size: int

    def fill(self, buffer: memoryview, offset: int) -> None:
        """Read what lies at *offset* until *buffer* is full.

        Raises:
            OSError: With the path. The disk fails, or the file has become shorter.
        """
        while buffer:
            try:
                count = os.preadv(self.descriptor, [buffer], offset)
            except OSError as problem:
                raise OSError(problem.errno, problem.strerror, str(self.path)) from problem
            if not count:
                raise OSError(errno.EIO, "the file became shorter while it was read", str(self.path))
            buffer, offset = buffer[count:], offset + count

    def blocks(self, size: int) -> Iterator[tuple[int, memoryview]]:
        """Yield (start, block) over the first *size* bytes; a block is gone with the next."""
        buffer = memoryview(bytearray(min(size, _BLOCK_BYTES)))
        for start in range(0, size, _BLOCK_BYTES):
            block = buffer[: size - start]
            self.fill(block, start)
            yield start, block


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield _Opened(path, descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


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
    """Some pages of a file that a pack must hold.

    Attributes:
        numbers: Which ones.
        old: Those of them that the file had before, as they were, one after the other.
        new: All of them, as they are now.
    """

    numbers: PageNumbers
    old: memoryview
    new: memoryview


def changed_pieces(before: Path | None, after: Path, pages: int) -> Iterator[Piece]:
    """Yield what :func:`changed_pages` finds with its bytes, so many pages at a time, the last time fewer.

    Either file is read once.

    Args:
        before: ``None``, if there was no such file; then every page of *after* counts.
    """
    numbers, old, new = list[int](), bytearray(), bytearray()
    for start, old_block, new_block, changed in _changed_blocks(before, after):
        for number in changed.tolist():
            at = PAGE_BYTES * number - start
            numbers.append(number)
            old += old_block[at : at + PAGE_BYTES]
            new += new_block[at : at + PAGE_BYTES]
            if len(numbers) == pages:
                yield Piece(np.array(numbers, np.int64), memoryview(old), memoryview(new))
                numbers, old, new = [], bytearray(), bytearray()
    if numbers:
        yield Piece(np.array(numbers, np.int64), memoryview(old), memoryview(new))


def _changed_blocks(before: Path | None, after: Path) -> Iterator[tuple[int, memoryview, memoryview, PageNumbers]]:
    """Yield, block by block: where it starts, its bytes before and after, and its pages that count as changed."""
    with _opened(after) as now, _opened(before) if before else nullcontext(None) as was:
        old_size = was.size if was else 0
        forced = _pages_by_size(old_size, now.size)
        old_buffer, new_buffer = (memoryview(bytearray(min(size, _BLOCK_BYTES))) for size in (old_size, now.size))
        for start in range(0, now.size, _BLOCK_BYTES):
            old, new = old_buffer[: max(0, old_size - start)], new_buffer[: now.size - start]
            now.fill(new, start)
            if was:
                was.fill(old, start)
            common, first = min(len(old), len(new)), start // PAGE_BYTES
            differing = _differing(old[:common], new[:common]) + first
            here = forced[(forced >= first) & (forced < first + page_count(len(new)))]
            yield start, old, new, np.union1d(differing, here).astype(np.int64)


def rehash(after: Path, before: FilePages, changed: PageNumbers) -> FilePages:
    """Return the pages of *after*, hashing only those in *changed*."""
    digests = DigestRows(before.digests, after.stat().st_size)
    with pages_reader(after) as read:
        for group in in_groups(changed):
            digests.put(group, page_digests(read(group)))
    return digests.pages()


class DigestRows:
    """The page digests of a file while some of them are put in place of those of the file before."""

    def __init__(self, before: bytes, size: int) -> None:
        self._size = size
        length = DIGEST_BYTES * page_count(size)
        self._digests = bytearray(before[:length].ljust(length, b"\0"))

    def put(self, numbers: PageNumbers, digests: bytes) -> None:
        """Set the digests of some pages."""
        rows = np.frombuffer(self._digests, np.uint8).reshape(-1, DIGEST_BYTES)
        rows[numbers] = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)

    def pages(self) -> FilePages:
        """Return what has been put together."""
        return FilePages(self._size, bytes(self._digests))


@contextmanager
def pages_reader(path: Path) -> Iterator[ReadPages]:
    """Open a closed file and give a function that reads some of its pages; it is of use inside the block only."""
    with _opened(path) as file:

        def read(numbers: PageNumbers) -> memoryview:
            pages = np.empty(body_length(file.size, numbers), np.uint8).data
            for first, piece in in_stretches(numbers, pages):
                file.fill(piece, PAGE_BYTES * first)
            return pages

        yield read


def no_pages(numbers: PageNumbers) -> bytes:
    """Read pages of a file that is not there: nobody may ask for any."""
    assert not len(numbers), f"a new file has no page {numbers[0]} before"
    return b""


def in_groups(numbers: PageNumbers, size: int = _GROUP_PAGES) -> Iterator[PageNumbers]:
    """Yield *numbers* in groups of a bounded size."""
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def stretches(numbers: PageNumbers) -> list[tuple[int, int]]:
    """Return the first number and the length of each stretch of pages that follow one another."""
    if not len(numbers):
        return []
    begins = np.concatenate(([0], np.flatnonzero(np.diff(numbers) != 1) + 1))
    lengths = np.diff(begins, append=len(numbers))
    return list(zip(numbers[begins].tolist(), lengths.tolist(), strict=True))


def in_stretches(numbers: PageNumbers, pages: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the stretches of *pages*, which lie one after the other, by their first page."""
    offset = 0
    for first, count in stretches(numbers):
        yield first, pages[offset : offset + PAGE_BYTES * count]
        offset += PAGE_BYTES * count


_CACHE_NAME = b"chroma-lifecycle pages 1\n"


def encode_pages(pages: FilePages) -> bytes:
    """Return the bytes of a local file that holds the page digests of one file: name, then the digests."""
    return _CACHE_NAME + pages.digests


def decode_pages(data: bytes, entry: FileEntry) -> FilePages:
    """Return the pages of the file *entry*.

    Page digests are local and prove nothing by themselves: they are returned only when they make the
    digest that *entry* has.

    Raises:
        Corrupt: They do not; hash the file again.
    """
    digests = data.removeprefix(_CACHE_NAME)
    if data.startswith(_CACHE_NAME) and len(digests) == DIGEST_BYTES * page_count(entry.size):
        pages = FilePages(entry.size, digests)
        if pages.digest == entry.digest:
            return pages
    raise Corrupt(
        f"the page digests of {entry.path} do not make the digest in the manifest",
        hint="nothing to do: the files are hashed again",
    )
