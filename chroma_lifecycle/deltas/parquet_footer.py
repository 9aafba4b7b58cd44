"""Where the columns of a Parquet file lie, by its footer.

Arrow would tell, but looks at the statistics of a column first, and where these are damaged it ends the process
in place of raising an error: one bit that flipped is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from chroma_lifecycle.deltas.thrift import I64, LIST, STRUCT, Key, Thrift

_TAIL_BYTES = 8
"""The length of the footer, and four letters."""

# Of the file, of a group of rows, of a column in it.
_GROUPS = 4, LIST
_COLUMNS, _ROWS = (1, LIST), (3, I64)
_DESCRIPTION = 3, STRUCT
_VALUES, _PACKED, _DATA_AT, _DICTIONARY_AT = (5, I64), (7, I64), (9, I64), (11, I64)


@dataclass(frozen=True, slots=True)
class Column:
    """The pages of one column in one group of rows.

    Attributes:
        at: Where the first page begins.
        packed_bytes: Of all pages, with their headers.
        values: How many they hold, those that are null included.
    """

    at: int
    packed_bytes: int
    values: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A group of rows, its columns in the order of the schema."""

    rows: int
    columns: tuple[Column, ...]


def read_footer(file: BinaryIO, size_bytes: int) -> Iterator[RowGroup]:
    """Yield the groups of rows of a file that Arrow has opened.

    Raises:
        ValueError: The footer is none.
    """
    file.seek(size_bytes - _TAIL_BYTES)
    length = int.from_bytes(file.read(4), "little")
    file.seek(size_bytes - _TAIL_BYTES - length)
    thrift = Thrift(file.read(length))
    try:
        for key in thrift.fields():
            if key == _GROUPS:
                for _ in thrift.items():
                    yield _group(thrift)
            else:
                thrift.value(key[1])
    except IndexError as problem:
        raise ValueError("a footer that is cut off") from problem


def _group(thrift: Thrift) -> RowGroup:
    rows, columns = 0, tuple[Column, ...]()
    for key in thrift.fields():
        if key == _COLUMNS:
            columns = tuple(_column(thrift.struct()) for _ in thrift.items())
        elif key == _ROWS:
            rows = thrift.value(I64)
        else:
            thrift.value(key[1])
    return RowGroup(rows, columns)


def _column(found: dict[Key, dict[Key, int]]) -> Column:
    described = found.get(_DESCRIPTION, {})
    try:
        start = described[_DATA_AT]
        # Writers that have no dictionary may say that it begins at 0.
        if 0 < (dictionary := described.get(_DICTIONARY_AT, 0)) < start:
            start = dictionary
        return Column(start, described[_PACKED], described[_VALUES])
    except KeyError as problem:
        raise ValueError("a column without a place") from problem
