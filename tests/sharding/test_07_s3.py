"""Shards in a bucket: the layout is swapped by If-Match like HEAD, and read by a conditional GET."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from chroma_lifecycle.bulk import bring
from chroma_lifecycle.bulk.leftovers import left_behind, remove_left_behind
from chroma_lifecycle.errors import BadInput, HeadMoved
from chroma_lifecycle.publishing.layout import publish_layout, read_layout
from chroma_lifecycle.reader import ShardedReader
from tests.sharding.test_01_compaction import A, B, with_words
from tests.support.heads import COLLECTION, write_id
from tests.support.layouts import layout_spec
from tests.support.resharding import Reshard, read_here
from tests.support.s3 import new_bucket, use_server
from tests.support.sharded import ShardedWorld
from tests.support.table import Table


def test_a_layout_in_a_bucket_is_swapped_like_head(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second of two that start from the same one is refused; an unchanged one is not sent again."""
    use_server(monkeypatch)
    store = ShardedWorld(tmp_path, f"s3://{new_bucket()}/x").store
    first = publish_layout(store, layout_spec(), None)
    assert first is read_layout(store, COLLECTION, known=first)
    second = publish_layout(store, layout_spec(serial=2, swap_id=write_id(8)), first)
    for expected in (first, None):
        with pytest.raises(HeadMoved):
            publish_layout(store, layout_spec(serial=2, swap_id=write_id(9)), expected)
    assert second == read_layout(store, COLLECTION)


def test_a_collection_in_shards_lives_in_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begun, compacted, read, cut anew and cleaned up there."""
    use_server(monkeypatch)
    world = ShardedWorld(tmp_path, f"s3://{new_bucket()}/x").begin()
    with_words(world, Table())
    reader = ShardedReader(world.store, "words", workspace=tmp_path / "readers")
    with reader, reader.collection() as words:
        assert {A, B} == set(words.get()["ids"])
        assert [B] == words.query([[2.0, 1.0, 0.0, 0.5]], n_results=1)["ids"][0]

    monkeypatch.setattr(bring, "read_chroma_delta", read_here)
    Reshard(world, 2).run()
    layout = world.layout()
    assert [f"words.1-{number}" for number in range(3)] == [each.name for each in left_behind(world.store, layout)]
    with pytest.raises(BadInput, match="somebody may still read"):
        remove_left_behind(world.store, "words", timedelta(hours=1))
    assert 3 == len(remove_left_behind(world.store, "words", timedelta()))
    assert [] == [*world.store.list("words.1-")]
    assert {A, B} == world.records().keys()
