"""Pages of 4 KiB: digests over them, and reading them.

Four pages are a *leaf*. A file digest is the SHA-256 over the BLAKE3s of the file's leaves, so that after a
change only the leaves are hashed again that have a changed page. The last page, and the last leaf, are as long
as they are, never padded.

Files are read in blocks of bounded size: a snapshot may be larger than memory.
They must be closed; nothing here may touch a file that Chroma has open.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.files import FileEntry, content_digest
from chroma_lifecycle.values import Digest

PAGE_BYTES = 4096
LEAF_PAGES = 4
LEAF_BYTES = LEAF_PAGES * PAGE_BYTES
"""Where BLAKE3 has as many chunks as it can hash side by side: 16 KiB take little longer than 4 (docs/adr/0260)."""
DIGEST_BYTES = 32
BLOCK_BYTES = 1 << 20
"""A multiple of the leaf; so much of a file is in memory at a time."""

# Pages are read and hashed in groups: few calls, and memory that does not follow their number.
_GROUP_PAGES = 1_024
_GROUP_LEAVES = _GROUP_PAGES // LEAF_PAGES

PageNumbers = npt.NDArray[np.int64]
"""Ascending numbers of pages; the first page of a file is 0."""

LeafNumbers = npt.NDArray[np.int64]
"""Ascending numbers of leaves; the first leaf of a file is 0."""

NO_NUMBERS: PageNumbers = np.empty(0, np.int64)

ReadPages = Callable[[PageNumbers], bytes | memoryview]
"""Returns pages of a file one after the other; its last page is as long as it is."""


def page_count(size: int) -> int:
    """Return how many pages a file of *size* bytes has."""
    return -(-size // PAGE_BYTES)


def body_length(size: int, numbers: PageNumbers) -> int:
    """Return how many bytes these pages of a file of *size* bytes have; none past its end."""
    return int(np.clip(size - PAGE_BYTES * numbers, 0, PAGE_BYTES).sum())


def leaf_count(size: int) -> int:
    """Return how many leaves a file of *size* bytes has."""
    return -(-size // LEAF_BYTES)


def leaves_of(numbers: PageNumbers) -> LeafNumbers:
    """Return the leaves that these pages lie in."""
    return np.unique(numbers // LEAF_PAGES)


def pages_in(leaves: LeafNumbers, size: int) -> PageNumbers:
    """Return the pages of these leaves of a file of *size* bytes."""
    numbers = (LEAF_PAGES * leaves[:, np.newaxis] + np.arange(LEAF_PAGES)).reshape(-1)
    return numbers[: np.searchsorted(numbers, page_count(size))]


def leaf_digests(data: bytes | memoryview) -> bytes:
    """Return the BLAKE3s of the leaves of *data*, which begins with one: 32 bytes each, one after the other."""
    with memoryview(data) as view:
        starts = range(0, len(view), LEAF_BYTES)
        return b"".join([blake3(view[start : start + LEAF_BYTES]).digest() for start in starts])


@dataclass(frozen=True, slots=True)
class FilePages:
    """What is known of the pages of one file: its size in bytes and the digest of each leaf.

    Attributes:
        digests: 32 bytes for each leaf, in order.
        digest: The file digest.
    """

    size: int
    digests: bytes
    digest: Digest = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.digests) != DIGEST_BYTES * leaf_count(self.size):
            raise ValueError(f"{self.size} bytes do not have {len(self.digests) / DIGEST_BYTES} leaves")
        object.__setattr__(self, "digest", Digest(hashlib.sha256(self.digests).hexdigest()))

    def of(self, leaves: LeafNumbers) -> bytes:
        """Return the digests of some leaves, one after the other."""
        return np.frombuffer(self.digests, np.uint8).reshape(-1, DIGEST_BYTES)[leaves].tobytes()

    def between(self, offset: int, size: int) -> Digest:
        """Return what the file digest of this stretch alone would be; it begins with a leaf."""
        first, last = offset // LEAF_BYTES, leaf_count(offset + size)
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
    with opened(path) as file:
        return FilePages(file.size, b"".join([leaf_digests(block) for _, block in file.blocks(file.size)]))


@dataclass(frozen=True, slots=True)
class Opened:
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
        buffer = memoryview(bytearray(min(size, BLOCK_BYTES)))
        for start in range(0, size, BLOCK_BYTES):
            block = buffer[: size - start]
            self.fill(block, start)
            yield start, block


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a closed file for as long as the block lasts."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Opened(path, descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def rehash(after: Path, before: FilePages, changed: PageNumbers) -> FilePages:
    """Return the pages of *after*, hashing only the leaves with a page in *changed*."""
    size = after.stat().st_size
    digests = DigestRows(before.digests, size)
    with pages_reader(after) as read:
        for group in in_groups(leaves_of(changed), _GROUP_LEAVES):
            digests.put(group, leaf_digests(read(pages_in(group, size))))
    return digests.pages()


class DigestRows:
    """The leaf digests of a file while some of them are put in place of those of the file before."""

    def __init__(self, before: bytes, size: int) -> None:
        self._size = size
        length = DIGEST_BYTES * leaf_count(size)
        self._digests = bytearray(before[:length].ljust(length, b"\0"))

    def put(self, leaves: LeafNumbers, digests: bytes) -> None:
        """Set the digests of some leaves."""
        rows = np.frombuffer(self._digests, np.uint8).reshape(-1, DIGEST_BYTES)
        rows[leaves] = np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)

    def pages(self) -> FilePages:
        """Return what has been put together."""
        return FilePages(self._size, bytes(self._digests))


@contextmanager
def pages_reader(path: Path) -> Iterator[ReadPages]:
    """Open a closed file and give a function that reads some of its pages; it is of use inside the block only."""
    with opened(path) as file:

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


_CACHE_NAME = b"chroma-lifecycle leaves 1\n"


def encode_pages(pages: FilePages) -> bytes:
    """Return the bytes of a local file that holds the leaf digests of one file: name, then the digests."""
    return _CACHE_NAME + pages.digests


def decode_pages(data: bytes, entry: FileEntry) -> FilePages:
    """Return the pages of the file *entry*.

    Leaf digests are local and prove nothing by themselves: they are returned only when they make the
    digest that *entry* has.

    Raises:
        Corrupt: They do not; hash the file again.
    """
    digests = data.removeprefix(_CACHE_NAME)
    if data.startswith(_CACHE_NAME) and len(digests) == DIGEST_BYTES * leaf_count(entry.size):
        pages = FilePages(entry.size, digests)
        if pages.digest == entry.digest:
            return pages
    raise Corrupt(
        f"the leaf digests of {entry.path} do not make the digest in the manifest",
        hint="nothing to do: the files are hashed again",
    )
