"""Asking shards side by side, pure: which of them a call concerns, and one answer of their answers.

Answers are Chroma's own dictionaries: a list for each field that was asked for, ``None`` for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from chroma_lifecycle.publishing.layout import Layout
from chroma_lifecycle.publishing.shard import Shard

FIELDS = ("ids", "distances", "embeddings", "documents", "metadatas", "uris", "data")


def shards_asked(
    layout: Layout, ids: Collection[str] | None, where: Mapping[str, Any] | None, partition_key: str | None
) -> tuple[Shard, ...]:
    """Return the shards in which there can be a record of *ids* that *where* selects, in the order of their slots.

    Args:
        layout: The shards in force.
        ids: The only ids that are asked for; ``None`` for any.
        where: Chroma's filter.
        partition_key: The metadata key that holds, in every record, what its id begins with.
    """
    names = {shard.name for shard in layout.shards}
    if ids is not None:
        names &= {layout.shard_of(record_id).name for record_id in ids}
    partitions = None if partition_key is None else _partitions(where, partition_key)
    if partitions is not None:
        names &= {layout.shard_of(partition).name for partition in partitions}
    return tuple(shard for shard in layout.shards if shard.name in names)


def _partitions(where: Any, key: str) -> frozenset[str] | None:
    """Return the values of *key* without which no record is selected; ``None`` if any value can be."""
    if not isinstance(where, Mapping):
        return None
    found = []
    for name, condition in where.items():
        if name == key:
            found.append(_values(condition))
        elif name in ("$and", "$or") and isinstance(condition, Sequence) and not isinstance(condition, str):
            parts = [_partitions(each, key) for each in condition]
            known = [part for part in parts if part is not None]
            if name == "$and":
                found += known
            elif len(known) == len(parts):
                found.append(frozenset[str]().union(*known))
    known = [values for values in found if values is not None]
    return reduce(frozenset.intersection, known) if known else None


def _values(condition: Any) -> frozenset[str] | None:
    if isinstance(condition, Mapping) and len(condition) == 1:
        if "$eq" in condition:
            condition = [condition["$eq"]]
        elif "$in" in condition:
            condition = condition["$in"]
    elif isinstance(condition, str):
        condition = [condition]
    if isinstance(condition, list | tuple) and all(isinstance(value, str) for value in condition):
        return frozenset(condition)
    return None  # whatever else Chroma takes, or refuses: every shard says so


def joined_get(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one answer of ``get``: the records of the first shard, then those of the next."""
    together = _joined(answers, lambda values: [row for value in values for row in value])
    if together.get("embeddings") is not None:
        together["embeddings"] = np.array(together["embeddings"], np.float32)
    return together


def merged_query(answers: Sequence[dict[str, Any]], limit: int, *, with_distances: bool) -> dict[str, Any]:
    """Return one answer of ``query``: of each question the *limit* records that are nearest in any shard.

    Args:
        answers: Each with its distances.
        limit: ``n_results``.
        with_distances: Whether they were asked for.
    """
    together = _joined(
        answers, lambda values: [[row for part in parts for row in part] for parts in zip(*values, strict=True)]
    )
    orders = [
        sorted(range(len(ids)), key=lambda row, distances=distances, ids=ids: (distances[row], ids[row]))[:limit]  # type: ignore[misc]
        for ids, distances in zip(together["ids"], together["distances"], strict=True)
    ]
    for field in FIELDS:
        if together.get(field) is not None:
            together[field] = [
                [rows[row] for row in order] for rows, order in zip(together[field], orders, strict=True)
            ]
    if not with_distances:
        together["distances"] = None
        together["included"] = [name for name in together.get("included", []) if name != "distances"]
    return together


def _joined(answers: Sequence[dict[str, Any]], join: Any) -> dict[str, Any]:
    first = dict(answers[0])
    for field in FIELDS:
        if first.get(field) is not None:
            first[field] = join([answer[field] for answer in answers])
    return first
