"""Recovering HEAD: from what is left, above everything that was, and never what was condemned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, NotInitialised, ObjectMissing, StoreUnavailable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.copying import copy_versions
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import read_manifest, read_published
from chroma_lifecycle.publishing.recover import Recovery, recover
from chroma_lifecycle.publishing.retention import expire, pin
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.publishing.sweep import reached, sweep
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import Version
from tests.support.s3 import client
from tests.support.snapshots import COLLECTION
from tests.support.stores import FaultyStore, after
from tests.support.tiny import Tiny, on_every_store
from tests.support.watching import WatchedStore

NAMES = Names(COLLECTION)


@pytest.fixture
def tiny(tiny: Tiny, kind: str) -> Tiny:
    """Four versions, a pin on the second, and one sweep."""
    if kind == "s3":
        bucket = tiny.store.address.removeprefix("s3://").partition("/")[0]
        client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    tiny.initialise()
    for number in range(1, 4):
        tiny.publish(number)
    pin(tiny.store, COLLECTION, "p", Version(2), writer="test")
    tiny.store.write(NAMES.manifest(Version(9), head_of(tiny.store).era, "0" * 16), b"of a loser")
    tiny.store.by = timedelta(days=2)  # type: ignore[attr-defined]
    sweep(tiny.store, COLLECTION, delete=True, writer="test")
    return tiny


@pytest.fixture
def mirror(tiny: Tiny, tmp_path: Path) -> DirectoryStore:
    """A mirror that has followed the store so far."""
    (tmp_path / "mirror").mkdir()
    mirror = DirectoryStore(tmp_path / "mirror", mirror_only=True)
    copy_versions(tiny.store, mirror, COLLECTION, deadline=Deadline(), whole_history=True)
    return mirror


def head_of(store: Store) -> Head:
    return read_head(store, COLLECTION).head


def delete_head(store: Store, *, all_of_them: bool = False) -> None:
    heads = [row.name for row in store.list(NAMES.all_heads)] if all_of_them else []
    store.delete([NAMES.head, *heads])
    if all_of_them and hasattr(store.inner, "past"):  # type: ignore[attr-defined]
        store.inner.past.clear()  # type: ignore[attr-defined]


def recovered(store: Store, mirror: Store | None = None, **options: object) -> Recovery:
    return recover(store, mirror, COLLECTION, writer="test", **options)  # type: ignore[arg-type]


def assert_whole(store: Store) -> None:
    assert {} == dict(verify_store(read_published(store, COLLECTION), store, every_version=True).damage)


@on_every_store
def test_a_deleted_head_comes_back_from_the_one_before(tiny: Tiny) -> None:
    """L13: from S3's older version of the object, or from heads/: it decides the same, above all that was."""
    before = head_of(tiny.store)
    delete_head(tiny.store)

    found = recovered(tiny.store)

    head = head_of(tiny.store)
    assert found.done
    assert "an older HEAD" in found.taken_from
    assert (before.manifest, before.pins, before.floor, before.lineage) == (
        head.manifest, head.pins, head.floor, head.lineage)  # fmt: skip
    assert (before.serial + 1, before.sweeps + 1) == (head.serial, head.sweeps)
    assert () == found.rivals
    assert_whole(tiny.store)
    assert Version(5) == tiny.publish(7).head.version


@on_every_store
def test_a_damaged_head_is_replaced(tiny: Tiny) -> None:
    """L13: what cannot be decoded is swapped by who read its bytes."""
    before = head_of(tiny.store)
    newest = max((row.name for row in tiny.store.list(NAMES.all_heads)), default=NAMES.head)
    tiny.store.write(newest, b"noise")

    recovered(tiny.store)

    assert before.manifest == head_of(tiny.store).manifest
    assert before.serial < head_of(tiny.store).serial
    assert_whole(tiny.store)


def test_a_dry_run_changes_nothing(tiny: Tiny) -> None:
    """And says what would be done."""
    delete_head(tiny.store)
    before = {row.name for row in tiny.store.list("")}

    found = recovered(tiny.store, dry_run=True)

    assert (False, Version(4)) == (found.done, found.head.version)
    assert before == {row.name for row in tiny.store.list("")}


def test_without_any_head_the_newest_manifest_is_taken(tiny: Tiny) -> None:
    """L13: with its rivals told, since a loser of a swap looks like a winner."""
    healthy, before = tiny.store, head_of(tiny.store)
    tiny.store = FaultyStore(healthy, swaps=[after(lambda: Tiny(healthy, tiny.folder, tiny.clock).publish(7))])
    with pytest.raises(HeadMoved):
        tiny.publish(8)
    newest = head_of(healthy).manifest
    delete_head(healthy, all_of_them=True)

    found = recovered(healthy)

    head = head_of(healthy)
    assert "the newest manifest that is whole" == found.taken_from
    assert (Version(5), Version(1), {}) == (head.version, head.floor, dict(head.pins))
    assert before.sweeps < head.sweeps
    assert 1 == len(found.rivals)
    assert {newest.name} <= {head.manifest.name, *found.rivals}
    assert_whole(healthy)


def test_a_rival_can_be_taken_by_its_name(tiny: Tiny) -> None:
    """The operator knows more than the listing."""
    healthy = tiny.store
    tiny.store = FaultyStore(healthy, swaps=[after(lambda: Tiny(healthy, tiny.folder, tiny.clock).publish(7))])
    with pytest.raises(HeadMoved):
        tiny.publish(8)
    delete_head(healthy, all_of_them=True)
    [rival] = recovered(healthy, dry_run=True).rivals

    with pytest.raises(BadInput, match="is no manifest of a version"):
        recovered(healthy, manifest="words/manifests/none.json")
    recovered(healthy, manifest=rival)

    assert rival == head_of(healthy).manifest.name


def test_a_version_that_is_not_whole_is_passed_over(tiny: Tiny) -> None:
    """HEAD names what is not there (a bucket that was copied half-way): the newest whole version is taken."""
    newest = read_published(tiny.store, COLLECTION).manifest
    parent = newest.parent
    lost = [name for name in newest.reached() if "/objects/" in name]
    others = reached(tiny.store, replace(head_of(tiny.store), manifest=parent, pins={}))
    tiny.store.delete(set(lost) - others)

    found = recovered(tiny.store)

    assert parent == found.head.manifest == head_of(tiny.store).manifest
    assert () == found.rivals
    [given_up] = found.given_up
    assert (4, newest.name) == (given_up.version, given_up.manifest)
    assert f"{min(set(lost) - others)} is not there, and 1 more" == given_up.why
    assert_whole(tiny.store)


@pytest.mark.parametrize("reading", [1, 2])
@pytest.mark.parametrize("asked_for", [False, True])
def test_a_bit_that_flips_on_the_way_passes_over_no_version(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, reading: int, asked_for: bool
) -> None:
    """C3: this covers a case where one reading of the newest manifest came damaged, and the one before was taken."""
    newest = head_of(tiny.store).manifest
    delete_head(tiny.store, all_of_them=True)
    read, readings = tiny.store.read, Counter[str]()

    def flipping(name: str, **given: Any) -> bytes:
        readings[name] += 1
        body = bytearray(read(name, **given))
        if (name, reading) == (newest.name, readings[name]):
            body[-1] ^= 1
        return bytes(body)

    monkeypatch.setattr(tiny.store, "read", flipping)
    found = recovered(tiny.store, manifest=newest.name if asked_for else None)

    assert newest == found.head.manifest
    assert_whole(tiny.store)


def test_the_floor_is_the_oldest_version_found_whole(tiny: Tiny) -> None:
    """A hole in the history ends it; a pin whose version is not whole is given up, and told."""
    third = read_published(tiny.store, COLLECTION).manifest.parent
    assert third
    second = head_of(tiny.store).pins["p"]
    tiny.store.delete([second.name])
    delete_head(tiny.store)

    found = recovered(tiny.store)

    assert (third.version, ("p",)) == (found.head.floor, found.lost_pins)
    assert {} == dict(head_of(tiny.store).pins)
    assert_whole(tiny.store)


def test_a_mirror_that_began_later_takes_no_history(tiny: Tiny, tmp_path: Path) -> None:
    """Its floor says since when it follows, and nothing of what the store has: every version that is whole stays."""
    (tmp_path / "late").mkdir()
    late = DirectoryStore(tmp_path / "late", mirror_only=True)
    copy_versions(tiny.store, late, COLLECTION, deadline=Deadline())
    before = head_of(tiny.store)
    assert before.floor < head_of(late).floor
    delete_head(tiny.store)
    recovered(tiny.store, late)
    assert (before.manifest, before.floor) == (head_of(tiny.store).manifest, head_of(tiny.store).floor)
    assert_whole(tiny.store)


def test_a_fence_that_the_mirror_alone_knows_of_counts(tiny: Tiny, mirror: DirectoryStore) -> None:
    """What was condemned after the last HEAD that the store still has does not come back."""
    expire(tiny.store, COLLECTION, keep=1, writer="test")
    tiny.store.by += timedelta(days=2)  # type: ignore[attr-defined]
    slow = FaultyStore(tiny.store)
    slow.delete = lambda names: None  # type: ignore[attr-defined]
    known = [*tiny.store.past_heads(COLLECTION)]
    sweep(slow, COLLECTION, delete=True, writer="test")
    assert Version(4) == copy_versions(tiny.store, mirror, COLLECTION, deadline=Deadline()).head.floor  # type: ignore[union-attr]
    delete_head(tiny.store)
    tiny.store.inner.past[:] = [*known]  # type: ignore[attr-defined]
    recovered(tiny.store, mirror)
    assert Version(4) == head_of(tiny.store).floor


def test_what_was_condemned_does_not_come_back(tiny: Tiny) -> None:
    """A sweep that sleeps before its deletes may wake later: nothing below the floor that was raised is named."""
    expire(tiny.store, COLLECTION, keep=1, writer="test")
    tiny.store.by += timedelta(days=2)  # type: ignore[attr-defined]
    slow = FaultyStore(tiny.store)
    deleted: list[str] = []
    slow.delete = deleted.extend  # type: ignore[attr-defined]
    sweep(slow, COLLECTION, delete=True, writer="test")
    assert deleted
    delete_head(tiny.store)

    for name in [name for name in deleted if NAMES.parse_manifest_name(name)]:
        with pytest.raises(BadInput, match="is whole and was not swept"):
            recovered(tiny.store, manifest=name)
    recovered(tiny.store)
    tiny.store.delete(deleted)

    assert Version(4) == head_of(tiny.store).floor
    assert_whole(tiny.store)


def test_a_lost_store_comes_back_from_the_mirror(tiny: Tiny, mirror: DirectoryStore) -> None:
    """L13: HEAD and every object, when the store has nothing left."""
    before = head_of(tiny.store)
    tiny.store.delete([row.name for row in tiny.store.list("")])
    tiny.store.inner.past.clear()  # type: ignore[attr-defined]

    found = recovered(tiny.store, mirror)

    assert "the mirror's HEAD" in found.taken_from
    assert found.brought
    head = head_of(tiny.store)
    assert (before.manifest, before.pins, before.floor) == (head.manifest, head.pins, head.floor)
    assert (before.serial + 1, before.sweeps + 1) == (head.serial, head.sweeps)
    assert_whole(tiny.store)
    assert head == copy_versions(tiny.store, mirror, COLLECTION, deadline=Deadline()).head  # type: ignore[union-attr]


def test_a_mirror_that_lags_is_no_reason_to_go_back(tiny: Tiny, mirror: DirectoryStore) -> None:
    """The store's own older HEAD is newer."""
    tiny.publish(7)
    delete_head(tiny.store)

    assert Version(5) == recovered(tiny.store, mirror).head.version


def test_a_sound_head_is_left_alone(tiny: Tiny) -> None:
    """There is nothing to recover, and it says what to look at."""
    before = head_of(tiny.store)
    with pytest.raises(BadInput, match="there is nothing to recover"):
        recovered(tiny.store)
    amend_head(tiny.store, COLLECTION, lambda head: replace(head, moved_to="s3://elsewhere"), writer="test")
    with pytest.raises(BadInput, match="has moved to s3://elsewhere"):
        recovered(tiny.store)
    assert before.manifest == head_of(tiny.store).manifest


def test_an_empty_store_has_nothing_to_recover(tiny: Tiny, tmp_path: Path) -> None:
    """It says what else could help, and writes nothing."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotInitialised, match="there is nothing of words to recover from"):
        recovered(DirectoryStore(tmp_path / "empty"))
    assert [] == list((tmp_path / "empty").iterdir())


def test_of_two_that_recover_at_once_one_succeeds(tiny: Tiny) -> None:
    """HEAD is created, and not replaced."""
    delete_head(tiny.store)

    with pytest.raises(HeadMoved, match="somebody else made HEAD"):
        recovered(FaultyStore(tiny.store, swaps=[after(lambda: recovered(tiny.store))]))
    assert_whole(tiny.store)


def test_a_store_that_was_emptied_and_begun_again_keeps_its_own_lineage(tiny: Tiny) -> None:
    """The HEAD of the former life has the higher serial, and is not the newest."""
    former = head_of(tiny.store)
    tiny.store.delete([row.name for row in tiny.store.list("")])
    tiny.initialise()
    begun = head_of(tiny.store)
    assert begun.serial < former.serial
    delete_head(tiny.store)

    head = recovered(tiny.store).head

    assert (begun.manifest, begun.lineage) == (head.manifest, head.lineage)
    assert former.serial < head.serial


def test_a_writer_that_slept_through_a_recovery_is_refused(tiny: Tiny) -> None:
    """It restores, and publishes on the new HEAD."""

    def lose_and_recover() -> None:
        delete_head(tiny.store)
        recovered(tiny.store)

    sleeping = Tiny(FaultyStore(tiny.store, swaps=[after(lose_and_recover)]), tiny.folder, tiny.clock)
    published = sleeping.publish(11)

    assert published.manifest.era == head_of(tiny.store).era
    assert_whole(tiny.store)


def test_what_goes_while_it_is_looked_at_is_no_defect(tiny: Tiny) -> None:
    """Somebody empties the store meanwhile: it can be done again."""
    tiny.store.delete([NAMES.head])
    newest = max(row.name for row in tiny.store.list(NAMES.all_manifests) if ".json" in row.name and row.size > 100)

    def empty(number: int, call: str) -> None:
        if call == f"read {newest}" and watched.calls.count(call) == 2:
            tiny.store.delete([row.name for row in tiny.store.list(f"{COLLECTION}/")])

    watched = WatchedStore(tiny.store, before=empty)

    with pytest.raises(ObjectMissing, match="went while it was looked at"):
        recovered(watched)  # type: ignore[arg-type]

    assert tiny.store.read_head(COLLECTION) is None


def objects_of(store: Store, ref: ManifestRef) -> list[str]:
    """The objects that a version needs and the one before it does not, in order."""
    manifest = read_manifest(store, ref)
    before = read_manifest(store, manifest.parent).reached() if manifest.parent else set()
    return sorted(name for name in manifest.reached() - before if NAMES.parse_object_name(name))


def damage(store: Store, name: str) -> None:
    """Flip the last bit of an object."""
    body = bytearray(store.read(name, limit_bytes=1 << 20))
    body[-1] ^= 1
    store.write(name, bytes(body))


@on_every_store
def test_a_damaged_manifest_comes_back_from_the_mirror(tiny: Tiny, mirror: DirectoryStore) -> None:
    """C3: this covers a case where HEAD was swapped again each time, and what it names stayed damaged."""
    before = head_of(tiny.store)
    tiny.store.write(before.manifest.name, b"x\n")

    found = recovered(tiny.store, mirror)

    assert (before.manifest, 1, (), ()) == (found.head.manifest, found.brought, found.given_up, found.notes)
    assert_whole(tiny.store)
    with pytest.raises(BadInput, match="there is nothing to recover"):
        recovered(tiny.store, mirror)


def test_a_manifest_in_the_history_comes_back_from_the_mirror(tiny: Tiny, mirror: DirectoryStore) -> None:
    """C3: HEAD and its own version are sound, and stay as they are."""
    before = tiny.store.read_head(COLLECTION)
    parent = read_published(tiny.store, COLLECTION).manifest.parent
    assert parent
    tiny.store.write(parent.name, b"x\n")
    again = recovered(tiny.store, mirror, dry_run=True)
    assert (False, 1, b"x\n") == (again.done, again.brought, tiny.store.read(parent.name, limit_bytes=9))

    found = recovered(tiny.store, mirror)

    assert (True, False, 1) == (found.done, found.is_new, found.brought)
    assert before == tiny.store.read_head(COLLECTION)
    assert_whole(tiny.store)


@on_every_store
def test_damaged_and_lost_objects_come_back_under_the_head_that_is_there(tiny: Tiny, mirror: DirectoryStore) -> None:
    """C3: what is damaged, cut off or longer is written again by its name; HEAD is not touched."""
    before = tiny.store.read_head(COLLECTION)
    names = objects_of(tiny.store, head_of(tiny.store).manifest)
    damage(tiny.store, names[0])
    tiny.store.write(names[-1], b"longer" * 100)

    found = recovered(tiny.store, mirror)

    assert (len(set(names)), False) == (found.brought, found.is_new)
    assert before == tiny.store.read_head(COLLECTION)
    assert_whole(tiny.store)


def test_what_the_mirror_has_damaged_too_is_named(tiny: Tiny, mirror: DirectoryStore) -> None:
    """C3: the newest version cannot be mended, and nothing is decided for the operator."""
    name = objects_of(tiny.store, head_of(tiny.store).manifest)[0]
    damage(tiny.store, name)
    damage(mirror, name)
    before = tiny.store.read_head(COLLECTION)

    with pytest.raises(Corrupt, match="its version 4 is not whole") as refused:
        recovered(tiny.store, mirror)

    assert f"{name} is damaged: in {mirror.address} " in refused.value.message
    assert before == tiny.store.read_head(COLLECTION)


def test_what_the_mirror_has_not_soundly_keeps_nothing_else_from_coming_back(
    tiny: Tiny, mirror: DirectoryStore
) -> None:
    """C3: of two that are damaged in the store one comes back; the other, of an older version, is told."""
    newest = read_published(tiny.store, COLLECTION).manifest
    assert newest.parent
    [mended, *_], [left, *_] = (objects_of(tiny.store, ref) for ref in (head_of(tiny.store).manifest, newest.parent))
    for name in (mended, left):
        damage(tiny.store, name)
    mirror.delete([left])

    found = recovered(tiny.store, mirror)

    assert 1 == found.brought
    [note] = found.notes
    assert left in note
    assert {left} == verify_store(read_published(tiny.store, COLLECTION), tiny.store, every_version=True).damage.keys()


@on_every_store
def test_an_older_version_is_taken_where_the_newest_cannot_be_read(tiny: Tiny) -> None:
    """C3: without a mirror it must be asked for by its name, which the refusal tells; what is given up is told."""
    newest = read_published(tiny.store, COLLECTION).manifest
    parent, head = newest.parent, head_of(tiny.store)
    assert parent
    broken = objects_of(tiny.store, head.manifest)[0]
    damage(tiny.store, broken)

    with pytest.raises(Corrupt, match="its version 4 is not whole") as refused:
        recovered(tiny.store)
    assert f"`chroma-lifecycle recover --manifest {parent.name}`" in refused.value.hint
    assert head == head_of(tiny.store)
    found = recovered(tiny.store, manifest=parent.name)

    assert (parent, head.serial + 1, head.sweeps + 1) == (found.head.manifest, found.head.serial, found.head.sweeps)
    assert [(4, newest.name)] == [(each.version, each.manifest) for each in found.given_up]
    assert broken in found.given_up[0].why
    assert () == found.rivals
    assert_whole(tiny.store)
    assert Version(4) == tiny.publish(7).head.version
    assert_whole(tiny.store)


def test_the_version_that_is_offered_is_whole(tiny: Tiny) -> None:
    """C3: one that is damaged as well is passed over, and refused by its name."""
    newest = read_published(tiny.store, COLLECTION).manifest
    third = newest.parent
    second = third and read_manifest(tiny.store, third).parent
    assert third
    assert second
    for ref in (head_of(tiny.store).manifest, third):
        damage(tiny.store, objects_of(tiny.store, ref)[0])

    with pytest.raises(Corrupt) as refused:
        recovered(tiny.store)
    with pytest.raises(BadInput, match=r"version 3 is not whole: .* is damaged"):
        recovered(tiny.store, manifest=third.name)

    assert f"`chroma-lifecycle recover --manifest {second.name}`" in refused.value.hint
    assert second == recovered(tiny.store, manifest=second.name).head.manifest


def test_no_older_version_is_taken_where_the_newest_is_whole(tiny: Tiny, mirror: DirectoryStore) -> None:
    """Nor where the mirror can make it whole: then nothing need be given up."""
    parent = read_published(tiny.store, COLLECTION).manifest.parent
    assert parent
    with pytest.raises(BadInput, match="there is nothing to recover") as refused:
        recovered(tiny.store, manifest=parent.name)
    assert "`chroma-lifecycle rollback N`" in refused.value.hint
    damage(tiny.store, objects_of(tiny.store, head_of(tiny.store).manifest)[0])
    with pytest.raises(BadInput, match="there is nothing to recover"):
        recovered(tiny.store, mirror, manifest=parent.name)


def test_a_step_down_says_what_is_given_up(tiny: Tiny) -> None:
    """C3: this covers a case where the damaged manifest was passed over in silence, and then offered as a rival."""
    newest = head_of(tiny.store).manifest
    tiny.store.write(newest.name, b"x\n")

    found = recovered(tiny.store)

    assert (Version(3), ()) == (found.head.version, found.rivals)
    [given_up] = found.given_up
    assert (4, newest.name) == (given_up.version, given_up.manifest)
    assert f"{newest.name} is not the manifest that was published" in given_up.why
    assert_whole(tiny.store)


def test_what_neither_has_takes_no_longer_history_with_it(tiny: Tiny, mirror: DirectoryStore) -> None:
    """C3: the store has lost it and the mirror has it damaged: the version that needs it is given up, and told."""
    newest = head_of(tiny.store).manifest
    name = objects_of(tiny.store, newest)[0]
    tiny.store.delete([name, NAMES.head])
    damage(mirror, name)

    found = recovered(tiny.store, mirror)

    assert Version(3) == found.head.version
    assert [newest.name] == [each.manifest for each in found.given_up]
    assert f"{name} is damaged: in {mirror.address}" in found.given_up[0].why
    assert_whole(tiny.store)


def test_without_any_head_a_damaged_manifest_is_that_of_the_mirror(tiny: Tiny, mirror: DirectoryStore) -> None:
    """C3: what it is can be told by the mirror's copy alone."""
    newest = head_of(tiny.store).manifest
    delete_head(tiny.store, all_of_them=True)
    mirror.delete([NAMES.head, *(row.name for row in mirror.list(NAMES.all_heads))])
    tiny.store.write(newest.name, b"x\n")

    found = recovered(tiny.store, mirror)

    assert (newest, 1, ()) == (found.head.manifest, found.brought, found.given_up)
    assert_whole(tiny.store)


def test_a_version_is_given_up_once(tiny: Tiny) -> None:
    """When HEAD is lost again, what was given up before and swept since is no news."""
    newest = head_of(tiny.store).manifest
    tiny.store.delete([newest.name])
    assert 1 == len(recovered(tiny.store).given_up)
    delete_head(tiny.store)

    found = recovered(tiny.store)

    assert (Version(3), ()) == (found.head.version, found.given_up)


def test_no_version_is_given_up_for_a_mirror_that_is_away(tiny: Tiny, tmp_path: Path) -> None:
    """A mount that is missing is no mirror without the version; where nothing is given up it is a note."""
    away = DirectoryStore(tmp_path / "away", mirror_only=True)
    newest = head_of(tiny.store).manifest
    with pytest.raises(
        StoreUnavailable, match=r"HEAD of words is sound, and what .* the mirror could not be looked at"
    ):
        recovered(tiny.store, away)
    delete_head(tiny.store)
    assert ["the mirror could not be looked at"] == [note[:33] for note in recovered(tiny.store, away).notes[:1]]
    tiny.store.write(newest.name, b"x\n")
    before = tiny.store.read_head(COLLECTION)

    with pytest.raises(
        StoreUnavailable, match=r"version 4 .* is not whole, and what .* the mirror could not be looked at"
    ):
        recovered(tiny.store, away)

    assert before == tiny.store.read_head(COLLECTION)
    assert Version(3) == recovered(tiny.store).head.version
