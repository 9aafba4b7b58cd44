"""What the pages of a Parquet file say they hold, read before one of them is decoded.

Arrow takes the size of a page and the number of its values from the page's own header, whatever the file's footer
claims, and a page that says a thousand million zeros is a few bytes long. So the headers are what a bound has to
look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.parquet_footer import Column, read_footer
from chroma_lifecycle.deltas.thrift import I32, STRUCT, Key, Thrift

_HEADER_BYTES = tuple(1 << bits for bits in range(10, 25, 2))
"""What is read for a header: enough for nearly all, then four times as much, up to what Arrow takes (statistics may be
long)."""
MOST_PAGES = 1_000_000

# Fields of a page's header: sizes, and for each kind of page the struct that counts its values.
_UNPACKED, _PACKED = (2, I32), (3, I32)
_DATA, _DICTIONARY, _DATA_V2 = (5, STRUCT), (7, STRUCT), (8, STRUCT)
_VALUES, _ENCODING, _ENCODING_V2 = (1, I32), (2, I32), (4, I32)
_DELTA_BYTE_ARRAY = 7


@dataclass(slots=True)
class Chunk:
    """What the pages of one column hold in one group of rows.

    Attributes:
        values: How many, those that are null included.
        unpacked_bytes: Of all pages, as they are before they are decoded.
        value_bytes: How long a text may be, as far as its page tells: the average of the page; where values are told as
            repetitions, all that there is to repeat.
    """

    values: int = 0
    unpacked_bytes: int = 0
    value_bytes: float = 0.0


@dataclass(slots=True)
class PageReader:
    """Reads the headers of the pages of one open file."""

    file: BinaryIO
    size_bytes: int
    allowance: Allowance
    _pages: int = field(default=0)

    def chunk(self, column: Column) -> Chunk:
        """Return what the pages of a column hold.

        Raises:
            ValueError: A header is none, or there are more pages than a sound file has.
        """
        at, found = column.at, Chunk()
        end = min(at + column.packed_bytes, self.size_bytes)
        while found.values < column.values:
            if at >= end:
                raise ValueError("fewer values than the footer claims")
            at = self._page(at, found)
        return found

    def _page(self, at: int, found: Chunk) -> int:
        """Count the page that begins *at*; return where the next one does."""
        self.allowance.go_on()
        self._pages += 1
        if self._pages > MOST_PAGES:
            raise ValueError(f"more than {MOST_PAGES:,} pages")
        header, size = self._header(at)
        packed = _size(header, _PACKED)
        unpacked = max(packed, _size(header, _UNPACKED))
        found.unpacked_bytes += unpacked
        found.value_bytes = max(found.value_bytes, self._count(header, unpacked, found))
        return at + size + packed

    def _count(self, header: dict[Key, Any], unpacked: int, found: Chunk) -> float:
        """Count the values of a page; return how long one of them may be."""
        for kind, encoding in ((_DATA, _ENCODING), (_DATA_V2, _ENCODING_V2)):
            if (page := header.get(kind)) is not None:
                values = _size(page, _VALUES)
                found.values += values
                return unpacked / max(1, 1 if page.get(encoding) == _DELTA_BYTE_ARRAY else values)
        return unpacked if _DICTIONARY in header else 0

    def _header(self, at: int) -> tuple[dict[Key, Any], int]:
        for enough in _HEADER_BYTES:
            self.file.seek(at)
            thrift = Thrift(self.file.read(enough))
            try:
                return thrift.struct(), thrift.at
            except IndexError:
                continue
        raise ValueError("a page without a header")


def _size(header: dict[Key, Any], name: Key) -> int:
    size: int = header.get(name, -1)
    if size < 0:
        raise ValueError("a page without a size")
    return size


@dataclass(frozen=True, slots=True)
class Group:
    """What a group of rows holds, its columns in the order of the schema."""

    rows: int
    chunks: list[Chunk]


def groups_of(path: Path, allowance: Allowance) -> Iterator[Group]:
    """Yield what each group of rows holds, of a file that Arrow has opened.

    Raises:
        ValueError: The footer is damaged, or a page has no sound header.
        NoTime: The deadline of *allowance* came first.
    """
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        reader = PageReader(file, size_bytes, allowance)
        for group in read_footer(file, size_bytes):
            allowance.go_on()
            yield Group(group.rows, [reader.chunk(column) for column in group.columns])
