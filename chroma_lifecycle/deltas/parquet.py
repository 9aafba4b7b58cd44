"""Deltas in Parquet, from any writer: a file at a time, a few records at a time."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chroma_lifecycle.deltas.checks import RawRows
from chroma_lifecycle.deltas.marks import Marks, decode_marks, texts_of_footer
from chroma_lifecycle.deltas.records import GROUP_BYTES, GROUP_ROWS
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import shorten

BUFFER_BYTES = 1 << 20
COLUMNS = ("id", "embedding", "document", "metadata")
_TYPES = {
    "id": "text",
    "embedding": "a list of float32 (or float16, float64)",
    "document": "text",
    "metadata": "JSON text, or a struct",
}


def read_parquet(path: Path, subject: str) -> Iterator[RawRows]:
    """Yield the records of one file, unchecked, few enough at a time to be held in memory.

    Raises:
        BadInput: It is no sound Parquet file, or its columns are not a delta's.
    """
    with _opened(path, subject) as file:
        with damage(subject):
            _check_columns(file.schema_arrow, subject)
        size = _rows_at_once(file.metadata)
        batches = file.iter_batches(batch_size=size, use_threads=False)
        while (batch := _next(batches, subject)) is not None:
            yield _raw(batch, subject)


def count_rows(path: Path, subject: str) -> int:
    """Return how many rows the file says it has.

    Raises:
        BadInput: It is no sound Parquet file.
    """
    with _opened(path, subject) as file:
        return int(file.metadata.num_rows)


def parquet_marks(path: Path, subject: str) -> Marks:
    """Return what the file says of itself.

    Raises:
        BadInput: It is no sound Parquet file, or says something that is no mark.
    """
    with _opened(path, subject) as file:
        return decode_marks(texts_of_footer(file.metadata.metadata, subject), subject)


@contextmanager
def _opened(path: Path, subject: str) -> Iterator[Any]:
    with damage(subject):
        # Buffered, not read ahead: other writers put a million rows into one group.
        file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
    try:
        yield file
    finally:
        file.close()


def _next(batches: Iterator[Any], subject: str) -> Any:
    with damage(subject):
        return next(batches, None)


@contextmanager
def damage(subject: str) -> Iterator[None]:
    """Translate Arrow's errors about the bytes of a file.

    Raises:
        BadInput: The file is damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, ValueError) as problem:
        raise BadInput(
            f"{subject} is no sound Parquet file ({type(problem).__name__})",
            hint="write the delta again, under a new address; a delta is announced only when it is complete",
        ) from problem


def _rows_at_once(metadata: Any) -> int:
    """Return how many rows may be read together, by the largest average row of the file's groups."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes = [group.total_byte_size / group.num_rows for group in groups if group.num_rows > 0]
    return max(1, min(GROUP_ROWS, int(GROUP_BYTES / max([1.0, *sizes]))))


def _check_columns(schema: Any, subject: str) -> None:
    for name in schema.names:
        if name not in COLUMNS:
            meant = difflib.get_close_matches(name, COLUMNS, n=1)
            raise _bad_columns(subject, f"column {shorten(name)} is none of a delta's", meant)
        if schema.names.count(name) > 1:
            raise _bad_columns(subject, f"column {name!r} stands there twice")
    for name in ("id", "embedding"):
        if name not in schema.names:
            raise _bad_columns(subject, f"column {name!r} is missing")
    for field in schema:
        if not _fits(field.name, field.type):
            raise _bad_columns(subject, f"column {field.name!r} must be {_TYPES[field.name]}")


def _bad_columns(subject: str, problem: str, meant: list[str] | None = None) -> BadInput:
    guess = f"; did you mean {meant[0]!r}?" if meant else ""
    return BadInput(
        f"{subject}: {problem}{guess}; allowed: id, embedding, and if wanted document, metadata",
        hint="write deltas with chroma_lifecycle's DeltaWriter, or with these columns",
    )


def _fits(name: str, kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if name == "embedding":
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return bool(listed and pa.types.is_floating(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    if name == "id":
        return False
    # A column without any value comes without a type.
    return bool(pa.types.is_null(kind)) or (name == "metadata" and _is_struct(kind))


def _is_struct(kind: Any) -> bool:
    return bool(pa.types.is_struct(kind)) and len({field.name for field in kind}) == kind.num_fields


def _raw(batch: Any, subject: str) -> RawRows:
    with damage(subject):
        vectors = batch.column("embedding")
        return RawRows(
            batch.column("id").to_pylist(),
            vectors.flatten().to_numpy(zero_copy_only=False),
            _lengths(vectors),
            _values(batch, "document"),
            _values(batch, "metadata"),
        )


def _lengths(vectors: Any) -> npt.NDArray[np.int64]:
    lengths = pc.fill_null(pc.list_value_length(vectors), -1)
    found: npt.NDArray[np.int64] = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _values(batch: Any, name: str) -> list[object]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    values: list[object] = batch.column(name).to_pylist()
    return values
