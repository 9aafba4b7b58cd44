"""Moving a collection, and copying one to live beside its source."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, StoreUnavailable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.copying import Copied, copy_versions
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.relocation import copy, move
from chroma_lifecycle.publishing.retention import expire, pin
from chroma_lifecycle.publishing.sweep import reached, sweep
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import Version
from tests.support.memory_store import LaterStore
from tests.support.snapshots import COLLECTION
from tests.support.tiny import Tiny, on_every_store
from tests.support.watching import Crash, WatchedStore, crash_at

DAY = timedelta(days=1)


@pytest.fixture
def tiny(tiny: Tiny) -> Tiny:
    """Three versions, the first of them pinned."""
    tiny.initialise()
    for number in (1, 2):
        tiny.publish(number)
    pin(tiny.store, COLLECTION, "p", Version(1), writer="test")
    return tiny


@pytest.fixture
def target(tmp_path: Path) -> DirectoryStore:
    (tmp_path / "target").mkdir()
    return DirectoryStore(tmp_path / "target")


def head_of(store: Store) -> Head:
    return read_head(store, COLLECTION).head


def moved(source: Store, target: Store) -> Copied:
    return move(source, target, COLLECTION, deadline=Deadline(), writer="test")


def assert_whole(store: Store) -> None:
    verified = verify_store(read_published(store, COLLECTION), store, every_version=True)
    assert {} == dict(verified.damage)


@on_every_store
def test_a_moved_collection_goes_on_in_its_new_place(tiny: Tiny, target: DirectoryStore) -> None:
    """The same lineage, with all versions and pins; whoever comes to the old place learns the new one."""
    before = head_of(tiny.store)

    moved(tiny.store, target)

    head = head_of(target)
    assert (before.lineage, before.manifest, before.pins, before.floor, None) == (
        head.lineage, head.manifest, head.pins, head.floor, head.moved_to)  # fmt: skip
    assert head_of(tiny.store).serial < head.serial
    assert_whole(target)
    with pytest.raises(BadInput, match=f"has moved to {target.address}"):
        tiny.publish(5)
    assert Version(4) == Tiny(target, tiny.folder, tiny.clock).publish(5).head.version


def test_a_writer_that_slept_through_the_move_is_refused(tiny: Tiny, target: DirectoryStore) -> None:
    """What it started from is no longer HEAD, and the one that is says where to go."""
    parent = read_published(tiny.store, COLLECTION)
    moved(tiny.store, target)

    with pytest.raises(BadInput, match="has moved to"):
        tiny.publish(5, parent=parent)
    assert Version(3) == head_of(target).version


def test_a_move_that_dies_anywhere_is_finished_by_the_same_again(tiny: Tiny, tmp_path: Path) -> None:
    """Before each call to the source in turn: never two places that can be written, and the end is the same."""
    before = head_of(tiny.store)
    for step in range(1, 200):
        (tmp_path / f"{step}").mkdir()
        source, place = copy_of(tiny, tmp_path / f"{step}"), DirectoryStore(tmp_path / f"{step}-there")
        place.create_root()
        watched = WatchedStore(source, before=crash_at(step))
        try:
            moved(watched, place)  # type: ignore[arg-type]
        except Crash:
            if place.read_head(COLLECTION) is not None:
                assert head_of(source).moved_to == place.address
            moved(source, place)
            assert before.manifest == head_of(place).manifest
            assert_whole(place)
            continue
        break
    assert 5 < step < 199


def copy_of(tiny: Tiny, root: Path) -> Store:
    """Return the same store again, to be moved in its place."""
    store = DirectoryStore(root)
    assert isinstance(copy_versions(tiny.store, store, COLLECTION, deadline=Deadline(), whole_history=True), Copied)
    return store


def test_a_move_whose_source_is_begun_anew_makes_no_second_head(tiny: Tiny, target: DirectoryStore) -> None:
    """Emptied and initialised while it was copied: a HEAD in both places would be written by two."""

    def begin_anew(number: int, call: str) -> None:
        if call == f"read_head {COLLECTION}" and head_of(tiny.store).moved_to:
            tiny.store.delete([row.name for row in tiny.store.list(f"{COLLECTION}/")])
            tiny.initialise(4)

    with pytest.raises(HeadMoved, match="does not say any more that it moves to"):
        moved(WatchedStore(tiny.store, before=begin_anew), target)  # type: ignore[arg-type]

    assert target.read_head(COLLECTION) is None
    assert Version(2) == tiny.publish(5).head.version


def test_a_move_that_was_finished_is_finished(tiny: Tiny, target: DirectoryStore) -> None:
    """The same again finds the collection in its place, also after others went on there."""
    moved(tiny.store, target)
    Tiny(target, tiny.folder, tiny.clock).publish(7)

    again = moved(tiny.store, target)

    assert (Version(4), 0, False) == (again.head.version, again.objects, again.swapped)


def test_a_place_that_is_taken_is_refused_before_anybody_is_sent_there(tiny: Tiny, target: DirectoryStore) -> None:
    """A HEAD, or versions of another lineage; the collection stays where it is."""
    other = Tiny(target, tiny.folder, tiny.clock)
    other.initialise()
    for action in (move, copy):
        with pytest.raises(BadInput, match="is not free for words: it has a HEAD"):
            action(tiny.store, target, COLLECTION, deadline=Deadline(), writer="test")
    target.delete(["words/HEAD"])
    for action in (move, copy):
        with pytest.raises(BadInput, match="is not free for words: there is words/manifests/"):
            action(tiny.store, target, COLLECTION, deadline=Deadline(), writer="test")

    assert head_of(tiny.store).moved_to is None
    assert Version(4) == tiny.publish(5).head.version


def test_a_place_that_cannot_be_written_is_found_first(tiny: Tiny, tmp_path: Path) -> None:
    """A collection that has moved to nowhere could be written nowhere."""
    with pytest.raises(StoreUnavailable):
        moved(tiny.store, DirectoryStore(tmp_path / "nowhere"))
    assert head_of(tiny.store).moved_to is None


def test_a_damaged_collection_is_not_moved(tiny: Tiny, target: DirectoryStore) -> None:
    """What cannot be copied is found before anybody is refused: afterwards nobody could write anywhere."""
    manifest = read_published(tiny.store, COLLECTION).manifest
    name = next(iter(manifest.chain.base.parts)).object
    whole = tiny.store.read(name, limit_bytes=1 << 20)
    tiny.store.delete([name])
    tiny.store.write(name, whole[:-1])

    with pytest.raises(Corrupt, match=f"{name} .* is damaged: .*; nothing was moved"):
        moved(tiny.store, target)
    assert head_of(tiny.store).moved_to is None

    tiny.store.delete([name])
    tiny.store.write(name, whole)
    moved(tiny.store, target)
    assert_whole(target)


def test_a_collection_that_has_moved_is_moved_on(tiny: Tiny, target: DirectoryStore, tmp_path: Path) -> None:
    """It is moved on from where it is now."""
    moved(tiny.store, target)
    third = DirectoryStore(tmp_path / "third")
    third.create_root()

    with pytest.raises(BadInput, match="has moved to"):
        moved(tiny.store, third)
    moved(target, third)
    assert_whole(third)


def test_a_copy_lives_beside_its_source(tiny: Tiny, target: DirectoryStore) -> None:
    """A lineage of its own: both go on, and each sweeps what is its own."""
    before = head_of(tiny.store)
    copy(tiny.store, target, COLLECTION, deadline=Deadline(), writer="test")

    head = head_of(target)
    assert (before.manifest, (before.lineage,), 0) == (head.manifest, head.came_from, head.sweeps)
    assert before.lineage != head.lineage
    assert before == head_of(tiny.store)
    there = Tiny(LaterStore(target), tiny.folder, tiny.clock)
    there.publish(9)
    tiny.publish(10)
    expire(there.store, COLLECTION, keep=1, writer="test")
    there.store.by += 2 * DAY  # type: ignore[attr-defined]
    swept = sweep(there.store, COLLECTION, delete=True, writer="test")

    assert swept.judged.condemned
    assert () == swept.judged.foreign
    assert {row.name for row in target.list("words/manifests/")} <= reached(target, head_of(target))
    for store in (tiny.store, target):
        assert_whole(store)
