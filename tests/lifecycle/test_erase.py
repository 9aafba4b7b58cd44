"""Erasing: what was deleted lives on in freed pages, queues, packs and old versions, until it is erased."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.erase import Erased, erase
from chroma_lifecycle.errors import BadInput, ObjectMissing
from chroma_lifecycle.intake.changes import ContributeFields, Origin
from chroma_lifecycle.planning.facts import join_fields
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, Withheld
from chroma_lifecycle.publishing.erasing import left_over
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.mirror import MirrorState
from chroma_lifecycle.publishing.restore import restore_to
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.publishing.sweep import sweep
from chroma_lifecycle.rebuild import rebuild
from chroma_lifecycle.snapshot.manifest import parse_manifest
from chroma_lifecycle.snapshot.manifest_object import said_by
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.upkeep import Site
from chroma_lifecycle.values import Digest, ItemKey, Position
from tests.support.repairs import reapply_all, roll_back
from tests.support.s3 import client, new_bucket, use_server
from tests.support.scanned import resync_with
from tests.support.table import Table
from tests.support.watching import WatchedStore
from tests.support.world import IMAGE, LINE, World, begins, label

SECRET = b"a text that nobody may find"
SAID = b"what an item said of it"
LATER = b"what it became afterwards"
UNDONE = b"what a rollback withholds"
KEPT = b"this one stays"
GONE, STAYS = f"{LINE}#WORD#00001", f"{LINE}#WORD#00002"
ZSTD = b"\x28\xb5\x2f\xfd"


@pytest.fixture(autouse=True)
def sqlite_that_overwrites_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems build SQLite so that it overwrites what is deleted; SQLite's own default leaves it in the file."""
    connect = sqlite3.connect

    def plain(*given: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*given, **named)
        connection.execute("PRAGMA secure_delete = OFF")
        return connection

    monkeypatch.setattr(sqlite3, "connect", plain)


@contextmanager
def at(world: World) -> Iterator[Site]:
    with Workspace.open(world.home / "erasing") as local:
        yield Site("words", world.store, world.mirror, local, SYSTEM_CLOCK, "test")


def erased(world: World, *ids: str, **given: bool) -> Erased:
    with at(world) as site:
        return erase(site, ids or (GONE,), tail_budget=500, **given)


def history(world: World, table: Table) -> list[dict[str, Any]]:
    """Publish a secret, cover it by another text, label it, and delete it; a second record stays."""
    word = table.put(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001")
    records = [[word]]
    for run, text in (("r1", SECRET), ("r2", LATER)):
        world.write_delta(run, {GONE: (1, text.decode(), {"x": text.decode()}), STAYS: (2, KEPT.decode(), {"n": 1})})
        records.append([table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{run}", **begins(run))])
    # Long, so that the ledger frees whole pages of it.
    records.append([label(table, "total", SAID.decode() * 300)])
    records.append([table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001")])
    for batch in records:
        assert 0 == world.compact(batch).failed
    return [record for batch in records for record in batch]


def everything(root: Path) -> bytes:
    """Return every byte below a collection's directory, what is compressed too, and the files of every version."""
    stored = [opened(path.read_bytes()) for path in sorted(root.rglob("*")) if path.is_file()]
    return b"\n".join([*stored, *(version for path in sorted(root.glob("manifests/*")) for version in restored(path))])


def restored(path: Path) -> Iterator[bytes]:
    """Yield the files of the version of a manifest, if it is whole: a pack can be read beside the pages before only."""
    store = DirectoryStore(path.parents[2])
    with tempfile.TemporaryDirectory() as room, suppress(ObjectMissing):
        manifest = parse_manifest(said_by(path.read_bytes(), path.name))
        restore_to(Path(room) / "version", manifest, store, None, Deadline())
        yield from (file.read_bytes() for file in Path(room).rglob("*") if file.is_file())


def everything_in(bucket: str, room: Path) -> bytes:
    """The same of a bucket: of every version of every object, those that a delete hides included."""
    rows = client().list_object_versions(Bucket=bucket, Prefix="snapshots/words/").get("Versions", [])
    for row in rows:
        # By its version too: two of one name would hide each other; what is named by a manifest has one.
        place = room / row["Key"].removeprefix("snapshots/")
        place = place.with_name(f"{place.name}.{row['VersionId']}") if place.exists() else place
        place.parent.mkdir(parents=True, exist_ok=True)
        got = client().get_object(Bucket=bucket, Key=row["Key"], VersionId=row["VersionId"])
        place.write_bytes(got["Body"].read())
    return everything(room / "words")


def opened(data: bytes) -> bytes:
    """Return bytes as they are, and what every zstd frame in them holds."""
    found, place = [data], data.find(ZSTD)
    while place >= 0:
        with suppress(zstandard.ZstdError):  # some bytes only look like a frame
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(data[place:]))
        place = data.find(ZSTD, place + 1)
    return b"\n".join(found)


def test_nothing_of_an_erased_record_is_left(world: World) -> None:
    """Before, old versions and freed pages hold both texts; after, no byte of store, mirror or workspace does."""
    history(world, Table())
    records = world.records()
    assert {STAYS} == records.keys()
    for place in ("store", "mirror"):
        held = everything(world.home / place / "words")
        assert all(text in held for text in (SECRET, LATER, SAID))

    result = erased(world)

    for place in ("store", "mirror", "erasing"):
        held = everything(world.home / place / ("words" if place != "erasing" else ""))
        assert not any(text in held for text in (SECRET, LATER, SAID))
        assert KEPT in held
    published = world.published()
    assert (result.published.manifest, "erase") == (published.manifest, published.manifest.details.summary.action)
    head = published.head
    assert (head.version, 1, (), ()) == (head.floor, head.sweeps, head.expiries, head.unpinned)
    assert records == world.records()
    assert published.manifest == world.published(store=world.mirror).manifest
    assert not verify_store(published, world.store, every_version=True).damage
    assert {world.store.address, world.mirror.address} == result.removed.keys()
    assert all(each.condemned and not each.foreign for each in result.removed.values())
    assert [] == [row for _, each in left_over(world.store, "words", world.mirror) for row in each.condemned]


def test_every_version_that_a_bucket_keeps_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a bucket with versioning a delete only hides: an earlier sweep's noncurrent versions go as well."""
    use_server(monkeypatch)
    bucket = new_bucket()
    client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    world = World(tmp_path / "world", f"s3://{bucket}/snapshots").begin()
    history(world, Table())
    # An earlier sweep deleted this one, and the bucket kept it.
    swept = f"snapshots/{Names('words').object(world.published().head.era, Digest('f' * 64))}"
    client().put_object(Bucket=bucket, Key=swept, Body=SECRET)
    client().delete_object(Bucket=bucket, Key=swept)
    held = everything_in(bucket, tmp_path / "before")
    assert all(text in held for text in (SECRET, LATER, SAID))

    erased(world)

    held = everything_in(bucket, tmp_path / "after")
    assert not any(text in held for text in (SECRET, LATER, SAID))
    assert KEPT in held
    assert {STAYS} == world.records().keys()
    assert not verify_store(world.published(), world.store, every_version=True).damage


def test_a_record_that_is_still_there_goes_and_does_not_come_back_by_itself(world: World) -> None:
    """Duplicates and stragglers of what wrote it are no-ops; a newer run that holds it brings it back."""
    table = Table()
    world.write_delta("r1", {GONE: (1, SECRET.decode(), {}), STAYS: (2, KEPT.decode(), {})})
    run = table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r1", **begins("r1"))
    labelled = label(table, "total")
    world.compact([run, labelled])

    assert 1 == erased(world).records

    assert 0 == world.compact([labelled, run]).applied
    assert {STAYS: (2, KEPT.decode(), {})} == world.records()
    world.write_delta("r3", {GONE: (3, "a new text", {})})
    assert 1 == world.compact([table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r3", **begins("r3"))]).applied
    assert (3, "a new text", {}) == world.records()[GONE]


def test_a_run_that_is_older_and_comes_for_the_first_time_does_not_bring_it_back(world: World) -> None:
    """Where no removal of its item has come yet, the place of the run that had written the record stays in its way."""
    table = Table()
    older = table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r0", **begins("r0"))
    for run, text in (("r0", SECRET), ("r1", LATER)):
        world.write_delta(run, {GONE: (1, text.decode(), {}), STAYS: (2, KEPT.decode(), {})})
    world.compact([table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r1", **begins("r1"))])
    erased(world)

    assert 0 == world.compact([older]).failed

    assert {STAYS: (2, KEPT.decode(), {})} == world.records()
    with at(world) as site:
        rebuild(site, tail_budget=500)
        with Ledger.open(site.workspace.pristine.root / "ledger.sqlite3", read_only=True) as ledger:
            assert ledger.knows(GONE)


def test_a_reapply_leaves_out_what_was_erased_while_its_run_was_withheld(world: World) -> None:
    """D1d: nothing else brings it back either: no older version, no duplicate, no resync, no rebuild."""
    table = Table()
    world.write_delta("r1", {GONE: (1, SECRET.decode(), {}), STAYS: (2, KEPT.decode(), {})})
    records = [label(table, "early"), table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r1", **begins("r1"))]
    for record in records:
        assert 1 == world.compact([record]).applied
    assert 1 == roll_back(world, 2).withheld
    erased(world)
    with pytest.raises(BadInput, match="version 3 of words is not there"):
        roll_back(world, 3)

    assert reapply_all(world).published

    kept = {STAYS: (2, KEPT.decode(), {})}
    assert kept == world.records()
    assert 0 == world.published().manifest.details.counts.withheld
    assert 0 == world.compact(records[::-1]).applied
    resync_with(world, table)
    with at(world) as site:
        rebuild(site, tail_budget=500)
    assert kept == world.records()


def test_pins_are_refused_by_name(world: World) -> None:
    """A pinned version may hold the record; nothing is published, also where the pin comes at the last moment."""
    history(world, Table())

    def pin() -> None:
        def amend(head: Any) -> Any:
            return replace(head, pins={"audit": head.manifest})

        amend_head(world.store, "words", amend, writer="test")

    def pin_at_the_swap(number: int, call: str) -> None:
        if call == "swap_head words" and not world.published().head.pins:
            pin()

    version = world.version()
    with at(world) as site:
        late = replace(site, store=WatchedStore(world.store, before=pin_at_the_swap))  # type: ignore[arg-type]
        with pytest.raises(BadInput, match=r"audit \(version \d+\)"):
            erase(late, [GONE], tail_budget=500)
    with pytest.raises(BadInput, match="audit"):
        erased(world)
    assert version == world.version()
    assert SECRET in everything(world.home / "store/words")


def test_an_id_without_a_trace_is_a_mistake(world: World) -> None:
    """Or long gone: then it has to be said."""
    history(world, Table())
    version = world.version()
    with pytest.raises(BadInput, match="has no trace of 'IMAGE#a#TYPO'"):
        erased(world, GONE, "IMAGE#a#TYPO")
    assert version == world.version()

    erased(world, "IMAGE#a#TYPO", unknown=True)

    assert version + 1 == world.version()


def test_what_a_sleeping_writer_brings_back_is_found(world: World) -> None:
    """It cannot be named any more; the check lists it, and both a sweep and erasing again remove it."""
    history(world, Table())
    old = {row.name: world.store.read(row.name, limit_bytes=1 << 30) for row in world.store.list("words/objects/")}
    erased(world)
    back = next(name for name, data in sorted(old.items()) if not world.store.present([name]))
    world.store.write(back, old[back])

    found = dict(left_over(world.store, "words"))[world.store.address]

    assert [back] == [row.name for row in found.condemned]
    sweep(world.store, "words", grace=timedelta(0), delete=True, writer="test")
    assert () == dict(left_over(world.store, "words"))[world.store.address].condemned


def test_a_mirror_that_is_away_is_told(world: World) -> None:
    """What is done in the store is done; the mirror is cleared by erasing again, or by a sweep."""
    history(world, Table())
    mirror = world.home / "mirror"
    mirror.rename(world.home / "unmounted")

    result = erased(world)

    assert not result.done
    assert result.mirror is not None
    assert MirrorState.FAILED is result.mirror.state
    assert [world.store.address] == [*result.removed]
    (world.home / "unmounted").rename(mirror)
    assert SECRET in everything(mirror / "words")
    assert erased(world).done
    assert SECRET not in everything(mirror / "words")


def test_the_ledger_forgets_what_a_record_s_own_items_said(tmp_path: Path) -> None:
    """Their text goes, also from pages that are free; their positions stay, and what is newer counts again."""

    def say(position: int, text: str, *, partial: bool = False) -> ContributeFields:
        at_ = Position.of_stream("s", position, 0)
        origin = Origin("message", "notes", "note", ItemKey("USER#u", "NOTE#a"), at_)
        return ContributeFields(origin, "USER#u#NOTE#a", {"title": {"S": text}}, partial)

    path = tmp_path / "ledger.sqlite3"
    with Ledger.create(path) as ledger:
        fact = join_fields(join_fields(None, say(1, SECRET.decode())), say(5, LATER.decode(), partial=True))
        assert fact is not None
        other = join_fields(None, replace(say(1, KEPT.decode()), reach="USER#u#NOTE#b"))
        assert other is not None
        ledger.store(LedgerChanges(fields=(fact, other)), received_seconds=0, version=1)
        undone = join_fields(fact, say(7, UNDONE.decode()))
        assert undone is not None
        ledger.withhold(Withheld(fields={(undone.reach, undone.item): undone}), received_seconds=0, version=2)
    assert all(text in path.read_bytes() for text in (SECRET, LATER, UNDONE, KEPT))
    with Ledger.open(path) as ledger:
        ledger.erase(["USER#u#NOTE#a"], received_seconds=1, version=3)
        ledger.write_anew()

    held = path.read_bytes()
    assert (False, False, False, True) == tuple(text in held for text in (SECRET, LATER, UNDONE, KEPT))
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.knows("USER#u#NOTE#a")
        left = ledger.field_facts(["USER#u#NOTE#a"])["USER#u#NOTE#a"][0]
    assert left.image is None
    for straggler in (say(1, "old"), say(4, "old"), say(5, "old", partial=True)):
        assert join_fields(left, straggler) is None
    newer = join_fields(left, say(6, "new"))
    assert newer is not None
    assert {"title": {"S": "new"}} == newer.image
