"""Deltas in Parquet, from any writer: a file at a time, a few records at a time."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.checks import RawRows
from chroma_lifecycle.deltas.marks import Marks, decode_marks, texts_of_footer
from chroma_lifecycle.deltas.model import GROUP_BYTES, GROUP_ROWS
from chroma_lifecycle.deltas.parquet_pages import Group, groups_of
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import shorten

BUFFER_BYTES = 1 << 20
_NUMBER_BYTES = 4
"""Of a vector, as it is kept."""
_VALUE_BYTES = 16
"""Of any other value, beside its text: even one that is null has its place."""
_TEXT_BYTES = 32 << 20
"""What texts may take that are read together, if each is as long as its page allows."""
_TEXTS = ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
COLUMNS = ("id", "embedding", "document", "metadata")
_TYPES = {
    "id": "text",
    "embedding": "a list of float32 (or float16, float64)",
    "document": "text",
    "metadata": "JSON text, or a struct",
}


def read_parquet(path: Path, subject: str, allowance: Allowance) -> Iterator[RawRows]:
    """Yield the records of one file, unchecked, few enough at a time to be held in memory.

    Raises:
        BadInput: It is no sound Parquet file, its columns are not a delta's, or it unpacks to more than *allowance*.
        NoTime: The deadline of *allowance* came first.
    """
    with _opened(path, subject) as file:
        with damage(subject):
            _check_columns(file.schema_arrow, subject)
            groups = _measured(path, file, allowance)
        allowance.claim(sum(group.unpacked_bytes for group in groups))
        for number, group in enumerate(groups):
            with damage(subject):
                batches = file.iter_batches(batch_size=group.rows_at_once, row_groups=[number], use_threads=False)
            while (batch := _next(batches, subject)) is not None:
                allowance.go_on()
                yield _raw(batch, subject, allowance)


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
    # The last is how Python calls a date, or a time, beyond those that it knows.
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as problem:
        raise BadInput(
            f"{subject} is no sound Parquet file ({type(problem).__name__})",
            hint="write the delta again, under a new address; a delta is announced only when it is complete",
        ) from problem


@dataclass(frozen=True, slots=True)
class _Measure:
    """How much a group of rows holds, and how many of its rows may be read together."""

    unpacked_bytes: int
    rows_at_once: int


def _measured(path: Path, file: Any, allowance: Allowance) -> list[_Measure]:
    columns = [file.schema.column(at) for at in range(len(file.schema))]
    groups = [_measure(columns, group) for group in groups_of(path, allowance)]
    if len(groups) != file.num_row_groups:
        raise ValueError("Arrow reads other groups than were measured")
    return groups


def _measure(columns: Sequence[Any], group: Group) -> _Measure:
    unpacked, longest = 0, 1.0
    for column, chunk in zip(columns, group.chunks, strict=True):
        if column.path.partition(".")[0] == "embedding":
            unpacked += max(chunk.unpacked_bytes, _NUMBER_BYTES * chunk.values)
        else:
            unpacked += chunk.unpacked_bytes + _VALUE_BYTES * chunk.values
            longest += chunk.value_bytes if column.physical_type in _TEXTS else 0.0
    average = max(1.0, unpacked / max(1, group.rows))
    return _Measure(unpacked, max(1, min(GROUP_ROWS, int(GROUP_BYTES / average), int(_TEXT_BYTES / longest))))


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


def _raw(batch: Any, subject: str, allowance: Allowance) -> RawRows:
    with damage(subject):
        vectors = batch.column("embedding")
        numbers = vectors.flatten().to_numpy(zero_copy_only=False)
        ids, documents, metadatas = (_values(batch, name) for name in ("id", "document", "metadata"))
        rows = RawRows(ids, numbers, _lengths(vectors), documents, metadatas)
    allowance.take(_NUMBER_BYTES * len(numbers) + sum(map(_length, (ids, documents, metadatas))))
    return rows


def _length(value: object) -> int:
    """Return how much text there is in a value, however often it was repeated."""
    match value:
        case str() | bytes():
            return len(value)
        case list():
            return sum(map(_length, value))
        case dict():
            return sum(map(_length, value.values()))
    return 0


def _lengths(vectors: Any) -> npt.NDArray[np.int64]:
    lengths = pc.fill_null(pc.list_value_length(vectors), -1)
    found: npt.NDArray[np.int64] = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _values(batch: Any, name: str) -> list[object]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    values: list[object] = batch.column(name).to_pylist()
    return values
