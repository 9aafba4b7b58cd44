"""The layout in the mirror: brought there by batches, used by readers that begin while the store is away."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.errors import NotInitialised, StoreUnavailable
from chroma_lifecycle.publishing.layout import encode_layout, publish_layout, read_layout
from chroma_lifecycle.publishing.layout_mirror import mirror_layout, repair_mirrored_layout
from chroma_lifecycle.reader import ShardedReader
from chroma_lifecycle.wiring import surroundings
from tests.support.heads import write_id
from tests.support.sharded import ShardedWorld
from tests.support.table import Table, in_sqs
from tests.support.watching import WatchedStore
from tests.support.world import begins


def batches(world: ShardedWorld, numbers: range) -> list[object]:
    table, made = Table(), []
    for number in numbers:
        image = f"IMAGE#{number}"
        world.write_delta(str(number), {f"{image}#RECEIPT#00001#LINE#00001#WORD#00001": (number, "text", {})})
        made.append(in_sqs([table.put(image, "RECEIPT#00001#COMPACTION_RUN#r", **begins(str(number)))]))
    return made


def run(world: ShardedWorld, mirror: WatchedStore, events: list[object]) -> None:
    around = replace(surroundings(world.settings), mapping=world.mapping, mirror=mirror)
    with Compactor(around, world.home / "workspace") as machine:
        for event in events:
            assert not machine.compact(event).failed


@pytest.fixture(scope="module")
def words(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = ShardedWorld(Path(shutil.copytree(begun, tmp_path_factory.mktemp("filled") / "world")))
    mirror = WatchedStore(world.mirror)
    run(world, mirror, batches(world, range(6)))
    assert 1 == mirror.calls.count("read_head words"), "it is looked at once, whatever follows"
    return world.home


@pytest.fixture
def world(words: Path, tmp_path: Path) -> ShardedWorld:
    return ShardedWorld(Path(shutil.copytree(words, tmp_path / "world")))


def unreachable(number: int, call: str) -> None:
    raise StoreUnavailable("unreachable", hint="wait")


def test_a_reader_begins_by_the_mirror_while_the_store_is_away(world: ShardedWorld) -> None:
    """With what an earlier reader left on the disk; when the store is back, nothing is opened anew."""
    assert world.layout() == read_layout(world.mirror, "words").layout
    place = world.home / "reader"
    with ShardedReader(world.store, "words", workspace=place) as first, first.collection() as found:
        assert 6 == found.count()
    store = WatchedStore(world.store, before=unreachable)

    with ShardedReader(store, "words", workspace=place, check_seconds=None) as without, pytest.raises(StoreUnavailable):
        without.client().get_collection("words").count()
    with ShardedReader(store, "words", mirror=world.mirror, workspace=place, check_seconds=None) as reader:
        with reader.collection() as found:
            assert 6 == found.count()
        opened = reader._open
        assert ("unreachable", 1) == (reader.refresh().problem, reader.status().layout)
        store.before = lambda number, call: None
        assert reader.refresh().problem is None
        assert opened is reader._open


def test_a_mirror_without_a_layout_is_no_help(world: ShardedWorld) -> None:
    """What is wrong is told: the store does not answer."""
    shutil.rmtree(world.home / "mirror/words")
    away = WatchedStore(world.store, before=unreachable)
    with ShardedReader(away, "words", mirror=world.mirror) as reader, pytest.raises(StoreUnavailable):
        reader.refresh()
    with pytest.raises(NotInitialised):
        read_layout(world.mirror, "words")


def test_a_newer_layout_follows_and_a_foreign_one_is_left_alone(world: ShardedWorld) -> None:
    """What is not older can be another store's; repair replaces it, and the store's serial goes above it."""
    layout, mirror = world.layout(), world.mirror
    newer = replace(layout, serial=2, swap_id=write_id(2))
    assert mirror_layout(mirror, newer) is None
    assert newer == read_layout(mirror, "words").layout

    assert "another layout, of serial 2" in str(mirror_layout(mirror, layout))
    assert newer == read_layout(mirror, "words").layout
    repair_mirrored_layout(world.store, mirror, "words", writer="test")
    assert world.layout() == read_layout(mirror, "words").layout
    assert (3, layout.shards) == (world.layout().serial, world.layout().shards)

    newest = max((world.home / "mirror/words/heads").iterdir())
    for path in (world.home / "mirror/words/HEAD", newest):
        path.write_bytes(b"torn")
    assert mirror_layout(mirror, world.layout())
    repair_mirrored_layout(world.store, mirror, "words", writer="test")
    assert encode_layout(world.layout()) == (world.home / "mirror/words/HEAD").read_bytes()


def test_a_new_layout_is_brought_by_the_next_batch(world: ShardedWorld) -> None:
    """The process that brought the one before knows that this is another."""
    events, mirror = batches(world, range(6, 8)), WatchedStore(world.mirror)
    around = replace(surroundings(world.settings), mapping=world.mapping, mirror=mirror)
    with Compactor(around, world.home / "workspace") as machine:
        machine.compact(events[0])
        seen = read_layout(world.store, "words")
        publish_layout(world.store, replace(seen.layout, serial=2, swap_id=write_id(2)), seen)
        machine.compact(events[1])

    assert 2 == read_layout(world.mirror, "words").layout.serial
