"""Vectors of many records in a file of the local disk; memory holds the place of each, and no vector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.deltas.disk import require_room, writing

_NUMBER_BYTES = 4


class VectorFile:
    """One vector for each of some records, in the order in which the records are named."""

    def __init__(self, path: Path, ids: Iterable[str], dimension: int, step: str) -> None:
        """Make the file.

        Args:
            step: What it is made for, for messages.

        Raises:
            NoRoom: The disk is too small for all vectors.
        """
        self._path = path
        self._places = {record_id: place for place, record_id in enumerate(ids)}
        self._is_there = bytearray(len(self._places))
        self._dimension, self._size = dimension, _NUMBER_BYTES * dimension
        require_room(path.parent, len(self._places) * self._size, step)
        with writing(path):
            path.touch(exist_ok=False)

    def put(self, ids: Sequence[str], vectors: npt.NDArray[np.float32]) -> str | None:
        """Write the vectors of *ids*; those of records that were not named are left out.

        Returns:
            The first record that has one already, if any does; what comes after it is not written.

        Raises:
            NoRoom: The disk is full.
        """
        with writing(self._path), self._path.open("r+b") as file:
            for record_id, vector in zip(ids, vectors, strict=True):
                place = self._places.get(record_id)
                if place is None:
                    continue
                if self._is_there[place]:
                    return record_id
                file.seek(place * self._size)
                file.write(vector.tobytes())
                self._is_there[place] = True
        return None

    def missing(self) -> list[str]:
        """Return the records that have no vector yet."""
        return [record_id for record_id, place in self._places.items() if not self._is_there[place]]

    def of(self, ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the vectors of *ids*, a row for each; all of them must be there."""
        found = np.empty((len(ids), self._dimension), np.float32)
        with self._path.open("rb") as file:
            for row, record_id in zip(found, ids, strict=True):
                file.seek(self._places[record_id] * self._size)
                row[:] = np.frombuffer(file.read(self._size), np.float32)
        return found
