"""The file that every delta becomes, and that the writer makes: Parquet, checked, with its digest inside.

Columns: ``id`` text, ``embedding`` list of float32, ``document`` text or null, ``metadata`` JSON text.
The footer holds the digest of the content (``marks``), which covers what Parquet's own page checksums
leave open. A file of Parquet without it is read as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chroma_lifecycle.deltas.checks import CheckedRows
from chroma_lifecycle.deltas.marks import Origin, encode_marks, footer_of
from chroma_lifecycle.deltas.model import GROUP_BYTES, GROUP_ROWS
from chroma_lifecycle.values import Digest

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("embedding", pa.list_(pa.field("element", pa.float32(), nullable=False)), nullable=False),
        pa.field("document", pa.string()),
        pa.field("metadata", pa.string(), nullable=False),
    ]
)


class RecordWriter:
    """Writes checked records to a new file; complete only when `finish` has returned."""

    def __init__(self, path: Path) -> None:
        # Vectors do not compress; texts do.
        compression = {"id": "zstd", "embedding.list.element": "none", "document": "zstd", "metadata": "zstd"}
        self._file = pq.ParquetWriter(
            path,
            SCHEMA,
            compression=compression,
            use_dictionary=False,
            write_page_checksum=True,
            write_statistics=False,
        )
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = self._rows = 0

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._file.close()

    def add(self, rows: CheckedRows) -> None:
        """Write the rows, in groups that a reader can hold."""
        for start in range(0, len(rows.ids), GROUP_ROWS):
            batch = _batch(rows, slice(start, start + GROUP_ROWS))
            if self._waiting_rows + batch.num_rows > GROUP_ROWS or self._waiting_bytes + batch.nbytes > GROUP_BYTES:
                self._flush()
            self._waiting.append(batch)
            self._waiting_rows += batch.num_rows
            self._waiting_bytes += batch.nbytes

    def finish(self, digest: Digest, origin: Origin | None = None) -> None:
        """Write what is left, and the footer with the digest of the whole content, and where it comes from."""
        self._flush()
        self._file.add_key_value_metadata(footer_of(encode_marks(self._rows, digest, origin)))
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_batches(self._waiting, SCHEMA).combine_chunks())
        self._rows += self._waiting_rows
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


def _batch(rows: CheckedRows, part: slice) -> Any:
    vectors = rows.embeddings[part]
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(rows.ids[part], pa.string()),
            pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()), type=SCHEMA.field("embedding").type),
            pa.array(rows.documents[part], pa.string()),
            pa.array(rows.metadatas[part], pa.string()),
        ],
        schema=SCHEMA,
    )


def read_batches(path: Path, rows: int) -> Iterator[Any]:
    """Yield the Arrow batches of a file that `RecordWriter` finished, each of at most *rows* rows."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, use_threads=False)
            yield from table.to_batches(max_chunksize=rows)
