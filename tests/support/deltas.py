"""Deltas for tests: small ones of every form, and opening them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.open import ReadChroma, open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.deltas.writer import DeltaWriter, WrittenDelta

Record = Mapping[str, object]


def record(id_: object = "a", **other: object) -> dict[str, object]:
    """Return one sound record of three dimensions, but for what *other* says."""
    return {"id": id_, "embedding": [1.0, 2.0, 3.0], "document": "text", "metadata": {"n": 1}} | other


def write_parquet(path: Path, records: Sequence[Record], **columns: pa.DataType) -> Path:
    """Write *records* as somebody else would, metadata as JSON text if it is a dictionary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "metadata": _json(row["metadata"])} if "metadata" in row else row for row in records]
    types = {"embedding": pa.list_(pa.float32())} | columns
    names = list(rows[0]) if rows else ["id", "embedding", "document", "metadata"]
    default = {"id": pa.string(), "document": pa.string(), "metadata": pa.string()} | types
    arrays = [pa.array([row[name] for row in rows], default.get(name)) for name in names]
    pq.write_table(pa.Table.from_arrays(arrays, names), path)
    return path


def _json(metadata: object) -> object:
    return json.dumps(metadata) if isinstance(metadata, dict) else metadata


def write_jsonl(path: Path, records: Sequence[Record]) -> Path:
    """Write *records*, one object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in records))
    return path


def write_delta(path: Path, ids: Sequence[str], dimension: int = 3) -> WrittenDelta:
    """Write a delta of records that are told apart by their ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with DeltaWriter(path, dimension=dimension) as writer:
        vectors = [[float(number)] * dimension for number, _ in enumerate(ids)]
        writer.add(ids, vectors, [f"text of {id_}" for id_ in ids], [{"of": id_} for id_ in ids])
    return writer.result


def opened(
    root: Path,
    address: str,
    *,
    collection: str = "words",
    dimension: int = 3,
    below: str | None = None,
    fits: Callable[[str], bool] = lambda _: True,
    read_chroma: ReadChroma | None = None,
) -> Delta:
    """Open the delta at *address* below *root*; scratch files go beside the root."""
    scratch = root.with_name(f"{root.name}-scratch")
    scratch.mkdir(exist_ok=True)
    expected = Expectation(collection, dimension, below, fits)
    return open_delta(address, directory_deltas(root), scratch, expected, read_chroma)


def left_in_scratch(root: Path) -> list[str]:
    """Return what lies in the scratch directory that `opened` used."""
    return sorted(path.name for path in root.with_name(f"{root.name}-scratch").iterdir())


def records_of(delta: Delta) -> list[dict[str, object]]:
    """Return all records of a delta, in the shape of `record`."""
    return [
        {"id": id_, "embedding": vector.tolist(), "document": document, "metadata": metadata}
        for rows in delta.batches()
        for id_, vector, document, metadata in zip(
            rows.ids, rows.embeddings, rows.documents, rows.metadatas, strict=True
        )
    ]
