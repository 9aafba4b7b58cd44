"""Reading records, for people: by id, or by nearness to a vector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.values import Scalar


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a reader sees it; *distance* is its distance from the vector asked for."""

    id: str
    document: str | None
    metadata: Mapping[str, Scalar]
    distance: float | None = None


def get_records(client: ManagedClient, ids: Sequence[str]) -> tuple[Record, ...]:
    """Return those of *ids* that exist, in the order asked for."""
    if not ids:
        return ()
    with client.errors("reading"):
        found = client.collection.get(ids=list(ids), include=["documents", "metadatas"])
    by_id = {record.id: record for record in _records(found["ids"], found["documents"], found["metadatas"])}
    return tuple(by_id[id_] for id_ in ids if id_ in by_id)


def query_records(
    client: ManagedClient, vector: Sequence[float], *, limit: int = 10, where: Mapping[str, object] | None = None
) -> tuple[Record, ...]:
    """Return the *limit* records nearest to *vector*, nearest first, of those that *where* selects.

    Args:
        where: A filter in Chroma's own language.

    Raises:
        BadInput: The vector has another dimension, or the filter is none.
    """
    with client.errors("a query"):
        found = client.collection.query(
            query_embeddings=[list(vector)],
            n_results=limit,
            where=dict(where) if where else None,
            include=["documents", "metadatas", "distances"],
        )
    return tuple(_records(found["ids"][0], found["documents"][0], found["metadatas"][0], found["distances"][0]))


def _records(
    ids: Sequence[str], documents: Sequence[Any], metadatas: Sequence[Any], distances: Sequence[float] | None = None
) -> Iterator[Record]:
    for row, id_ in enumerate(ids):
        distance = None if distances is None else float(distances[row])
        yield Record(id_, documents[row], metadatas[row] or {}, distance)
