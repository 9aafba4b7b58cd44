"""Reading a collection in shards: the answers of one collection, by asking the shards that can have them alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NotInitialised, NotOwned, Retryable, Sharded
from chroma_lifecycle.publishing.layout import Layout, publish_layout, read_layout
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.reader import ShardedReader, SnapshotReader
from chroma_lifecycle.reader.fanning import shards_asked
from tests.support.heads import write_id
from tests.support.layouts import layout_spec
from tests.support.sharded import ShardedWorld
from tests.support.table import Table
from tests.support.world import World, begins

IMAGES = [f"IMAGE#{number}" for number in range(10)]
RECORDS = {
    f"{image}#RECEIPT#00001#LINE#00001#WORD#{word:05d}": (
        7 * number + word,
        f"word {word} of {image}",
        {"image": image, "word": word},
    )
    for number, image in enumerate(IMAGES)
    for word in range(1, 6)
}


@dataclass
class Twins:
    """The same records in shards and in one collection."""

    sharded: ShardedWorld
    plain: World


def fill(world: World) -> None:
    table = Table()
    batch = []
    for image in IMAGES:
        records = {id_: record for id_, record in RECORDS.items() if id_.startswith(f"{image}#")}
        world.write_delta(image[6:], records)
        batch.append(table.put(image, "RECEIPT#00001#COMPACTION_RUN#r", **begins(image[6:])))
    assert len(IMAGES) == world.compact(batch).applied


@pytest.fixture(scope="module")
def twins(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    home = tmp_path_factory.mktemp("twins")
    made = Twins(ShardedWorld(Path(shutil.copytree(begun, home / "sharded"))), World(home / "plain").begin())
    for world in (made.sharded, made.plain):
        fill(world)
    return made


@pytest.fixture(scope="module")
def reader(twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardedReader]:
    place = tmp_path_factory.mktemp("readers")
    with ShardedReader(twins.sharded.store, "words", partition_key="image", workspace=place) as made:
        yield made


@pytest.fixture(scope="module")
def one(twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnapshotReader]:
    with SnapshotReader(twins.plain.store, "words", workspace=tmp_path_factory.mktemp("reader")) as made:
        yield made


def near(number: float) -> list[float]:
    return [number, 1.0, 0.0, 0.5]


def opened(reader: ShardedReader) -> set[str]:
    """Return the shards that were asked so far."""
    return {status.collection for status in reader.status().shards}


@pytest.mark.parametrize("n_results", [1, 7, 1_000])
@pytest.mark.parametrize("where", [None, {"word": {"$gt": 3}}, {"image": "IMAGE#4"}, {"word": 99}])
def test_the_nearest_are_those_of_one_collection(
    reader: ShardedReader, one: SnapshotReader, n_results: int, where: Any
) -> None:
    """Ids, distances, documents and metadata, nearest first, for several questions at once."""
    ask = {"n_results": n_results, "where": where}
    questions = [near(20.3), near(55.4), near(-3.0)]
    with reader.collection() as shards, one.collection() as whole:
        expected, found = whole.query(questions, **ask), shards.query(questions, **ask)
    assert expected.keys() == found.keys()
    for field in ("ids", "distances", "documents", "metadatas"):
        assert expected[field] == found[field]


def test_what_was_not_asked_for_is_not_given(reader: ShardedReader) -> None:
    """Distances are needed to merge; they are told only to who asks for them."""
    with reader.collection() as words:
        found = words.query([near(3.2)], n_results=2, include=["embeddings"])
        assert (None, None, None) == tuple(found[name] for name in ("distances", "documents", "metadatas"))
        assert [near(3.0), near(4.0)] == [list(row) for row in found["embeddings"][0]]


def test_records_are_got_from_where_they_are(reader: ShardedReader, one: SnapshotReader) -> None:
    """By id, by filter, all of them, and in pages that hold each of them once."""
    wanted = [*list(RECORDS)[::9], "IMAGE#none#RECEIPT#00001"]

    spelt = partial(json.dumps, sort_keys=True)

    def rows(found: Any) -> list[Any]:
        return sorted(zip(found["ids"], found["documents"], map(spelt, found["metadatas"]), strict=True))

    with reader.collection() as shards, one.collection() as whole:
        for ask in ({"ids": wanted}, {"ids": wanted[0]}, {"where": {"word": 2}}, {}):
            assert rows(whole.get(**ask)) == rows(shards.get(**ask))
        assert len(RECORDS) == shards.count() == whole.count()
        pages = [shards.get(limit=8, offset=start, include=["embeddings"]) for start in range(0, 64, 8)]
        assert sorted(RECORDS) == sorted(id_ for page in pages for id_ in page["ids"])
        vectors = np.concatenate([page["embeddings"] for page in pages if page["ids"]])
        assert [near(RECORDS[id_][0]) for page in pages for id_ in page["ids"]] == vectors.tolist()
        assert 10 == len(shards.peek()["ids"])
        assert len(RECORDS) - 45 == len(shards.get(offset=45)["ids"])


def test_one_shard_is_asked_for_one_partition(twins: Twins, tmp_path: Path) -> None:
    """By a filter on the partition key, and by ids, also of a query; the others are not even opened."""
    layout = twins.sharded.layout()
    reader = ShardedReader(twins.sharded.store, "words", partition_key="image", workspace=tmp_path)
    with reader, reader.collection() as words:
        found = words.query([near(0)], n_results=9, where={"$and": [{"image": "IMAGE#4"}, {"word": {"$gt": 1}}]})
        assert {layout.shard_of("IMAGE#4").name} == opened(reader)
        assert [f"IMAGE#4#RECEIPT#00001#LINE#00001#WORD#{word:05d}" for word in range(2, 6)] == found["ids"][0]
        ids = [id_ for id_ in RECORDS if id_.startswith("IMAGE#4#")][:2]
        assert ids == words.query([near(0)], ids=ids)["ids"][0]
        assert ids == sorted(words.get(ids=ids)["ids"])
        assert {layout.shard_of("IMAGE#4").name} == opened(reader)
        words.count()
        assert {shard.name for shard in layout.shards} == opened(reader)


@pytest.mark.parametrize(
    ("where", "partitions"),
    [
        (None, None),
        ({"image": "IMAGE#1"}, ["IMAGE#1"]),
        ({"image": {"$eq": "IMAGE#1"}}, ["IMAGE#1"]),
        ({"image": {"$in": ["IMAGE#1", "IMAGE#7"]}}, ["IMAGE#1", "IMAGE#7"]),
        ({"image": {"$ne": "IMAGE#1"}}, None),
        ({"image": {"$eq": 7}}, None),
        ({"image": {"$gt": "a", "$eq": "b"}}, None),
        ({"word": 3}, None),
        ({"$and": [{"word": 3}, {"image": "IMAGE#1"}]}, ["IMAGE#1"]),
        ({"$or": [{"word": 3}, {"image": "IMAGE#1"}]}, None),
        ({"$or": [{"image": "IMAGE#2"}, {"image": "IMAGE#1"}]}, ["IMAGE#1", "IMAGE#2"]),
        ({"$or": []}, []),
        ({"$and": [{"image": "IMAGE#1"}, {"image": {"$in": []}}]}, []),
        ({"$and": 5}, None),
        ("nonsense", None),
    ],
)
def test_a_filter_tells_which_shards_can_have_records(where: Any, partitions: list[str] | None) -> None:
    """Only what leaves no other partition narrows the question; everything else is asked of all."""
    layout = layout_spec(64)
    expected = layout.shards if partitions is None else {layout.shard_of(each) for each in partitions}
    assert set(expected) == set(shards_asked(layout, None, where, "image"))
    assert set(layout.shards) == set(shards_asked(layout, None, where, None))


def test_a_shard_that_cannot_be_read_is_an_error_and_never_a_smaller_answer(twins: Twins, tmp_path: Path) -> None:
    """What is asked of the other shards goes on."""
    world = ShardedWorld(Path(shutil.copytree(twins.sharded.home, tmp_path / "world")))
    gone = world.layout().shard_of("IMAGE#4").name
    other = next(image for image in IMAGES if world.layout().shard_of(image).name != gone)
    shutil.rmtree(world.home / "store" / gone)
    with ShardedReader(world.store, "words", partition_key="image", workspace=tmp_path / "r") as reader:
        words = reader.client().get_collection("words")
        for call in (lambda: words.query([near(1)]), words.count, words.get, lambda: words.get(ids=[f"{IMAGES[4]}#x"])):
            with pytest.raises(NotInitialised, match=gone):
                call()
        assert 5 == len(words.get(where={"image": other})["ids"])


def test_a_shard_of_another_lineage_is_not_read(twins: Twins, tmp_path: Path, begun: Path) -> None:
    """The layout says whose records these are."""
    world = ShardedWorld(Path(shutil.copytree(twins.sharded.home, tmp_path / "world")))
    other = ShardedWorld(tmp_path / "other").begin()
    name = world.layout().shards[0].name
    shutil.rmtree(world.home / "store" / name)
    shutil.copytree(other.home / "store" / name, world.home / "store" / name)
    reader = ShardedReader(world.store, "words", workspace=tmp_path / "r")
    with reader, reader.collection() as words, pytest.raises(Corrupt, match="is of lineage"):
        words.count()


def test_what_one_has_written_can_be_read(twins: Twins, tmp_path: Path) -> None:
    """At the versions that the compactor reported; a block that began before stays at its own."""
    world = ShardedWorld(Path(shutil.copytree(twins.sharded.home, tmp_path / "world")))
    with ShardedReader(world.store, "words", check_seconds=None, workspace=tmp_path / "r") as reader:
        with reader.collection() as before:
            assert len(RECORDS) == before.count()
            table = Table()
            table._sequence += 1_000  # after all that was written before
            table.put("IMAGE#4", "RECEIPT#00001")
            report = world.compact([table.remove("IMAGE#4", "RECEIPT#00001")])
            versions = {each.collection: each.version for each in report.collections if "words" in each.collection}
            with reader.at_least(versions) as after:
                assert len(RECORDS) - 5 == after.count()
            assert len(RECORDS) == before.count()
        name, version = next(iter(versions.items()))
        with pytest.raises(Retryable, match="not served"), reader.at_least({name: version + 1}, timeout_seconds=0):
            pass
        with pytest.raises(BadInput, match="no shard"), reader.at_least({"words": 1}):
            pass
        assert (3, None) == (len(reader.refresh().shards), reader.status().problem)
        assert reader.status().as_json()["layout"] == 1


def test_it_only_reads_and_says_what_is_wrong(reader: ShardedReader, twins: Twins) -> None:
    """Wrong questions are refused as of one collection, and the other kind of reader is named by its refusal."""
    words = reader.client().get_collection("words")
    for call in (
        lambda: words.add(ids=["x"]),
        lambda: words.query([[1.0]]),
        lambda: words.query(query_texts=["x"]),
        lambda: words.version,
        lambda: reader.client().get_collection("lines"),
    ):
        with pytest.raises(BadInput):
            call()
    assert words.name == "words"
    with SnapshotReader(twins.sharded.store, "words") as plain, pytest.raises(Sharded, match="in shards"):
        plain.refresh()
    with ShardedReader(twins.sharded.store, "none") as nothing, pytest.raises(NotInitialised, match="neither a HEAD"):
        nothing.refresh()
    with pytest.raises(LifecycleError), nothing.collection():
        pass


def test_a_new_layout_is_followed_and_the_old_one_ends_with_its_last_block(twins: Twins, tmp_path: Path) -> None:
    """A block that began under the old layout is answered by it to its end; then its shards are closed."""
    world = ShardedWorld(Path(shutil.copytree(twins.sharded.home, tmp_path / "world")))
    seen = read_layout(world.store, "words")
    with ShardedReader(world.store, "words", check_seconds=None, workspace=tmp_path / "r") as reader:
        with reader.collection() as before:
            assert len(RECORDS) == before.count()
            old = reader._open
            one_shard = with_one_shard(world, seen.layout)
            publish_layout(world.store, one_shard, seen)
            reader.refresh()
            assert reader.status().layout == 2
            with reader.collection() as after:
                assert 5 * sum(one_shard.shard_of(i).name == "words.2-0" for i in IMAGES) == len(RECORDS)
                assert after.count() == 0
            assert len(RECORDS) == before.count()
        assert old is not None
        assert all(shard._ending.is_set() for shard in old.readers.values())


def with_one_shard(world: ShardedWorld, layout: Layout) -> Layout:
    """Begin an empty shard of the next generation, and return the layout that names it alone."""
    from chroma_lifecycle.chroma.client import CollectionSettings
    from chroma_lifecycle.lifecycle import Beginning, begin
    from chroma_lifecycle.snapshot.workspace import Workspace

    with Workspace.open(world.home / "beginning" / "words.2-0") as workspace:
        beginning = Beginning("words.2-0", None, world.store, workspace, SYSTEM_CLOCK, "test")
        lineage = begin(beginning, CollectionSettings("l2", 4)).head.lineage
    shards = (Shard("words.2-0", lineage, 0),)
    return replace(layout, serial=2, swap_id=write_id(2), generation=2, newest_generation=2, shards=shards)


def test_many_threads_are_served_side_by_side(reader: ShardedReader) -> None:
    """Every answer is whole, from the first use on."""
    words, found = reader.client().get_collection("words"), []

    def ask() -> None:
        found.append(len(words.query([near(9)], n_results=60)["ids"][0]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(RECORDS)] * 8 == found


def test_shards_are_restored_side_by_side(twins: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first question waits for the slowest shard, not for one after the other: all are under way at once."""
    shards = len(twins.sharded.layout().shards)
    all_at_once, begin = threading.Barrier(shards, timeout=20), SnapshotReader._begin

    def meets(reader: SnapshotReader) -> None:
        all_at_once.wait()
        begin(reader)

    monkeypatch.setattr(SnapshotReader, "_begin", meets)
    with ShardedReader(twins.sharded.store, "words", workspace=tmp_path) as reader, reader.collection() as words:
        assert len(RECORDS) == words.count()
    assert shards > 1


def test_a_reader_of_shards_does_not_outlive_a_fork(
    reader: ShardedReader, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its threads are gone there, and a question would wait for them for ever; the child is told instead.

    Nor does a child that closes it take away what its parent serves.
    """
    with reader.collection() as words:
        records = words.count()
    served = set(tmp_path_factory.getbasetemp().rglob("serving-*"))
    if not (child := os.fork()):
        code = 1
        try:
            signal.alarm(30)
            told = [_told_by(reader.collection().__enter__), _told_by(reader.close)]
            code = 0 if all("make a reader in each worker" in hint for hint in told) else 2
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert served
    assert served == set(tmp_path_factory.getbasetemp().rglob("serving-*"))
    with reader.collection() as words:
        assert records == words.count()


def _told_by(use: Callable[[], object]) -> str:
    with pytest.raises(NotOwned) as told:
        use()
    return told.value.hint
