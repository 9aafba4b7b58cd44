"""What differs between two versions, over real Chroma: records and fields, files and pages."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle import difference
from chroma_lifecycle.chroma import vectors
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.difference import Comparison, compare
from chroma_lifecycle.errors import Corrupt, NoRoom
from chroma_lifecycle.publishing import side_by_side
from chroma_lifecycle.publishing.history import find_version
from chroma_lifecycle.publishing.unpack import Stores
from chroma_lifecycle.rebuild import rebuild
from chroma_lifecycle.snapshot import disk
from chroma_lifecycle.snapshot.file_differences import Change
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site
from chroma_lifecycle.values import Version
from tests.support.table import Table
from tests.support.watching import WatchedStore
from tests.support.world import IMAGE, LINE, World, begins, label

ADDED, CHANGED, REMOVED = Change.ADDED, Change.CHANGED, Change.REMOVED
WORDS = [f"{LINE}#WORD#{number:05d}" for number in range(6)]


def merge(world: World, table: Table, run: str, records: dict[str, Any]) -> None:
    world.write_delta(run, records)
    assert 1 == world.compact([table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{run}", **begins(run))]).applied


def manifest(world: World, number: int) -> Manifest:
    return find_version(world.store, world.published().head, Version(number))[1]


def told(world: World, before: int, after: int) -> dict[str, Any]:
    """Return what differs, by record: its change, and what became of its parts."""
    with compare(manifest(world, before), manifest(world, after), Stores(world.store)) as found:
        return {
            each.id: (each.change, each.metadata, each.document, each.vector) if each.change is CHANGED else each.change
            for each in found.records
        }


@pytest.fixture(scope="module")
def history(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Versions 2 to 5; tests that change anything take `own`.

    2: five words. 3: one is given again with other parts, one the same, one without its document, one is new. 4: one
    is labelled. 5: one is gone.
    """
    world, table = World(tmp_path_factory.mktemp("difference") / "world"), Table()
    shutil.copytree(begun, world.home)
    merge(world, table, "r1", {id_: (number, f"text {number}", {"n": number}) for number, id_ in enumerate(WORDS[:5])})
    again = {
        WORDS[0]: (9, "another", {"n": 0.5, "m": "new"}),
        WORDS[1]: (1, "text 1", {"n": 1}),
        WORDS[2]: (2, None, {"n": 2}),
        WORDS[5]: (5, "text 5", {}),
    }
    merge(world, table, "r2", again)
    world.compact([label(table, "total", word=3)])
    table.put(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00004")
    world.compact([table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00004")])
    return world


@pytest.fixture
def own(history: World, tmp_path: Path) -> World:
    """A copy of the history."""
    shutil.copytree(history.home, tmp_path / "world", symlinks=True)
    return World(tmp_path / "world")


def test_each_part_of_a_record_is_told(history: World) -> None:
    """Vector, document and keys apart; a record that was written again as it was does not differ."""
    assert {
        WORDS[0]: (CHANGED, {"n": CHANGED, "m": ADDED}, CHANGED, True),
        WORDS[2]: (CHANGED, {}, REMOVED, False),
        WORDS[5]: ADDED,
    } == told(history, 2, 3)


def test_a_label_is_a_key_and_asks_chroma_nothing(history: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only vectors that another run wrote are compared."""
    monkeypatch.setattr(vectors, "unlike_vectors", None)

    found = told(history, 3, 4)

    change, metadata, document, vector = found[WORDS[3]]
    assert ({WORDS[3]}, CHANGED, None, False) == (found.keys(), change, document, vector)
    assert {ADDED} == set(metadata.values())


def test_backwards_says_the_opposite(history: World) -> None:
    """Across all versions, and the other way round: what was added is removed."""
    opposite = {ADDED: REMOVED, REMOVED: ADDED, CHANGED: CHANGED}
    forwards, backwards = told(history, 2, 5), told(history, 5, 2)

    assert REMOVED == forwards[WORDS[4]]
    assert forwards.keys() == backwards.keys()
    for id_, there in forwards.items():
        back = backwards[id_]
        if isinstance(there, Change):
            assert opposite[there] == back
        else:
            assert {key: opposite[each] for key, each in there[1].items()} == back[1]
            assert (there[2] and opposite[there[2]], there[3]) == (back[2], back[3])


def test_contents_are_those_of_chroma(history: World) -> None:
    """Values with their types; a record that is in one version alone; one that is in none."""
    with compare(manifest(history, 2), manifest(history, 5), Stores(history.store)) as found:
        old, new = found.contents(WORDS[0])
        assert old is not None
        assert new is not None
        assert ("text 0", {"n": 0}, "another", {"n": 0.5, "m": "new"}) == (
            old.document, old.metadata, new.document, new.metadata,
        )  # fmt: skip
        assert [True, False] == [each is None for each in found.contents(WORDS[5])]
        assert (None, None) == found.contents("nobody")


def test_files_and_pages_are_those_of_the_packs(history: World) -> None:
    """A label touches some pages of the database and the ledger, and no other file."""
    with compare(manifest(history, 3), manifest(history, 4), Stores(history.store)) as found:
        files = {file.path: file for file in found.files}

    assert {"chroma/chroma.sqlite3", "ledger.sqlite3"} <= files.keys()
    for file in files.values():
        assert CHANGED == file.change
        assert 0 < file.pages <= file.of_pages


def test_bytes_follow_the_change(history: World) -> None:
    """The base is fetched once, and only the packs that lead from the one to the other beside."""
    old, new = manifest(history, 2), manifest(history, 5)
    watched = WatchedStore(history.store)

    with compare(old, new, Stores(watched)):
        pass

    names = [call.removeprefix("read ") for call in watched.calls]
    assert len(names) == len(set(names))
    assert set(names) <= new.chain.names() | {old.name}


def test_a_rebuild_changes_no_record(own: World) -> None:
    """Other files throughout, another chain, a cosine space that rounds: and no record differs."""
    before = own.version()
    with Workspace.open(own.home / "rebuilding") as local:
        rebuild(Site("words", own.store, None, local, SYSTEM_CLOCK, "test"), space="cosine", tail_budget=500)
        rebuild(Site("words", own.store, None, local, SYSTEM_CLOCK, "test"), tail_budget=500)

    with compare(manifest(own, before), manifest(own, before + 2), Stores(own.store)) as found:
        assert () == found.records
        assert found.files


def test_the_same_content_is_not_fetched(history: World) -> None:
    """A version that differs in nothing asks nothing of the store."""
    newest = manifest(history, 5)
    watched = WatchedStore(history.store)

    with compare(newest, newest, Stores(watched)) as found:
        assert Comparison(newest, newest) == found

    assert [] == watched.calls


def test_facts_that_move_no_record_show_none(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the ledger differs; the tables of records are not even read."""
    monkeypatch.setattr(difference, "RecordTables", None)
    table = Table()
    table._sequence += 10_000
    own.compact([label(table, "early", word=77)])

    with compare(manifest(own, 5), manifest(own, 6), Stores(own.store)) as found:
        assert (["ledger.sqlite3"], ()) == ([file.path for file in found.files], found.records)


def test_damage_is_named_and_nothing_is_left(own: World) -> None:
    """C3: an object of either version that cannot be used is named."""
    carrier = own.home / "store" / next(iter(manifest(own, 5).chain.base.parts)).object
    carrier.write_bytes(carrier.read_bytes()[:-1])

    with (
        pytest.raises(Corrupt, match="is damaged"),
        compare(manifest(own, 2), manifest(own, 5), Stores(own.store)),
    ):
        pass


def test_a_small_disk_is_refused_with_the_numbers(history: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: both versions have to fit; the way out is TMPDIR."""
    monkeypatch.setattr(disk, "free_bytes", lambda directory: 1_000)
    assert side_by_side.require_room is disk.require_room

    with (
        pytest.raises(NoRoom, match=r"two versions side by side needs .* 1,000 are free.*TMPDIR"),
        compare(manifest(history, 2), manifest(history, 5), Stores(history.store)),
    ):
        pass
