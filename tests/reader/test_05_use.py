"""How a reader is used, and misused: when it looks, what a wrong call says, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK, wait_until
from chroma_lifecycle.errors import BadInput, NotOwned, Retryable, StoreUnavailable
from chroma_lifecycle.reader import ShardedReader, SnapshotReader, places, reader
from chroma_lifecycle.values import parse_collection
from tests.reader.conftest import MakeReader
from tests.support.news import News, said_by, seen_by
from tests.support.watching import WatchedStore
from tests.support.world import World, vector


@dataclass
class Turned:
    """A clock that is turned by hand."""

    seconds: float = 1_000.0
    began: datetime = field(default_factory=SYSTEM_CLOCK.now)

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


# When it looks.


def test_a_reader_looks_once_in_every_interval(news: News, read: MakeReader) -> None:
    """Within the interval nothing is asked; after it, the next reader looks first, and sees what is new."""
    clock, store = Turned(), WatchedStore(news.world.store)
    words = read(store=store, check_seconds=30.0, clock=clock)
    seen_by(words)
    news.publish()
    store.calls.clear()

    clock.seconds += 29
    assert (2, []) == (seen_by(words), store.calls)
    clock.seconds += 2
    assert 3 == seen_by(words)
    assert ["read_head", "read"] == [call.partition(" ")[0] for call in store.calls]


def test_a_look_that_fails_is_made_again_after_the_interval_and_not_before(news: News, read: MakeReader) -> None:
    """A store that is away costs one time-out an interval, whoever asks; status says since when and why."""
    clock, store = Turned(), WatchedStore(news.world.store)
    words = read(store=store, check_seconds=30.0, clock=clock)
    seen_by(words)
    news.publish()

    def away(number: int, call: str) -> None:
        raise StoreUnavailable("away", hint="wait")

    store.before = away
    store.calls.clear()
    clock.seconds += 31
    assert [2, 2, 2] == [seen_by(words) for _ in range(3)]
    assert 1 == len(store.calls)
    assert ("away", 31.0) == (words.status().problem, words.status().lag_seconds)
    store.before = lambda number, call: None
    clock.seconds += 31
    assert (3, None, 0.0) == (seen_by(words), words.status().problem, words.status().lag_seconds)


@pytest.mark.parametrize(("intervals", "waits"), [(1.5, False), (2.5, True)])
def test_others_wait_for_a_look_only_when_nobody_has_read_for_long(
    news: News, read: MakeReader, monkeypatch: pytest.MonkeyPatch, intervals: float, waits: bool
) -> None:
    """While one looks, the others go on with what is served; after an idle time they wait, and see what is new."""
    clock = Turned()
    words = read(check_seconds=30.0, clock=clock)
    seen_by(words)
    news.publish()
    asked: list[bool] = []

    class Lock:
        def acquire(self, *, blocking: bool) -> bool:
            asked.append(blocking)
            return False

    clock.seconds += 30 * intervals
    with monkeypatch.context() as patch:
        patch.setattr(words, "_refreshing", Lock())
        assert 2 == seen_by(words)
    assert waits == asked[0]


def test_of_many_who_come_first_one_restores(world: World, read: MakeReader) -> None:
    """Eight threads begin at once: HEAD is read once, and all of them are answered."""
    store = WatchedStore(world.store)
    words, answers = read(store=store), list[int]()
    threads = [threading.Thread(target=lambda: answers.append(seen_by(words))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [2] * 8 == answers
    assert 1 == store.calls.count("read_head words")


def test_who_waited_for_a_restore_that_failed_does_not_try_again(world: World, read: MakeReader) -> None:
    """A store that is away costs one time-out, and not one for each thread that waits."""
    waiting, failed = threading.Semaphore(0), list[str]()

    def away(number: int, call: str) -> None:
        assert wait_until(lambda: words._refreshing.locked() and len(started) == 4, timeout_seconds=30)
        raise StoreUnavailable("away", hint="wait")

    store = WatchedStore(world.store, before=away)
    words, started = read(store=store), list[int]()

    def ask() -> None:
        started.append(1)
        try:
            seen_by(words)
        except StoreUnavailable as problem:
            failed.append(problem.message)
        waiting.release()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["away"] * 4 == failed
    assert len(store.calls) < 4


def test_a_thread_of_its_own_brings_what_is_new(news: News, read: MakeReader) -> None:
    """With `background`, versions come though nobody asks; no query looks itself."""
    words = read(check_seconds=0.01, background=True)
    seen_by(words)
    news.publish()

    assert wait_until(lambda: words.status().version == 3, timeout_seconds=60)

    assert 3 == seen_by(words)
    words.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "reader words"]


def test_one_reads_at_least_what_one_has_written(news: News, read: MakeReader) -> None:
    """A version that is published is waited for; one that is not is a retryable error that says what there is."""
    words = read()
    with words.at_least(2) as found:
        assert 2 == found.version
    version = news.publish()
    with words.at_least(version) as found:
        assert (version, version) == (found.version, said_by(found))
    with (
        pytest.raises(Retryable, match=r"version 9 of words is not served after 0 s: version 3 is, and 3 is the new"),
        words.at_least(9, timeout_seconds=0),
    ):
        pass


# What a wrong call says.


def test_a_vector_of_another_dimension_is_told(read: MakeReader) -> None:
    """Both numbers, and what to do."""
    with read().collection() as words:
        for wrong in ([[1.0, 2.0, 3.0]], [1.0, 2.0, 3.0]):
            with pytest.raises(BadInput, match=r"vectors of 3 numbers, words has 4 dimensions .*embed the question"):
                words.query(query_embeddings=wrong)
        with pytest.raises(BadInput, match=r"query\(\) in collection words.*\$gt.*got \$no.*correct the arguments"):
            words.query(query_embeddings=[vector(1)], where={"x": {"$no": 1}})
        with pytest.raises(BadInput, match=r"query\(\) in collection words"):
            words.query()


@pytest.mark.parametrize("kind", [SnapshotReader, ShardedReader])
def test_a_time_before_the_last_look_is_refused(kind: type[SnapshotReader | ShardedReader], world: World) -> None:
    """It would be due for ever, as 0 is; what is meant by it nobody knows."""
    for wrong in (-1.0, float("nan")):
        with pytest.raises(BadInput, match=f"check_seconds is {wrong}.*or None to look by refresh"):
            kind(world.store, "words", check_seconds=wrong)


@pytest.mark.parametrize("kind", [SnapshotReader, ShardedReader])
def test_places_may_be_paths(kind: type[SnapshotReader | ShardedReader], world: World) -> None:
    """Of the store, the mirror and the workspace."""
    home = world.home
    with kind.open(home / "store", "words", mirror=home / "mirror", workspace=home / "reader") as words:
        assert (world.store.address, 1) == (words.status().store, 1)
        with words.collection() as found:
            assert 0 <= found.count()


def test_a_reader_does_not_embed(read: MakeReader) -> None:
    """C10: no model is loaded; who asks by text is told to embed."""
    with read().collection() as words, pytest.raises(BadInput, match="a reader has no embedding function"):
        words.query(query_texts=["what"])


def test_a_collection_ends_with_its_block(news: News, read: MakeReader) -> None:
    """Kept beyond its block it is refused, whether its version is still served or not."""
    words = read()
    with words.collection() as kept:
        pass
    with pytest.raises(BadInput, match=r"the block in which this collection was given has ended.*reader.client"):
        kept.count()


def test_another_name_is_not_this_collection(world: World, read: MakeReader) -> None:
    """The client of a reader knows one collection, and says which; a name that is none is refused at once."""
    with pytest.raises(BadInput, match="a reader of collection words, not of places"):
        read().client().get_collection("places")
    with pytest.raises(BadInput, match="the collection: a collection's name must be"):
        SnapshotReader(world.store, "x")


def test_versions_that_are_read_for_ever_do_not_pile_up(
    news: News, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than so many older versions stay open; then the one that is served stays, and status says why."""
    monkeypatch.setattr(reader, "MOST_OLDER", 2)
    words = read()
    blocks = []
    for _ in range(reader.MOST_OLDER + 1):
        blocks.append(words.collection())
        blocks[-1].__enter__()
        news.publish()
        words.refresh()
    version = words.status().version
    assert "2 older versions of words are still being read" in str(words.status().problem)
    for block in blocks:
        block.__exit__(None, None, None)
    assert version is not None
    assert version + 1 == words.refresh().version
    assert 0 == words.status().older_in_use


# Who has it.


def test_two_readers_do_not_share_a_workspace(world: World, read: MakeReader) -> None:
    """The second one is told who has it, and what to do."""
    seen_by(read())
    with pytest.raises(NotOwned, match=r"workspace .*reader/words is in use by process \d+ .*another directory"):
        seen_by(read())


def test_without_a_workspace_each_reader_finds_one(
    world: World, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of one machine need no settings: each takes the first place that is free, and finds what was there."""
    monkeypatch.setattr(places, "DEFAULT_WORKSPACE", world.home / "reader")
    one, two = read(workspace=None), read(workspace=None)
    assert (2, 2) == (seen_by(one), seen_by(two))
    (of_readers,) = (world.home / "reader").iterdir()
    assert ["0", "1"] == sorted(path.name for path in of_readers.iterdir())
    with pytest.raises(ValueError, match="a collection's name"):
        parse_collection(of_readers.name)  # whose workspace would be there too, and go as a whole when it needs room
    one.close()
    store = WatchedStore(world.store)
    assert 2 == seen_by(read(workspace=None, store=store))
    assert ["read_head words"] == store.calls


def test_a_reader_does_not_outlive_a_fork(read: MakeReader) -> None:
    """Chroma does not survive one: each worker makes its own reader, and closes none of who made it."""
    words = read()
    served = seen_by(words)
    words._process -= 1
    for use in (seen_by, SnapshotReader.close):
        with pytest.raises(NotOwned, match="make a reader in each worker"):
            use(words)
    words._process += 1
    assert served == seen_by(words)


def test_closing_waits_for_the_queries_under_way(world: World, read: MakeReader) -> None:
    """Who still reads is told of; no new reader is taken; when the last one has left, everything is closed."""
    words = read()
    block = words.collection()
    found = block.__enter__()
    with pytest.raises(NotOwned, match=r"1 version\(s\) are still being read after 0 s"):
        words.close(timeout_seconds=0)
    assert 8 == found.count()
    with pytest.raises(BadInput, match="this reader of words is closed"):
        seen_by(words)
    block.__exit__(None, None, None)
    words.close()
    words.close()
    assert 2 == seen_by(read())


def test_a_reader_that_was_never_used_closes(read: MakeReader, world: World) -> None:
    """Making one does nothing, so there is nothing to give up."""
    read().close()
    assert not (world.home / "reader").exists()


def test_an_event_loop_reads_in_threads(read: MakeReader) -> None:
    """`asyncio.to_thread` is all that it takes."""
    words = read()

    async def ask() -> list[int]:
        return await asyncio.gather(*(asyncio.to_thread(seen_by, words) for _ in range(4)))

    assert [2] * 4 == asyncio.run(ask())


def test_status_is_json(read: MakeReader, tmp_path: Path) -> None:
    """Every field is there before and after the first use."""
    words = read()
    before = words.status().as_json()
    seen_by(words)
    after = words.status().as_json()

    assert before.keys() == after.keys()
    assert (None, None, "words") == (before["version"], before["written_at"], before["collection"])
    assert (2, 8, 2, None, 0) == tuple(
        after[name] for name in ("version", "records", "newest", "problem", "older_in_use")
    )
