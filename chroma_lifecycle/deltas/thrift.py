"""Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

Read as Arrow reads it: where the two could differ about the same bytes, they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

I32, I64, LIST, STRUCT = 5, 6, 9, 12
_BITS = {4: 16, I32: 32, I64: 64}
_DEEPEST = 8

Key: TypeAlias = tuple[int, int]
"""The number of a field and its kind: one of another kind than is expected is passed over, as Arrow does."""


class Thrift:
    """Values out of some bytes; an IndexError says that they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self, depth: int = 0) -> dict[Key, Any]:
        """Return the fields of a struct; texts and lists are passed over, as None.

        Raises:
            ValueError: It is no struct.
            IndexError: The bytes end too early.
        """
        if depth > _DEEPEST:
            raise ValueError("structs too deep")
        return {key: self.value(key[1], depth) for key in self.fields()}

    def fields(self) -> Iterator[Key]:
        """Yield the fields of a struct; whoever asks for the next one has read the value of the last."""
        number, seen = 0, set[Key]()
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer(16)
            key = number, head & 15
            if key in seen or number >= 1 << 15:
                raise ValueError(f"field {number} twice, or of no number")
            seen.add(key)
            yield key

    def items(self) -> range:
        """Begin a list of structs, and return a number for each, to be read by the caller."""
        kind, size = self._list_head()
        if kind != STRUCT:
            raise ValueError(f"a list of kind {kind}")
        return range(size)

    def value(self, kind: int, depth: int = 0, *, listed: bool = False) -> Any:
        """Return the value of a field; None for a text or a list."""
        match kind:
            case 1 | 2:
                return self._byte() == 1 if listed else kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._integer(_BITS[kind])
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
        kind, size = self._list_head()
        if depth > _DEEPEST:
            raise ValueError("lists too deep")
        for _ in range(size):
            self.value(kind, depth + 1, listed=True)

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        return head & 15, head >> 4 if head >> 4 < 15 else self._varint()

    def _pass(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _integer(self, bits: int) -> int:
        found = self._varint()
        if found >> bits:
            raise ValueError(f"a number of more than {bits} bits")
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
