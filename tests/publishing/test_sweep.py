"""Sweeping: what nobody can need goes, behind a fence; everything else stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, ObjectMissing, OutcomeUnknown
from chroma_lifecycle.ports import Store, SwapUnanswered
from chroma_lifecycle.publishing import publication, swap
from chroma_lifecycle.publishing.condemned import KEPT_HEADS
from chroma_lifecycle.publishing.copying import copy_versions
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.published import read_manifest, read_published
from chroma_lifecycle.publishing.retention import expire, pin
from chroma_lifecycle.publishing.sweep import Swept, reached, sweep, sweep_mirror
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import Version
from tests.support.snapshots import COLLECTION
from tests.support.stores import FaultyStore, after, says
from tests.support.tiny import Tiny, on_every_store
from tests.support.watching import Crash, WatchedStore, crash_at

DAY = timedelta(days=1)
NAMES = Names(COLLECTION)
FOREIGN = f"words/objects/00000000000000ff.0/ab/{'ab' * 32}"
LATER = f"words/manifests/{'0' * 15}9-{{lineage}}.7-{'0' * 15}1.json"


@pytest.fixture
def tiny(tiny: Tiny) -> Tiny:
    """Six versions, the first three of which expired two days ago."""
    tiny.initialise()
    for number in range(1, 6):
        tiny.publish(number, pack=b"pack %d" % number if number % 2 else None)
    expire(tiny.store, COLLECTION, keep=3, writer="test")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    return tiny


def head_of(store: Store) -> Head:
    return read_head(store, COLLECTION).head


def names(store: Store) -> set[str]:
    """Every name but those that belong to HEAD."""
    return {row.name for row in store.list("") if row.name != NAMES.head and not row.name.startswith(NAMES.all_heads)}


def swept(store: Store, **options: object) -> Swept:
    return sweep(store, COLLECTION, writer="test", **{"delete": True, **options})  # type: ignore[arg-type]


def is_whole(store: Store) -> bool:
    needed = reached(store, head_of(store))
    return needed == store.present(needed)


def test_a_dry_run_says_what_would_go_and_changes_nothing(tiny: Tiny) -> None:
    """It is the default."""
    before, head = names(tiny.store), head_of(tiny.store)

    found = sweep(tiny.store, COLLECTION, writer="test")

    assert not found.deleted
    assert found.judged.condemned
    assert Version(4) == found.head.floor
    assert (before, head) == (names(tiny.store), head_of(tiny.store))


@on_every_store
def test_what_no_retained_version_reaches_goes(tiny: Tiny) -> None:
    """D4: exactly that: afterwards the store holds what its versions reach, and the next sweep finds nothing."""
    before = head_of(tiny.store)
    promised = {row.name for row in sweep(tiny.store, COLLECTION, writer="test").judged.condemned}

    found = swept(tiny.store)

    head = head_of(tiny.store)
    assert promised == {row.name for row in found.judged.condemned}
    assert reached(tiny.store, head) == names(tiny.store)
    assert (before.sweeps + 1, Version(4), ()) == (head.sweeps, head.floor, head.expiries)
    assert (before.serial + 1, before.manifest) == (head.serial, head.manifest)
    assert () == swept(tiny.store).judged.condemned
    assert head == head_of(tiny.store)  # with nothing to delete nothing is swapped


def test_what_is_younger_than_the_grace_period_stays(tiny: Tiny) -> None:
    """An expiry counts from its own time, and what is not reached may be work in progress."""
    tiny.store.by -= 2 * DAY  # type: ignore[attr-defined]
    before = names(tiny.store)

    assert () == swept(tiny.store).judged.condemned
    tiny.store.write(orphan := NAMES.manifest(Version(9), head_of(tiny.store).era, "0" * 16), b"{}")
    assert [orphan] == [row.name for row in swept(tiny.store).judged.young]
    assert {*before, orphan} == names(tiny.store)
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]
    assert orphan in {row.name for row in swept(tiny.store, grace=DAY).judged.condemned}


def test_losers_of_a_swap_go_when_they_are_old(tiny: Tiny) -> None:
    """D4: orphans are gone after the grace period: objects and manifests that nobody came to name."""
    healthy = tiny.store
    tiny.store = FaultyStore(healthy, swaps=[after(lambda: Tiny(healthy, tiny.folder, tiny.clock).publish(7))])
    with pytest.raises(HeadMoved):
        tiny.publish(8)
    tiny.store = healthy
    lost = names(healthy) - reached(healthy, head_of(healthy))
    manifests = [NAMES.parse_manifest_name(name) for name in lost]
    assert [Version(7)] == [parts.version for parts in manifests if parts]

    healthy.by += 2 * DAY  # type: ignore[attr-defined]
    swept(healthy)

    assert not lost & names(healthy)
    assert is_whole(healthy)


@on_every_store
def test_foreign_and_unknown_files_are_told_and_stay(tiny: Tiny) -> None:
    """D4: unless they are named, by file or by lineage; a later era of our own is never deleted."""
    later = LATER.format(lineage=head_of(tiny.store).lineage)
    unknown = ["words/README", "words/objects/notes.txt", "words/heads/x"]
    for name in [FOREIGN, later, *unknown]:
        tiny.store.write(name, b"somebody's")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]

    found = swept(tiny.store)

    assert {FOREIGN, later} == {row.name for row in found.judged.foreign}
    assert {*unknown} == {row.name for row in found.judged.unknown}
    assert {FOREIGN, later, *unknown} <= {row.name for row in tiny.store.list("")}

    swept(tiny.store, named=["words/README", FOREIGN.split("/")[2].split(".")[0], head_of(tiny.store).lineage, later])

    left = {row.name for row in tiny.store.list("")}
    assert not {"words/README", FOREIGN} & left
    assert {later, *unknown[1:]} <= left
    assert is_whole(tiny.store)


def test_another_collection_is_not_looked_at(tiny: Tiny) -> None:
    """Also if its name begins with ours."""
    others = ["words2/objects/x", "words-old/HEAD", "places/manifests/x"]
    for name in others:
        tiny.store.write(name, b"x")
    tiny.store.by += 2 * DAY  # type: ignore[attr-defined]

    found = swept(tiny.store)

    assert not {*others} & {row.name for pile in (found.judged.unknown, found.judged.foreign) for row in pile}
    assert {*others} <= names(tiny.store)


def test_a_manifest_that_cannot_be_read_stops_the_sweep(tiny: Tiny) -> None:
    """What it reaches is not known, so nothing is deleted."""
    head = head_of(tiny.store)
    good = tiny.store.read(head.manifest.name, limit_bytes=1 << 20)
    parent = read_published(tiny.store, COLLECTION).manifest.parent
    assert parent

    for harm, error in ((lambda: tiny.store.write(parent.name, b"{}"), Corrupt),
                        (lambda: tiny.store.delete([parent.name]), ObjectMissing)):  # fmt: skip
        harm()
        before = names(tiny.store)
        with pytest.raises(error, match=parent.name):
            swept(tiny.store)
        assert before == names(tiny.store)
    assert good == tiny.store.read(head.manifest.name, limit_bytes=1 << 20)
    assert head == head_of(tiny.store)


def test_a_pin_set_meanwhile_is_seen(tiny: Tiny) -> None:
    """A lost fence begins again at reading HEAD: what was a candidate is needed now."""
    raced = FaultyStore(
        tiny.store, swaps=[after(lambda: pin(tiny.store, COLLECTION, "p", Version(1), writer="another"))]
    )

    found = swept(raced)

    assert 2 == raced.calls.count("swap_head")
    assert Version(1) == head_of(tiny.store).pins["p"].version
    assert found.judged.condemned
    assert is_whole(tiny.store)


def test_a_version_published_meanwhile_keeps_what_it_needs(tiny: Tiny) -> None:
    """A block that nobody needed was used again before the fence stood: the fence is lost."""
    tiny.publish(9)
    healthy = tiny.store
    orphan = WatchedStore(healthy, before=crash_at_call("swap_head words"))
    tiny.store = orphan  # type: ignore[assignment]
    with pytest.raises(Crash):
        tiny.publish(20)
    tiny.store = healthy
    healthy.by += 2 * DAY  # type: ignore[attr-defined]

    raced = FaultyStore(healthy, swaps=[after(lambda: tiny.publish(20))])
    found = swept(raced)

    assert found.deleted
    assert is_whole(healthy)


def crash_at_call(what: str) -> object:
    def crash(number: int, call: str) -> None:
        if call == what:
            raise Crash(call)

    return crash


@on_every_store
def test_a_publication_that_the_fence_overtakes_uploads_again(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its swap is lost to the fence; it makes its manifest again, and names nothing that was condemned."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    healthy = tiny.store
    for attempt in (21, 22):
        tiny.store = FaultyStore(healthy, swaps=[after(lambda: swept(healthy, grace=timedelta(0)))])
        published = tiny.publish(attempt, pack=b"a pack" if attempt == 22 else None)
        parent = published.manifest.parent
        assert parent
        assert {head_of(healthy).era} == {
            parts.era for name in published.manifest.reached() - read_manifest(healthy, parent).reached()
            if (parts := NAMES.parse_object_name(name) or NAMES.parse_manifest_name(name))}  # fmt: skip
        assert is_whole(healthy)
        expire(healthy, COLLECTION, keep=1, writer="test")


def test_without_a_fence_that_stands_nothing_is_deleted(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown: it may land, or not. A later sweep finishes."""
    monkeypatch.setattr(swap, "_PAUSES_SECONDS", (0.0, 0.0))
    before = names(tiny.store)

    with pytest.raises(OutcomeUnknown):
        swept(FaultyStore(tiny.store, swaps=[says(SwapUnanswered("no answer"))] * 2))

    assert before == names(tiny.store)
    swept(tiny.store)
    assert reached(tiny.store, head_of(tiny.store)) == names(tiny.store)


def test_a_sweep_that_always_loses_gives_up_and_deletes_nothing(tiny: Tiny) -> None:
    """Bounded in attempts."""
    before, counter = names(tiny.store), iter(range(100))
    move = after(lambda: pin(tiny.store, COLLECTION, f"p{next(counter)}", writer="another"))

    with pytest.raises(HeadMoved, match="nothing was deleted"):
        swept(FaultyStore(tiny.store, swaps=[move] * 50))
    assert before == names(tiny.store)


def test_a_sweep_that_dies_anywhere_leaves_a_whole_store(tiny: Tiny) -> None:
    """Before each of its calls in turn; the last one runs through."""
    for step in range(1, 100):
        watched = WatchedStore(tiny.store, before=crash_at(step))
        try:
            swept(watched)  # type: ignore[arg-type]
        except Crash:
            assert is_whole(tiny.store), f"after a crash at {watched.calls[-1]}"
            continue
        break
    assert 5 < step < 99
    assert reached(tiny.store, head_of(tiny.store)) == names(tiny.store)


def test_a_store_that_moved_is_not_swept(tiny: Tiny) -> None:
    """It is read-only for whoever does not know the new address."""
    swap.amend_head(tiny.store, COLLECTION, lambda head: replace(head, moved_to="s3://elsewhere"), writer="test")
    before = names(tiny.store)

    with pytest.raises(BadInput, match="has moved to s3://elsewhere"):
        swept(tiny.store)
    assert before == names(tiny.store)


@pytest.mark.parametrize("kind", ["directory"])
def test_the_last_heads_stay_in_a_directory(tiny: Tiny) -> None:
    """D4: sixteen of them; trimming them needs no fence, and so comes to an end."""
    swept(tiny.store)
    for number in range(KEPT_HEADS):
        pin(tiny.store, COLLECTION, f"p{number}", writer="test")
    head = head_of(tiny.store)

    found = swept(tiny.store)

    assert 8 == len(found.judged.spare_heads)
    left = [NAMES.parse_head_name(row.name) for row in tiny.store.list(NAMES.all_heads)]
    assert list(range(9, 9 + KEPT_HEADS)) == left
    assert head == head_of(tiny.store)
    assert () == swept(tiny.store).judged.spare_heads


# The mirror.


@pytest.fixture
def mirror(tiny: Tiny, tmp_path: Path) -> DirectoryStore:
    """A mirror that has followed the store so far."""
    (tmp_path / "mirror").mkdir()
    mirror = DirectoryStore(tmp_path / "mirror", mirror_only=True)
    copy_versions(tiny.store, mirror, COLLECTION, deadline=Deadline(), whole_history=True)
    assert names(tiny.store) == names(mirror)
    return mirror


@on_every_store
def test_the_mirror_loses_what_the_store_has_lost(tiny: Tiny, mirror: DirectoryStore) -> None:
    """Its HEAD comes first to where the store's is; the store is only read."""
    swept(tiny.store)
    before = names(tiny.store)
    assert not sweep_mirror(tiny.store, mirror, COLLECTION).deleted
    assert before < names(mirror)

    sweep_mirror(tiny.store, mirror, COLLECTION, delete=True)

    assert before == names(tiny.store) == names(mirror)
    assert head_of(tiny.store) == head_of(mirror)


def test_the_mirror_of_a_store_that_is_not_swept_loses_nothing(tiny: Tiny, mirror: DirectoryStore) -> None:
    """Losers' manifests in the store are no reason; what the mirror alone has is."""
    foreign = FOREIGN
    mirror.write(foreign, b"somebody's")
    mirror.write("words/README", b"somebody's")
    before = names(mirror)

    found = sweep_mirror(tiny.store, mirror, COLLECTION, delete=True)

    assert before == names(mirror)
    assert ({foreign}, {"words/README"}) == (
        {row.name for row in found.judged.foreign}, {row.name for row in found.judged.unknown})  # fmt: skip


def test_what_is_copied_while_the_mirror_is_swept_stays(tiny: Tiny, mirror: DirectoryStore) -> None:
    """The store is listed after the mirror, so it has what the mirror had."""

    def publish_and_copy(number: int, call: str) -> None:
        if call == "list words/" and not copied:
            copied.append(tiny.publish(30))
            copy_versions(tiny.store, mirror, COLLECTION, deadline=Deadline())

    for when in ("before", "after"):
        copied: list[object] = []
        watched = WatchedStore(mirror, **{when: publish_and_copy})  # type: ignore[arg-type]
        sweep_mirror(tiny.store, watched, COLLECTION, delete=True)  # type: ignore[arg-type]
        assert copied
        assert is_whole(mirror)
        assert head_of(tiny.store) == head_of(mirror)


def test_a_sweep_of_the_store_meanwhile_leaves_the_mirror_whole(tiny: Tiny, mirror: DirectoryStore) -> None:
    """What the mirror's HEAD reaches stays until its HEAD has come forward."""

    def sweep_the_store(number: int, call: str) -> None:
        if call == "list words/":
            swept(tiny.store)

    watched = WatchedStore(mirror, after=sweep_the_store)

    sweep_mirror(tiny.store, watched, COLLECTION, delete=True)  # type: ignore[arg-type]

    assert names(tiny.store) < names(mirror)
    assert is_whole(mirror)


def test_what_the_store_lost_is_kept_by_the_mirror(tiny: Tiny, mirror: DirectoryStore) -> None:
    """Damage in the store is no order to delete the last good copy."""
    lost = [name for name in read_published(tiny.store, COLLECTION).manifest.reached() if "/objects/" in name]
    tiny.store.delete(lost)

    sweep_mirror(tiny.store, mirror, COLLECTION, delete=True)

    assert frozenset(lost) == mirror.present(lost)


def test_another_stores_mirror_and_an_empty_one_are_told(tiny: Tiny, mirror: DirectoryStore, tmp_path: Path) -> None:
    """Nothing is deleted from what is not ours."""
    (tmp_path / "other").mkdir()
    other = Tiny(DirectoryStore(tmp_path / "other"), tmp_path, tiny.clock)
    with pytest.raises(BadInput, match=r"there is nothing of words in the mirror .*/other yet"):
        sweep_mirror(tiny.store, other.store, COLLECTION)
    other.initialise(3)
    before = names(other.store)

    with pytest.raises(BadInput, match="is not the mirror of this store"):
        sweep_mirror(tiny.store, other.store, COLLECTION, delete=True)
    assert before == names(other.store)
