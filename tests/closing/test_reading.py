"""Reading for people: by id, or by nearness to a vector."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.records import get_records, query_records
from chroma_lifecycle.errors import BadInput
from tests.support.chroma_directories import COLLECTION, vectors


def test_records_come_in_the_order_asked_for(directory: Path) -> None:
    """One that is missing is left out."""
    with ManagedClient.open(directory, COLLECTION) as client:
        records = get_records(client, ["r3", "missing", "r1"])
        assert () == get_records(client, [])
    assert [("r3", "document 3", {"number": 3}, None), ("r1", "document 1", {"number": 1}, None)] == [
        (record.id, record.document, record.metadata, record.distance) for record in records
    ]


def test_the_nearest_come_first_and_the_filter_holds(directory: Path) -> None:
    vector = vectors(40)[9].tolist()
    with ManagedClient.open(directory, COLLECTION) as client:
        nearest = query_records(client, vector, limit=3)
        filtered = query_records(client, vector, limit=3, where={"number": {"$lt": 5}})

    assert "r9" == nearest[0].id
    assert nearest[0].distance == pytest.approx(0, abs=1e-5)
    assert sorted(record.distance or 0 for record in nearest) == [record.distance for record in nearest]
    assert all(int(record.id[1:]) < 5 for record in filtered)


def test_a_vector_of_another_dimension_is_bad_input(directory: Path) -> None:
    with ManagedClient.open(directory, COLLECTION) as client:
        with pytest.raises(BadInput, match="a query in collection words"):
            query_records(client, [1.0, 2.0])
        with pytest.raises(BadInput, match="a query in collection words"):
            query_records(client, vectors(1)[0].tolist(), where={"number": {"$no": 5}})
