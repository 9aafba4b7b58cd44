"""What stands around a collection that is cut, or was: other commands, the mirror, a HEAD or a layout that was lost."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chroma_lifecycle.bulk import bring
from chroma_lifecycle.bulk.leftovers import erase_left_behind, left_behind, remove_left_behind
from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.errors import BadInput, LifecycleError, NoRoom
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.publishing.layout_mirror import mirror_layout
from chroma_lifecycle.publishing.recover import recover
from chroma_lifecycle.publishing.relocating_shards import move_shards
from chroma_lifecycle.publishing.relocation import copy, move
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.reader import ShardedReader
from chroma_lifecycle.rebuild import Renewal, rebuild
from chroma_lifecycle.snapshot import workspace as workspaces
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.upkeep import Site
from tests.sharding.test_09_reshard import IMAGES, label, word
from tests.sharding.test_12_cut import begun_whole, table, whole
from tests.support.one_piece import OnePieceWorld
from tests.support.resharding import Reshard, read_here
from tests.support.table import Table, in_sqs

__all__ = ["begun_whole", "table", "whole"]


@pytest.fixture(autouse=True)
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    from chroma_lifecycle import rebuild as rebuilding

    monkeypatch.setattr(bring, "read_chroma_delta", read_here)
    monkeypatch.setattr(rebuilding, "read_chroma_delta", read_here)


def under_way(world: OnePieceWorld) -> Reshard:
    reshard = Reshard(world, 2)
    reshard.begin()
    reshard.bring(1)
    return reshard


def test_what_it_was_in_one_piece_can_go(whole: OnePieceWorld, table: Table) -> None:
    """Its versions lie beside the layout, which stays; so do the shards that were given up, which go at once."""
    given_up = Reshard(whole, 2)
    given_up.begin()
    given_up.bring(1)
    given_up.give_up()
    assert ["words.1-0", "words.1-1"] == [each.name for each in left_behind(whole.store, whole.layout())]
    remove_left_behind(whole.store, "words", timedelta(hours=24))
    assert [] == left_behind(whole.store, whole.layout())
    Reshard(whole, 2).run()
    records = whole.records()

    (left,) = left_behind(whole.store, whole.layout())
    assert ("words", True) == (left.name, left.size_bytes > 0)
    with pytest.raises(BadInput, match="the layout of words is younger than 24 h"):
        remove_left_behind(whole.store, "words", timedelta(hours=24))
    assert [left] == remove_left_behind(whole.store, "words", timedelta(0))
    assert [] == left_behind(whole.store, whole.layout())
    assert records == whole.records()
    assert 1 == whole.compact([label(table, "a")]).applied


def test_the_layout_replaces_head_in_the_mirror(whole: OnePieceWorld, table: Table) -> None:
    """The next batch brings it; HEAD of another lineage is another store's and stays."""
    lineage = read_head(whole.mirror, "words").head.lineage
    Reshard(whole, 2).run()
    layout = whole.layout()
    foreign = replace(layout, came_from="00000000000000bb")
    assert f"has HEAD of lineage {lineage}" in str(mirror_layout(whole.mirror, foreign))
    assert lineage == read_head(whole.mirror, "words").head.lineage
    assert 1 == whole.compact([label(table, "a")]).applied
    assert layout == read_layout(whole.mirror, "words").layout
    left = left_behind(whole.mirror, layout)
    assert ["words"] == [each.name for each in left]
    erase_left_behind(whole.mirror, layout, left)
    assert ([], layout) == (left_behind(whole.mirror, layout), read_layout(whole.mirror, "words").layout)


def test_the_local_copy_of_one_piece_makes_room(
    whole: OnePieceWorld, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S4: a shard that finds no room gets that of what the collection was; what is in one piece still is kept."""
    root = whole.home / "workspace"
    with whole.compactor() as machine:
        assert 1 == machine.compact(in_sqs([label(table, "a")])).applied
        Reshard(whole, 2).run()

        def full(directory: Path, needed: int, what: str) -> None:
            if directory.relative_to(root).parts[0].startswith("words.") and (root / "words/pristine").exists():
                raise NoRoom(f"{what} finds no room", hint="none")

        monkeypatch.setattr(workspaces, "require_room", full)
        monkeypatch.setattr(workspaces, "clone_file", lambda source, target: False)
        assert (1, 0) == ((report := machine.compact(in_sqs([label(table, "b")]))).applied, report.failed)
    assert (False, True) == tuple((root / name / "pristine").exists() for name in ("words", "lines"))


def test_a_reshard_under_way_is_not_taken_elsewhere(whole: OnePieceWorld, tmp_path: Path) -> None:
    """Neither moved nor copied; when it is given up, both are possible."""
    target = DirectoryStore(tmp_path / "target")
    target.create_root()
    reshard = under_way(whole)
    for take in (move, copy):
        with pytest.raises(BadInput, match="a reshard of words to 2 shards is under way"):
            take(whole.store, target, "words", deadline=Deadline(), writer="test")
    assert [] == [*target.list("")], "nothing is written before it is refused"
    reshard.give_up()
    copied = copy(whole.store, target, "words", deadline=Deadline(), writer="test")
    assert copied.head.successors is None


@pytest.mark.soak
def test_what_was_cut_is_moved_as_shards(whole: OnePieceWorld, tmp_path: Path) -> None:
    """What it was in one piece stays behind."""
    Reshard(whole, 2).run()
    other = DirectoryStore(tmp_path / "other")
    other.create_root()
    move_shards(whole.store, other, "words", deadline=Deadline(), writer="test", told=lambda *_: None)
    assert whole.layout().shards == read_layout(other, "words").layout.shards


def test_one_that_moves_is_not_cut(whole: OnePieceWorld) -> None:
    """Whoever goes on with it is sent to the new address."""
    reshard = under_way(whole)
    amend_head(whole.store, "words", lambda head: replace(head, moved_to="s3://b/x"), writer="test")
    for step in (lambda: reshard.close(1), reshard.begin):
        with pytest.raises(BadInput, match="has moved to s3://b/x"):
            step()


def test_new_vectors_wait_for_the_end_of_a_reshard(whole: OnePieceWorld) -> None:
    """No fact tells of them, so shards that come would keep the old ones; a plain rebuild changes nothing."""
    reshard = under_way(whole)
    with Workspace.open(whole.home / "operator") as workspace:
        site = Site("words", whole.store, None, workspace, SYSTEM_CLOCK, "test")
        with pytest.raises(BadInput, match="a reshard of words to 2 shards is under way"):
            rebuild(site, tail_budget=500, renewal=Renewal(4, lambda delta, *_: delta))
        rebuild(site, tail_budget=500)
    records = whole.records()
    reshard.run()
    assert records == whole.records()


def test_another_space_is_not_lost_in_a_reshard(whole: OnePieceWorld) -> None:
    """Shards that were made before the rebuild have the old one: refused, and begun anew they have the new one."""
    reshard = under_way(whole)
    with Workspace.open(whole.home / "operator") as workspace:
        rebuild(Site("words", whole.store, None, workspace, SYSTEM_CLOCK, "test"), space="ip", tail_budget=500)
    with pytest.raises(BadInput, match=r"words.1-0 was made with 4 dimensions and l2.*ip now.*--undo"):
        reshard.bring(1)
    reshard.give_up()
    Reshard(whole, 2).run()
    assert {"ip"} == {whole.published(shard.name).manifest.details.space for shard in whole.layout().shards}


def test_a_reader_follows_one_piece_that_was_begun_anew(whole: OnePieceWorld, tmp_path: Path) -> None:
    """As a SnapshotReader does: with the same copy on the disk, which one reader alone can own."""
    with ShardedReader(whole.store, "words", check_seconds=0.0, workspace=tmp_path / "reader") as reader:
        words = reader.client().get_collection("words")
        assert 16 == words.count()
        shutil.rmtree(whole.home / "store/words")
        with Workspace.open(whole.home / "again") as workspace:
            beginning = Beginning("words", None, whole.store, workspace, SYSTEM_CLOCK, "test")
            begin(beginning, CollectionSettings("l2", 4))
        assert 0 == words.count()


def test_a_layout_that_was_lost_is_not_replaced_by_what_was_before(whole: OnePieceWorld, table: Table) -> None:
    """Older HEADs, manifests and an empty place all say that it is in one piece; the shards say that it was cut."""
    Reshard(whole, 2).run()
    assert not whole.compact([label(table, image) for image in IMAGES]).failed
    place, refused = whole.home / "store/words", r"words.1-\d says that words was cut anew"
    newest = max((place / "heads").iterdir())
    for gone in ([place / "HEAD", newest], sorted((place / "heads").iterdir())):
        for path in gone:
            path.unlink(missing_ok=True)
        with pytest.raises(BadInput, match=refused):
            recover(whole.store, None, "words", writer="test")
    with Workspace.open(whole.home / "again") as workspace:
        beginning = Beginning("words", None, whole.store, workspace, SYSTEM_CLOCK, "test")
        with pytest.raises(BadInput, match=refused):
            begin(beginning, CollectionSettings("l2", 4))


@pytest.mark.soak
def test_a_head_that_was_lost_while_it_was_cut_goes_on(whole: OnePieceWorld, table: Table) -> None:
    """Nobody is in force but HEAD: it is recovered with the shards that come, and the reshard ends."""
    reshard = under_way(whole)
    (whole.home / "store/words/HEAD").unlink()
    newest = max((whole.home / "store/words/heads").iterdir())
    newest.write_bytes(b"torn")
    with pytest.raises(LifecycleError):
        reshard.close(1)
    with pytest.raises(BadInput, match=r"words.1-0 says that words was cut anew"):
        recover(whole.store, None, "words", writer="test")  # the HEAD before knew of no shards
    shutil.rmtree(whole.home / "store/words.1-0")
    shutil.rmtree(whole.home / "store/words.1-1")
    recover(whole.store, None, "words", writer="test")
    assert whole.layout().in_one_piece
    Reshard(whole, 2).run()
    assert 1 == whole.compact([label(table, "a")]).applied
    assert whole.records()[word("a")][2]["label_total"]
