"""The write-ahead tail is bounded before a directory is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.chroma import tail
from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.chroma.tail import DEFAULT_BUDGET, TailReport, Thresholds, settle_tail, stored_thresholds
from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot import soundness
from tests.support.chroma_directories import COLLECTION, content, fill, make_directory, vectors


@pytest.fixture
def with_tail(tmp_path: Path) -> Path:
    """A closed directory with 30 vectors in the queue alone, and thresholds that are not the defaults."""
    make_directory(tmp_path / "chroma", records=30, sync_threshold=900)
    return tmp_path / "chroma"


def test_a_tail_within_the_budget_is_published_as_it_is(with_tail: Path) -> None:
    """Not a byte changes, and Chroma is not opened."""
    before = content(with_tail)
    assert TailReport(30, 30, 0.0) == settle_tail(with_tail, COLLECTION)
    assert not settle_tail(with_tail, COLLECTION, budget=30).flushed
    assert before == content(with_tail)


def test_a_tail_above_the_budget_is_forced_to_disk(with_tail: Path) -> None:
    """The vectors are in the HNSW files, the records are the same, the thresholds are what they were."""
    report = settle_tail(with_tail, COLLECTION, budget=29)

    assert (30, 0, True) == (report.before, report.after, report.flushed)
    state = soundness.examine(with_tail, full=True).collections[0]
    assert (30, 0, 30) == (state.flushed, state.tail, state.records)
    assert Thresholds(900, 5) == stored_thresholds(with_tail)
    with ManagedClient.open(with_tail, COLLECTION) as client:
        nearest = client.collection.query(query_embeddings=vectors(30), n_results=1)["ids"]
    assert [[f"r{number}"] for number in range(30)] == nearest


def test_thresholds_that_were_never_set_are_the_defaults_again(tmp_path: Path) -> None:
    with ManagedClient.open(tmp_path / "chroma", COLLECTION, create=CollectionSettings("cosine", 8)) as client:
        fill(client.collection, 20)
    before = stored_thresholds(tmp_path / "chroma")
    assert settle_tail(tmp_path / "chroma", COLLECTION, budget=10).flushed
    assert Thresholds(1000, 100) == before == stored_thresholds(tmp_path / "chroma")


def test_metadata_operations_do_not_use_up_the_budget(with_tail: Path) -> None:
    """They cost a reader nothing."""
    with ManagedClient.open(with_tail, COLLECTION) as client:
        ids = [f"r{number}" for number in range(30)]
        for _ in range(3):
            client.collection.update(ids=ids, metadatas=[{"label": True}] * len(ids))
    assert TailReport(30, 30, 0.0) == settle_tail(with_tail, COLLECTION, budget=30)


def test_an_effect_that_is_not_there_is_an_error(with_tail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Chroma that flushed in another way must not go unnoticed."""
    monkeypatch.setattr(tail, "_LOWEST", Thresholds(800, 5))
    with pytest.raises(Corrupt, match="30 vector operations are still only in the queue"):
        settle_tail(with_tail, COLLECTION, budget=10)


def test_thresholds_that_were_not_restored_are_an_error(with_tail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would write all HNSW files again at every third vector."""
    set_once = iter([tail.set_thresholds, lambda *_: None])
    monkeypatch.setattr(tail, "set_thresholds", lambda *arguments: next(set_once)(*arguments))
    with pytest.raises(Corrupt, match=r"sync=3, batch=3.*sync=900, batch=5"):
        settle_tail(with_tail, COLLECTION, budget=10)


def test_a_budget_that_cannot_be_kept_is_refused(with_tail: Path) -> None:
    with pytest.raises(BadInput, match="budget of 2"):
        settle_tail(with_tail, COLLECTION, budget=2)
    assert 500 == DEFAULT_BUDGET
