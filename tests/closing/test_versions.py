"""C12: a directory that a newer Chroma wrote is refused, one that an older one wrote is brought forward."""

from __future__ import annotations

import sqlite3
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient, installed_migrations
from chroma_lifecycle.chroma.records import query_records
from chroma_lifecycle.chroma.tail import settle_tail
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.snapshot import soundness
from tests.support.chroma_directories import COLLECTION, content, vectors

GOLDEN = sorted((Path(__file__).parent / "golden").glob("chromadb-*.tar.gz"))


def test_the_installed_migrations_are_those_of_a_new_database(directory: Path) -> None:
    """They are asked of the engine: the SQL files in its Python package are an older set."""
    assert installed_migrations() == frozenset(soundness.examine(directory).migrations)
    assert "metadb/00005-max-seq-id-int.sqlite.sql" in installed_migrations()


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name.removesuffix(".tar.gz"))
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory that another version of Chroma wrote."""
    with tarfile.open(request.param) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "chroma"


def is_known(directory: Path) -> bool:
    return frozenset(soundness.examine(directory, full=True).migrations) <= installed_migrations()


def test_a_directory_of_another_version_is_opened_or_refused(golden: Path) -> None:
    """C12: of the same age or older, its records are there and can be changed; newer, not a byte is touched."""
    before = content(golden)
    if is_known(golden):
        with ManagedClient.open(golden, COLLECTION) as client:
            client.apply(Plan(updates={"r1": {"label": True}}, deletes=("r2",)), {})
            assert [["r7"]] == client.collection.query(query_embeddings=vectors(8)[7:], n_results=1)["ids"]
        found = soundness.examine(golden, full=True)
        assert (24, installed_migrations()) == (found.collections[0].records, frozenset(found.migrations))
    else:
        with pytest.raises(BadInput, match="newer Chroma"):
            ManagedClient.open(golden, COLLECTION)
        assert before == content(golden)


def test_settling_the_tail_leaves_distances_as_they_were(golden: Path) -> None:
    """C12: flushed with another threshold, vectors of a collection from before 1.0 are not cosine any more."""
    if not is_known(golden):
        pytest.skip("written by a newer Chroma")
    with ManagedClient.open(golden, COLLECTION) as client:
        client.collection.delete(ids=["r21", "r22", "r23", "r24"])
    before = _distances(golden)
    report = settle_tail(golden, COLLECTION, budget=3)

    assert report.flushed or "before 1.0" in report.note
    assert before == pytest.approx(_distances(golden), abs=1e-6)


def _distances(directory: Path) -> list[float]:
    """Return how far the nearest record is from one that is in the HNSW files and from one in the queue."""
    with ManagedClient.open(directory, COLLECTION) as client:
        nearest = [query_records(client, (3 * vectors(25)[row]).tolist(), limit=1)[0] for row in (7, 20)]
    assert ["r7", "r20"] == [record.id for record in nearest]
    return [record.distance or 0.0 for record in nearest]


def test_a_directory_of_the_future_is_refused_with_both_sides(directory: Path) -> None:
    """The error names the migration and the installed version; Chroma itself opens it without a word."""
    with sqlite3.connect(directory / "chroma.sqlite3") as database:
        row = ("metadb", 99, "00099-future.sqlite.sql", "SELECT 1", "hash")
        database.execute("INSERT INTO migrations VALUES (?, ?, ?, ?, ?)", row)
    database.close()

    with pytest.raises(BadInput) as refusal:
        ManagedClient.open(directory, COLLECTION)
    assert "metadb/00099-future.sqlite.sql" in str(refusal.value)
    assert version("chromadb") in str(refusal.value)
