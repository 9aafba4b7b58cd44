"""C12: a directory that a newer Chroma wrote is refused, one that an older one wrote is brought forward."""

from __future__ import annotations

import sqlite3
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient, installed_migrations
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.snapshot import soundness
from tests.support.chroma_directories import COLLECTION, content, vectors

GOLDEN = sorted((Path(__file__).parent / "golden").glob("chromadb-*.tar.gz"))


def test_the_installed_migrations_are_those_of_a_new_database(directory: Path) -> None:
    """They are asked of the engine: the SQL files in its Python package are an older set."""
    assert installed_migrations() == frozenset(soundness.examine(directory).migrations)
    assert "metadb/00005-max-seq-id-int.sqlite.sql" in installed_migrations()


@pytest.mark.parametrize("archive", GOLDEN, ids=lambda path: path.name.removesuffix(".tar.gz"))
def test_a_directory_of_another_version_is_opened_or_refused(tmp_path: Path, archive: Path) -> None:
    """Of the same age or older: its records are there and can be changed. Newer: not a byte is touched."""
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    directory = tmp_path / "chroma"
    before = content(directory)
    written_by = frozenset(soundness.examine(directory, full=True).migrations)

    if written_by <= installed_migrations():
        with ManagedClient.open(directory, COLLECTION) as client:
            client.apply(Plan(updates={"r1": {"label": True}}, deletes=("r2",)), {})
            assert [["r7"]] == client.collection.query(query_embeddings=vectors(8)[7:], n_results=1)["ids"]
        found = soundness.examine(directory, full=True)
        assert (24, installed_migrations()) == (found.collections[0].records, frozenset(found.migrations))
    else:
        with pytest.raises(BadInput, match="newer Chroma"):
            ManagedClient.open(directory, COLLECTION)
        assert before == content(directory)


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
