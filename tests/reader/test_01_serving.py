"""What a reader serves: the newest version, from local files, and what a newer one costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.reader import SnapshotReader
from chroma_lifecycle.snapshot.descriptors import below
from tests.reader.conftest import MakeReader
from tests.support.news import News, said_by, seen_by
from tests.support.s3 import FaultProxy
from tests.support.watching import WatchedStore
from tests.support.world import World, vector


def test_the_first_use_restores_and_later_ones_are_local(world: World, read: MakeReader) -> None:
    """HEAD and the manifest are asked of the store, the blocks of the mirror; then nothing more is asked."""
    store, mirror = WatchedStore(world.store), WatchedStore(world.mirror)
    reader = read(store=store, mirror=mirror)
    assert [] == store.calls

    assert 2 == seen_by(reader)

    assert ["read_head", "read"] == [call.partition(" ")[0] for call in store.calls]
    assert {"words/objects"} == {"/".join(call.partition(" ")[2].split("/")[:2]) for call in mirror.calls}
    asked = len(store.calls), len(mirror.calls)
    assert 2 == seen_by(reader)
    assert asked == (len(store.calls), len(mirror.calls))


def test_a_newer_version_comes_as_packs(news: News, read: MakeReader) -> None:
    """What a refresh fetches is what changed: the manifest with the pack in it, and no block."""
    store = WatchedStore(news.world.store)
    reader = read(store=store)
    seen_by(reader)
    news.publish()
    store.calls.clear()

    status = reader.refresh()

    assert (3, 3) == (status.version, seen_by(reader))
    assert ["read_head words", "read words/manifests"] == [call.rpartition("/")[0] or call for call in store.calls]


def test_queries_under_way_end_on_the_version_that_they_began_with(news: News, read: MakeReader) -> None:
    """A block sees one version, whatever is published and swapped meanwhile; the next block sees the new one.

    The older version is closed and removed when its last reader leaves, and not before.
    """
    reader = read()
    with reader.collection() as words:
        assert 2 == said_by(words)
        news.publish()
        assert 3 == reader.refresh().version
        assert (2, 2, 1) == (words.version, said_by(words), reader.status().older_in_use)
        with reader.collection() as newer:
            assert (3, 3) == (newer.version, said_by(newer))
        assert 2 == len(served(news.world))
    assert 0 == reader.status().older_in_use
    [left] = served(news.world)
    open_copies = [each.path for each in below(news.world.home / "reader") if "serving-" in each.path]
    assert open_copies
    assert all(path.startswith(f"{left}/") for path in open_copies)


def served(world: World) -> list[Path]:
    return list((world.home / "reader" / "words").glob("serving-*"))


def test_a_version_that_differs_in_its_ledger_alone_opens_nothing(
    news: News, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts that wait for their records, and a re-base, change no answer: the version is served as it is."""
    reader = read()
    seen_by(reader)
    version, before = news.publish_ledger(), served(news.world)
    monkeypatch.setattr(ManagedClient, "open", None)

    assert version == reader.refresh().version
    assert before == served(news.world)


def test_a_library_client_answers_by_the_newest_version(news: News, read: MakeReader) -> None:
    """What `client()` gives is asked for one call at a time; a swap lies between any two of them."""
    reader = read()
    words = reader.client().get_or_create_collection("words")
    assert (2, 8) == (words.version, words.count())
    news.publish()
    reader.refresh()
    assert (3, 3, "words") == (words.version, said_by(words), words.name)
    assert ([words.name], 1) == (
        [each.name for each in reader.client().list_collections()],
        reader.client().count_collections(),
    )


def test_no_news_costs_one_request(in_s3: tuple[News, FaultProxy]) -> None:
    """A look at a HEAD that has not moved is one GET that S3 answers by 304, without a body."""
    news, proxy = in_s3
    with SnapshotReader.open(news.world.settings.store, "words", workspace=news.world.home / "reader") as reader:
        assert 2 == seen_by(reader)
        proxy.seen.clear()
        assert 2 == reader.refresh().version
        assert [("GET", 304, 0)] == [(seen.method, seen.status, seen.received_bytes) for seen in proxy.seen]
        news.publish()
        proxy.seen.clear()
        assert 3 == reader.refresh().version
        assert [("GET", 200)] * 2 == [(seen.method, seen.status) for seen in proxy.seen]
        assert 3 == seen_by(reader)


def test_what_is_written_to_a_copy_is_refused(read: MakeReader) -> None:
    """A reader's collection has no way to write: it would be lost with the next version."""
    with read().collection() as words:
        for method in ("add", "upsert", "update", "delete", "modify"):
            with pytest.raises(BadInput, match="would be lost with the next version"):
                getattr(words, method)(ids=["x"], embeddings=[vector(1)])
        assert 8 == words.count()
