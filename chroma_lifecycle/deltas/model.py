"""A delta that was read, checked and made uniform."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.deltas.marks import Origin
from chroma_lifecycle.values import Digest, Scalar

GROUP_ROWS = 2_000
GROUP_BYTES = 16 << 20
"""A row group is the smallest part that is read at once: it bounds the memory of readers."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some records of a delta, as Chroma takes them.

    Attributes:
        embeddings: One row for each record.
        metadatas: Empty where a record has none.
    """

    ids: list[str]
    embeddings: npt.NDArray[np.float32]
    documents: list[str | None]
    metadatas: list[dict[str, Scalar]]

    def chosen(self, rows: Sequence[int]) -> Rows:
        """Return some of the records, by their places here."""
        if len(rows) == len(self.ids):
            return self
        return Rows(
            [self.ids[row] for row in rows],
            self.embeddings[np.asarray(rows, np.intp)],
            [self.documents[row] for row in rows],
            [self.metadatas[row] for row in rows],
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta whose every record can be applied.

    Attributes:
        address: As the run item says it.
        digest: Of the content; neither the order of the records nor the form they came in matters.
        path: The local file that holds the records; whoever opened the delta deletes it.
        ids: Every record's, in the order of the file.
        dimension: ``None`` if the delta is empty.
        origin: The collection that the records were exported from, if it is one file that says so.
    """

    address: str
    digest: Digest
    path: Path
    ids: tuple[str, ...]
    dimension: int | None
    origin: Origin | None = None

    def batches(self, rows: int = GROUP_ROWS) -> Iterator[Rows]:
        """Yield all records, at most *rows* at a time."""
        # Here, because pyarrow takes 40 MB, and longer to import than anything that reads no delta takes in all.
        from chroma_lifecycle.deltas.records import read_batches

        for batch in read_batches(self.path, rows):
            yield _rows(batch, self.dimension or 0)


def _rows(batch: Any, dimension: int) -> Rows:
    numbers = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
    return Rows(
        batch.column("id").to_pylist(),
        numbers.reshape(batch.num_rows, dimension),
        batch.column("document").to_pylist(),
        [json.loads(text) for text in batch.column("metadata").to_pylist()],
    )
