"""Reading for people: from a copy, by id or by nearness."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.records import get_records, query_records, reading_copy
from chroma_lifecycle.errors import BadInput, NotClosed
from tests.support.chroma_directories import COLLECTION, content, vectors


def test_reading_leaves_the_directory_as_it_is(directory: Path) -> None:
    """Opening alone changes pages, so a copy is opened."""
    before = content(directory)
    with reading_copy(directory, COLLECTION) as client:
        assert directory != client.directory
        records = get_records(client, ["r3", "missing", "r1"])
    assert before == content(directory)
    assert [("r3", "document 3", {"number": 3}, None), ("r1", "document 1", {"number": 1}, None)] == [
        (record.id, record.document, record.metadata, record.distance) for record in records
    ]


def test_the_nearest_come_first_and_the_filter_holds(directory: Path) -> None:
    vector = vectors(40)[9].tolist()
    with reading_copy(directory, COLLECTION) as client:
        nearest = query_records(client, vector, limit=3)
        filtered = query_records(client, vector, limit=3, where={"number": {"$lt": 5}})
        assert () == get_records(client, [])

    assert "r9" == nearest[0].id
    assert nearest[0].distance == pytest.approx(0, abs=1e-5)
    assert sorted(record.distance or 0 for record in nearest) == [record.distance for record in nearest]
    assert all(int(record.id[1:]) < 5 for record in filtered)


def test_a_vector_of_another_dimension_is_bad_input(directory: Path) -> None:
    with reading_copy(directory, COLLECTION) as client:
        with pytest.raises(BadInput, match="a query in collection words"):
            query_records(client, [1.0, 2.0])
        with pytest.raises(BadInput, match="a query in collection words"):
            query_records(client, vectors(1)[0].tolist(), where={"number": {"$no": 5}})


def test_an_open_directory_is_not_copied(directory: Path) -> None:
    with (
        ManagedClient.open(directory, COLLECTION),
        pytest.raises(NotClosed),
        reading_copy(directory, COLLECTION, timeout_seconds=0.05),
    ):
        pass
