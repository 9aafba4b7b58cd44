"""What the pages of a Parquet file say they hold, read before one of them is decoded.

Arrow takes the size of a page and the number of its values from the page's own header, whatever the file's footer
claims, and a page that says a thousand million zeros is a few bytes long. So the headers are what a bound has to
look at. They are structs in Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

_HEADER_BYTES = (1 << 10, 16 << 20)
"""What is read for a header: enough for nearly all, then as much as Arrow takes (statistics may be long)."""
_DEEPEST = 8
MOST_PAGES = 1_000_000

# Fields of a page's header: sizes, and for each kind of page the struct that counts its values.
_UNPACKED, _PACKED = 2, 3
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8
_VALUES, _ENCODING, _ENCODING_V2 = 1, 2, 4
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
    _pages: int = field(default=0)

    def chunk(self, column: Any) -> Chunk:
        """Return what the pages of a column hold; *column* is Arrow's description of it, from the footer.

        Raises:
            ValueError: A header is none, or there are more pages than a sound file has.
        """
        start, of_dictionary = column.data_page_offset, column.dictionary_page_offset
        if of_dictionary is not None and 0 < of_dictionary < start:
            start = of_dictionary
        end = min(start + column.total_compressed_size, self.size_bytes)
        at, found = start, Chunk()
        while found.values < column.num_values:
            if at >= end:
                raise ValueError("fewer values than the footer claims")
            at = self._page(at, found)
        return found

    def _page(self, at: int, found: Chunk) -> int:
        """Count the page that begins *at*; return where the next one does."""
        self._pages += 1
        if self._pages > MOST_PAGES:
            raise ValueError(f"more than {MOST_PAGES:,} pages")
        header, size = self._header(at)
        packed = _size(header, _PACKED)
        unpacked = max(packed, _size(header, _UNPACKED))
        found.unpacked_bytes += unpacked
        found.value_bytes = max(found.value_bytes, self._count(header, unpacked, found))
        return at + size + packed

    def _count(self, header: dict[int, Any], unpacked: int, found: Chunk) -> float:
        """Count the values of a page; return how long one of them may be."""
        for kind, encoding in ((_DATA, _ENCODING), (_DATA_V2, _ENCODING_V2)):
            if isinstance(page := header.get(kind), dict):
                values = _size(page, _VALUES)
                found.values += values
                return unpacked / max(1, 1 if page.get(encoding) == _DELTA_BYTE_ARRAY else values)
        return unpacked if _DICTIONARY in header else 0

    def _header(self, at: int) -> tuple[dict[int, Any], int]:
        for enough in _HEADER_BYTES:
            self.file.seek(at)
            thrift = _Thrift(self.file.read(enough))
            try:
                return thrift.struct(), thrift.at
            except IndexError:
                continue
        raise ValueError("a page without a header")


def _size(header: dict[int, Any], name: int) -> int:
    size = header.get(name)
    if not isinstance(size, int) or size < 0:
        raise ValueError("a page without a size")
    return size


class _Thrift:
    """Values of the compact protocol; an IndexError says that the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a struct by their numbers; texts and lists are passed over, as None."""
        if depth > _DEEPEST:
            raise ValueError("structs too deep")
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            found[number] = self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int, *, listed: bool = False) -> Any:
        match kind:
            case 1 | 2:
                return self._byte() == 1 if listed else kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                return self._pass(8)
            case 8:
                return self._pass(self._varint())
            case 9 | 10:
                return self._list(depth)
            case 12:
                return self.struct(depth + 1)
        raise ValueError(f"a value of kind {kind}")

    def _list(self, depth: int) -> None:
        head = self._byte()
        size = head >> 4 if head >> 4 < 15 else self._varint()
        if depth > _DEEPEST:
            raise ValueError("lists too deep")
        for _ in range(size):
            self._value(head & 15, depth + 1, listed=True)

    def _pass(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _integer(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
            if shift > 63:
                raise ValueError("a number too long")


def groups_of(path: Path, metadata: Any) -> Iterator[list[Chunk]]:
    """Yield, for each group of rows, what its columns hold, in the order of the footer.

    Raises:
        ValueError: A page has no sound header.
    """
    with path.open("rb") as file:
        reader = PageReader(file, path.stat().st_size)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            yield [reader.chunk(group.column(at)) for at in range(group.num_columns)]
