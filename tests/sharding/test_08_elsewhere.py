"""A collection in shards that is moved, copied, or has lost its layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, NotInitialised
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing import relocating_shards
from chroma_lifecycle.publishing.copying import Copied
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import publish_layout, read_layout
from chroma_lifecycle.publishing.lost_layout import bring_back, find_lost_layout
from chroma_lifecycle.publishing.relocating_shards import copy_shards, move_shards
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.heads import write_id
from tests.support.sharded import ShardedWorld
from tests.support.table import Table
from tests.support.watching import Crash, whole_store
from tests.support.world import begins

Take = Callable[..., None]
BOTH = pytest.mark.parametrize("take", [move_shards, copy_shards])


@pytest.fixture(scope="module")
def words(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = ShardedWorld(Path(shutil.copytree(begun, tmp_path_factory.mktemp("filled") / "world")))
    fill(world, range(9))
    return world.home


@pytest.fixture
def filled(words: Path, tmp_path: Path) -> ShardedWorld:
    return ShardedWorld(Path(shutil.copytree(words, tmp_path / "world")))


IDS = {f"IMAGE#{number}#RECEIPT#00001#LINE#00001#WORD#00001" for number in range(9)}


def fill(world: ShardedWorld, numbers: range) -> None:
    table, batch = Table(), []
    for number in numbers:
        image = f"IMAGE#{number}"
        world.write_delta(str(number), {f"{image}#RECEIPT#00001#LINE#00001#WORD#00001": (number, "text", {})})
        batch.append(table.put(image, "RECEIPT#00001#COMPACTION_RUN#r", **begins(str(number))))
    assert not world.compact(batch).failed


def target_of(world: ShardedWorld) -> Store:
    (world.home / "target").mkdir(exist_ok=True)
    return DirectoryStore(world.home / "target")


def run(take: Take, world: ShardedWorld, told: Callable[[str, Copied], None] | None = None) -> list[Copied]:
    """Take the words to the target; return what became of each shard."""
    found: list[Copied] = []

    def tell(shard: str, copied: Copied) -> None:
        found.append(copied)
        if told is not None:
            told(shard, copied)

    take(world.store, target_of(world), "words", deadline=Deadline(), writer="test", told=tell)
    return found


def records_there(world: ShardedWorld) -> set[str]:
    return set(ShardedWorld(world.home, address=str(world.home / "target")).records())


@BOTH
def test_every_record_and_version_is_there(filled: ShardedWorld, take: Take) -> None:
    """And the layout there names the shards by the lineages that they have there."""
    versions, before = filled.versions(), filled.layout().shards

    run(take, filled)

    there = read_layout(target_of(filled), "words").layout
    assert IDS == records_there(filled)
    assert (take is move_shards) == (before == there.shards)
    assert versions == ShardedWorld(filled.home, address=str(filled.home / "target")).versions()
    assert [shard.lineage for shard in there.shards] == [
        read_head(target_of(filled), shard.name).head.lineage for shard in there.shards
    ]


@BOTH
@pytest.mark.parametrize("after", [0, 2, 3])
def test_what_was_cut_off_is_finished_by_the_same_again(
    filled: ShardedWorld, take: Take, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead after any shard, or before the layout: nobody reads there yet, and the second run copies what is left."""
    left = [after]

    def dies(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Crash("here")

    with monkeypatch.context() as patch, pytest.raises(Crash):
        if after == 3:
            patch.setattr(relocating_shards, "publish_layout", dies)
            left[0] = take is move_shards
        run(take, filled, None if after == 3 else dies)
    with pytest.raises(NotInitialised):
        read_layout(target_of(filled), "words")

    copied = run(take, filled)

    assert [0] * min(after + 1, 3) == [each.objects for each in copied][: after + 1]
    assert IDS == records_there(filled)


def test_who_writes_is_sent_to_the_new_place_and_a_copy_lives_on_its_own(filled: ShardedWorld) -> None:
    """After a copy both go on; after a move the old place refuses every message with the address."""
    run(copy_shards, filled)
    fill(filled, range(20, 22))
    assert len(filled.records()) == 2 + len(records_there(filled))

    shutil.rmtree(filled.home / "target")
    run(move_shards, filled)
    report = filled.compact([Table().put("IMAGE#1", "RECEIPT#00001#PLACE", merchant_name="new")])
    (refused,) = report.failures
    assert f"moved to {filled.home / 'target'}" in str(refused.error)
    assert 11 == len(records_there(filled))
    assert [0, 0, 0] == [each.objects for each in run(move_shards, filled)]


def test_a_place_that_is_taken_is_refused_and_nobody_is_sent_there(filled: ShardedWorld) -> None:
    """A collection of that name, or a shard of another one; the source goes on as before."""
    other = ShardedWorld(filled.home / "other").begin()
    shutil.copytree(other.home / "store", filled.home / "target")
    before = whole_store(filled.home / "store"), whole_store(filled.home / "target")
    for take in (move_shards, copy_shards):
        with pytest.raises(BadInput, match="is not free for words"):
            run(take, filled)
        assert before == (whole_store(filled.home / "store"), whole_store(filled.home / "target"))
    shutil.rmtree(filled.home / "target/words")
    shutil.rmtree(filled.home / "target/words.1-0")
    for take in (move_shards, copy_shards):
        with pytest.raises(BadInput, match=r"is not free for words\.1-1"):
            run(take, filled)
        shutil.rmtree(filled.home / "target/words.1-0", ignore_errors=True)
    fill(filled, range(20, 21))


def test_a_damaged_shard_is_found_before_any_writer_is_refused(filled: ShardedWorld) -> None:
    """It is the last one, and the first is still written to."""
    damaged = next(path for path in (filled.home / "store/words.1-2/objects").rglob("*") if path.is_file())
    damaged.write_bytes(b"torn")
    with pytest.raises(Corrupt, match="nothing was moved"):
        run(move_shards, filled)
    assert [None] * 3 == [read_head(filled.store, shard.name).head.moved_to for shard in filled.layout().shards]


@BOTH
def test_a_collection_that_is_cut_anew_meanwhile_is_not_taken(filled: ShardedWorld, take: Take) -> None:
    """The layout that was read is not that in force any more: none is made there."""

    def cut(shard: str, _: Copied) -> None:
        if shard == "words.1-2":
            seen = read_layout(filled.store, "words")
            shards = tuple(replace(each, lineage=write_id(number)) for number, each in enumerate(seen.layout.shards))
            publish_layout(filled.store, replace(seen.layout, serial=2, swap_id=write_id(9), shards=shards), seen)

    with pytest.raises(HeadMoved):
        run(take, filled, cut)
    assert target_of(filled).read_head("words") is None


@BOTH
def test_a_collection_that_is_being_cut_anew_is_not_taken(filled: ShardedWorld, take: Take) -> None:
    """Its new shards would stay behind; the way out is named."""
    seen = read_layout(filled.store, "words")
    coming = tuple(replace(each, name=f"words.2-{n}", lineage=write_id(n)) for n, each in enumerate(seen.layout.shards))
    under_way = replace(seen.layout, serial=2, swap_id=write_id(9), newest_generation=2, coming=coming)
    publish_layout(filled.store, under_way, seen)
    with pytest.raises(BadInput, match="under way") as refused:
        run(take, filled)
    assert "--undo" in refused.value.hint


# A layout that was lost.


def test_a_layout_that_a_reshard_has_replaced_does_not_come_back(filled: ShardedWorld) -> None:
    """Its shards are closed for the next generation, which has the changes since."""
    (filled.home / "store/words/HEAD").unlink()
    amend_head(filled.store, "words.1-1", lambda head: replace(head, closed_for=2), writer="test")
    with pytest.raises(BadInput, match=r"words\.1-1 is closed for generation 2"):
        find_lost_layout(filled.store, None, "words")


@pytest.mark.parametrize("damage", ["gone", "torn", "newest of two torn"])
def test_a_layout_that_was_lost_comes_back(filled: ShardedWorld, damage: str) -> None:
    """From an older one of the store, or the mirror's: above every serial, so that whoever slept is refused."""
    place, shards = filled.home / "store/words", filled.layout().shards
    if damage == "newest of two torn":
        seen = read_layout(filled.store, "words")
        publish_layout(filled.store, replace(seen.layout, serial=2, swap_id=write_id(2)), seen)
    if damage == "gone":
        (place / "HEAD").unlink()
        with pytest.raises(NotInitialised, match="has no layout") as lost_it:
            filled.layout()
        assert "recover" in lost_it.value.hint
    else:
        for path in (place / "HEAD", max((place / "heads").iterdir())):
            path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(Corrupt) as lost_it:
            filled.layout()
        assert "recover" in lost_it.value.hint
    lost = find_lost_layout(filled.store, None, "words")
    assert (lost is None) == (damage == "torn"), "the only one is torn"
    lost = lost or find_lost_layout(filled.store, filled.mirror, "words")
    assert lost is not None
    found = bring_back(filled.store, lost, "test")

    assert (shards, 3 if damage == "newest of two torn" else 2) == (found.shards, found.serial)
    assert found == filled.layout()
    assert 9 == len(filled.records())


def test_what_is_sound_or_never_was_in_shards_is_not_brought_back(filled: ShardedWorld, tmp_path: Path) -> None:
    """A sound layout, a HEAD, and nothing at all."""
    assert find_lost_layout(filled.store, None, "words") is None
    assert find_lost_layout(filled.store, None, "words.1-0") is None
    assert find_lost_layout(filled.store, None, "nothing") is None
