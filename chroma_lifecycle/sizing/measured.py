"""The constants of the model; ``measured.json`` beside this file is written by ``make bench``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Measured:
    """What ``make bench`` measured, on a warm workspace.

    Attributes:
        machine: Where.
        dimension: Of the vectors.
        records: Of the smaller snapshot.
        fixed_seconds: Of a cycle that changes nothing of nothing: open, close, prove, publish.
        seconds_per_record: What each record of the snapshot adds to a cycle: Chroma loads the HNSW files at the
            first write.
        seconds_per_label: What a changed label or field adds.
        seconds_per_vector: What a new vector adds.
        seconds_per_task: What a task of a bulk build takes beside its records: its beginning and end, and its share of
            the process that imports Chroma for all of them.
        seconds_per_built_vector: What a bulk build takes for a vector in an empty index, all told.
        seconds_per_vector_before: What it takes more for each vector that the index has already.
        bytes_per_record: Of the snapshot: vector, document, metadata, ledger and indexes.
        bytes_per_label, bytes_per_vector: Published for each.
        base_memory_bytes: Of a process that has loaded Chroma and holds next to nothing.
        memory_per_byte: Bytes of memory for each byte of the snapshot, at the peak of a cycle.
        base_share_of_labels: Bytes that a new base sends for each byte of the snapshot, where labels have changed.
        base_share_of_vectors: The same where vectors have changed all over.
        writes, reads: Requests of S3 in a cycle.
        link_bytes_per_second: Between a function and S3 (assumed, not measured).
    """

    machine: str
    dimension: int
    records: int
    fixed_seconds: float
    seconds_per_record: float
    seconds_per_label: float
    seconds_per_vector: float
    seconds_per_task: float
    seconds_per_built_vector: float
    seconds_per_vector_before: float
    bytes_per_record: float
    bytes_per_label: float
    bytes_per_vector: float
    base_memory_bytes: float
    memory_per_byte: float
    base_share_of_labels: float
    base_share_of_vectors: float
    writes: float
    reads: float
    link_bytes_per_second: float


@cache
def measured() -> Measured:
    """Return the constants that the release was measured with."""
    return Measured(**json.loads((files(__package__) / "measured.json").read_text("utf-8")))
