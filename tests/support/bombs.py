"""Parquet files that are small and say that they hold more than any machine has room for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIMENSION = 65_536
_ROWS = 50


def vectors(path: Path, *, groups: int, dimension: int = DIMENSION) -> Path:
    """Write *groups* times 50 records of zeros: all groups of rows are the same pages, which the footer names again."""
    numbers = pa.array(np.zeros(_ROWS * dimension, np.float32))
    lists = pa.ListArray.from_arrays(np.arange(_ROWS + 1, dtype=np.int32) * dimension, numbers)
    body = io.BytesIO()
    pq.write_table(pa.table({"id": [f"{at}" for at in range(_ROWS)], "embedding": lists}), body, compression="zstd")
    metadata, once = pq.read_metadata(body), pq.read_metadata(body)
    for _ in range(groups - 1):
        metadata.append_row_groups(once)
    return _with_footer(path, body.getvalue(), metadata)


def documents(path: Path, *, records: int, size_bytes: int = 1 << 20) -> Path:
    """Write records that all have one long document, which the file holds once."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(records, np.int32)), pa.array(["x" * size_bytes]))
    ids = [f"{at}" for at in range(records)]
    embedding = pa.array([[1.0, 2.0, 3.0]] * records, pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": ids, "embedding": embedding, "document": texts}), path, compression="zstd")
    return path


def lies(path: Path, *, real: int, claimed: int) -> Path:
    """Let the footer of *path* claim another number of values than a column has."""
    data, found = path.read_bytes(), _varint(real)
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8]
    assert found in footer
    path.write_bytes(data[: -8 - size] + footer.replace(found, _varint(claimed, len(found))) + data[-8:])
    return path


def _with_footer(path: Path, body: bytes, metadata: pq.FileMetaData) -> Path:
    footer = io.BytesIO()
    metadata.write_metadata_file(footer)
    size = int.from_bytes(body[-8:-4], "little")
    path.write_bytes(body[: -8 - size] + footer.getvalue()[4:])
    return path


def _varint(number: int, length: int = 0) -> bytes:
    """Return a number as Thrift writes it, in at least so many bytes."""
    left, found = 2 * number, []
    while left or len(found) < length or not found:
        found.append(left & 127 | 128)
        left >>= 7
    return bytes([*found[:-1], found[-1] & 127])
