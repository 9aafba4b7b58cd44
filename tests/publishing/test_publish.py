"""Publishing: the order that is safe, what is sent, and what a lost swap leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.errors import BadInput, HeadMoved, NoRoom, NoTime, OutcomeUnknown, Retryable, StoreUnavailable
from chroma_lifecycle.ports import Store, SwapRefused, SwapUnanswered
from chroma_lifecycle.publishing import publication, swap
from chroma_lifecycle.publishing.head import Head, find_head, read_head
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.restore import restore_to
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.snapshot import pristine
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.values import Version
from tests.support.snapshots import COLLECTION, Site, facts, files_of, make_version, note_fact
from tests.support.stores import FaultyStore, after, lands_and_says, says
from tests.support.watching import Crash, WatchedStore, crash_at, whole_store

NAMES = Names(COLLECTION)
MakeSite = Callable[..., Site]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_PAUSES_SECONDS", (0.0, 0.0))


def root_of(site: Site) -> Path:
    return Path(site.store.address)


def pin(store: Store) -> None:
    """Another process pins the newest version."""

    def amend(head: Head) -> Head:
        return replace(head, pins={**head.pins, f"pin-{len(head.pins)}": head.manifest})

    amend_head(store, COLLECTION, amend, writer="operator")


def fence(store: Store) -> None:
    """A sweep moves HEAD: from here on there is another era."""
    amend_head(store, COLLECTION, lambda head: replace(head, sweeps=head.sweeps + 1), writer="sweep")


def read_whole(store: Store, place: Path) -> dict[str, bytes]:
    """What a reader gets who comes now."""
    restore_to(place, read_published(store, COLLECTION).manifest, store, None, Deadline())
    return files_of(place)


# The order.


def test_objects_are_stored_before_the_manifest_and_the_manifest_before_head(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops between two calls, nobody can see a name whose bytes are not there."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    site.store = watched = WatchedStore(site.store)

    published = site.cycle(fact="a", label="VALID")

    carrier = published.manifest.chain.packs[-1].carrier
    sent = [call for call in watched.calls if call.startswith(("write", "swap", "delete"))]
    assert [f"write {carrier}", f"write {published.manifest.name}", f"swap_head {COLLECTION}"] == sent


@pytest.mark.parametrize("effect", ["before", "after"])
def test_a_crash_at_any_call_leaves_a_whole_version_and_the_next_cycle_succeeds(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effect: str
) -> None:
    """C13: dying at any call to the store, before or after it took effect, loses and mixes nothing."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    site = make_site()
    site.initialise()
    healthy = site.store
    for step in range(1, 100):
        fact = f"step {step}"
        before, known = read_whole(healthy, tmp_path / f"before {step}"), facts(tmp_path / f"before {step}")
        site.store = watched = WatchedStore(healthy, **{effect: crash_at(step)})
        try:
            site.cycle(fact=fact, label=fact)
        except Crash:
            pass
        else:
            break
        moved = effect == "after" and watched.calls[-1].startswith("swap_head")
        left = read_whole(healthy, tmp_path / f"left {step}")
        assert moved or before == left
        assert {*known, fact} == facts(tmp_path / f"left {step}").keys() or not moved

        site.store = healthy
        site.cycle(fact=fact, label=fact)
        assert {*known, fact} == facts(site.workspace.pristine.root).keys()
    assert step > 4


def test_a_reader_gets_the_old_version_or_the_new_one_at_every_moment(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10: a reader that comes between any two calls of a publication reads N or N + 1, whole."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    site = make_site()
    site.initialise()
    healthy, seen = site.store, []

    def look(number: int, call: str) -> None:
        place = tmp_path / f"reader {len(seen)}"
        read_whole(healthy, place)
        seen.append(sorted(facts(place)))

    site.store = WatchedStore(healthy, before=look, after=look)
    site.cycle(fact="new", label="VALID")

    assert [] == seen[0]
    assert ["new"] == seen[-1]
    assert seen == sorted(seen)
    assert {(), ("new",)} == {tuple(each) for each in seen}


def test_a_store_that_fails_at_any_write_leaves_head_where_it_was(site: Site) -> None:
    """L3, C3: an upload that the store refuses ends in an error, and HEAD does not move."""

    def fail(number: int, call: str) -> None:
        if call.startswith("write"):
            raise StoreUnavailable("the disk of the store is on fire", hint="extinguish it")

    healthy = site.store
    before = whole_store(root_of(site))
    site.store = WatchedStore(healthy, before=fail)
    with pytest.raises(StoreUnavailable, match="on fire"):
        site.cycle(fact="a")

    assert before == whole_store(root_of(site))
    site.store = healthy
    site.cycle(fact="b")
    assert ["b"] == sorted(facts(site.workspace.pristine.root))


def test_nothing_is_ever_deleted(site: Site) -> None:
    """What a lost or unknown swap has uploaded stays: somebody may have built on it."""
    before = whole_store(root_of(site))
    for label in ("A", "B"):
        site.cycle(fact=label, label=label)

    assert before.items() <= {**whole_store(root_of(site)), f"{COLLECTION}/HEAD": before[f"{COLLECTION}/HEAD"]}.items()


# What is sent.


def test_a_cycle_that_moves_only_facts_sends_the_ledger_alone(site: Site) -> None:
    """No byte of Chroma is read, copied or sent."""
    parent = site.restore()
    with site.sealed(fact="a") as sealed:
        assert [LEDGER] == sorted(sealed.files.keys() - sealed.untouched)
        published = site.publish(sealed, parent)

    assert published.manifest.stored_bytes < 1_000
    assert parent.manifest.chain.base == published.manifest.chain.base


def test_a_small_pack_travels_inside_the_manifest(site: Site) -> None:
    """It saves a round trip: the manifest is the only object that is written."""
    before = whole_store(root_of(site))
    published = site.cycle(fact="a", label="VALID")

    new = whole_store(root_of(site)).keys() - before.keys()
    assert {published.manifest.name, NAMES.heads(2)} == new
    assert published.manifest.carries_pack


def test_a_change_of_most_of_the_content_is_sent_as_a_base(site: Site) -> None:
    """A pack of everything would be a detour for every reader."""
    parent = site.restore()
    with site.workspace.blank() as directory:
        make_version(directory)
        note_fact(directory, "all", "x" * 5_000_000)
        published = site.publish(seal_of(directory), parent)

    assert () == published.manifest.chain.packs
    assert 2 == published.manifest.version.number


def seal_of(directory: Path) -> object:
    from chroma_lifecycle.snapshot.sealed import seal

    return seal(directory)


def test_an_unchanged_part_of_a_base_keeps_its_name_and_is_not_sent_again(site: Site) -> None:
    """Without a local copy a cycle sends a base, and only what is new of it; also after a sweep.

    Names of an older era are named again only because the version that HEAD retains reaches them.
    """
    fence(site.store)
    parent = site.restore()
    before = whole_store(root_of(site))
    with site.workspace.blank() as directory:
        make_version(directory)
        note_fact(directory, "a")
        site.workspace.pristine.forget()
        published = site.publish(seal_of(directory), parent)

    ledger, database = published.manifest.chain.base.files[-1], parent.manifest.chain.base.files[-2]
    assert LEDGER == ledger.path
    new = whole_store(root_of(site)).keys() - before.keys()
    assert {published.manifest.name, NAMES.heads(3), ledger.parts[0].object} == new
    assert database in published.manifest.chain.base.files


# Swaps that do not simply land.


def test_a_swap_that_was_lost_to_a_pin_is_done_again_on_the_new_head(site: Site) -> None:
    """The same content under a new HEAD needs a new manifest only, and carries the pin over."""
    inner = site.store
    site.store = FaultyStore(inner, swaps=[after(lambda: pin(inner))])

    published = site.cycle(fact="a")

    assert 2 == published.manifest.version.number
    assert ["pin-0"] == [*published.head.pins]
    assert 3 == published.head.serial
    assert published.manifest == read_published(inner, COLLECTION).manifest


def test_a_swap_that_was_lost_to_a_sweep_uploads_again_in_the_new_era(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a manifest may name: objects of the old era may be condemned already."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    inner = site.store
    site.store = FaultyStore(inner, swaps=[after(lambda: fence(inner))])

    published = site.cycle(fact="a", label="VALID")

    carrier = NAMES.parse_object_name(published.manifest.chain.packs[-1].carrier)
    assert carrier
    assert published.head.era == carrier.era == published.manifest.era
    assert 1 == carrier.era.sweeps
    assert inner.present([published.manifest.chain.packs[-1].carrier])


def test_a_swap_that_was_lost_to_another_version_is_left_to_the_caller(make_site: MakeSite) -> None:
    """L5: nothing is rebased; the work starts again from what the other writer published."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    inner = one.store
    one.store = FaultyStore(inner, swaps=[after(lambda: two.cycle(fact="theirs"))])

    with pytest.raises(HeadMoved, match="by two"):
        one.cycle(fact="ours")
    assert 1 == one.workspace.pristine.version().manifest.version.number  # type: ignore[union-attr]

    one.cycle(fact="ours")
    assert {"ours", "theirs"} == facts(one.workspace.pristine.root).keys()


def test_a_head_that_moves_all_the_time_ends_the_attempts(site: Site) -> None:
    """Attempts are bounded; what was not published comes again."""
    inner = site.store
    site.store = FaultyStore(inner, swaps=[after(lambda: pin(inner))] * 20)

    with pytest.raises(HeadMoved, match="5 times"):
        site.cycle(fact="a")


def test_a_refusal_of_our_own_write_is_a_success(site: Site) -> None:
    """C14: the answer was lost, the SDK sent it again, and the store refused what it already had."""
    site.store = FaultyStore(site.store, swaps=[lands_and_says(SwapRefused("412"))])

    assert 2 == site.cycle(fact="a").manifest.version.number
    assert {"a"} == facts(site.workspace.pristine.root).keys()


def test_a_version_that_others_built_on_before_we_looked_has_landed(make_site: MakeSite) -> None:
    """C14: our write id is found in the ancestry; the local copy is what we wrote, not what is newest."""
    one, two = make_site("one"), make_site("two")
    one.initialise()

    def land_and_be_followed(swap: Callable[[], object]) -> object:
        swap()
        two.cycle(fact="theirs")
        raise SwapUnanswered("time-out")

    one.store = FaultyStore(one.store, swaps=[land_and_be_followed])  # type: ignore[list-item]
    published = one.cycle(fact="ours")

    assert 2 == published.manifest.version.number
    assert 3 == published.head.version.number
    assert {"ours"} == facts(one.workspace.pristine.root).keys()
    with one.sealed(fact="more") as sealed, pytest.raises(HeadMoved, match="the work started from 2"):
        one.publish(sealed, published)


def test_a_swap_without_an_outcome_is_told_as_such(site: Site) -> None:
    """Nothing is deleted, the local copy stays at the old version, and doing it again is safe."""
    inner = site.store
    unanswered = says(SwapUnanswered("time-out"))
    site.store = FaultyStore(inner, swaps=[unanswered] * 9)
    before = whole_store(root_of(site))

    with pytest.raises(OutcomeUnknown):
        site.cycle(fact="a")

    assert before.items() <= whole_store(root_of(site)).items()
    assert 1 == site.workspace.pristine.version().manifest.version.number  # type: ignore[union-attr]
    site.store = inner
    assert {"a"} == facts(site.workspace.root / "pristine").keys() or site.cycle(fact="a")


def test_a_store_that_has_moved_is_refused_with_its_new_address(site: Site) -> None:
    """Every writer learns where to go, and writes nothing here."""
    amend_head(site.store, COLLECTION, lambda head: replace(head, moved_to="s3://new/place"), writer="operator")

    with pytest.raises(BadInput, match="s3://new/place"):
        site.cycle(fact="a")


def test_no_publication_begins_without_the_time_for_it(site: Site) -> None:
    """S1, L14: what does not fit is handed back before anything is sent."""
    parent, before = site.restore(), whole_store(root_of(site))
    with site.sealed(fact="a") as sealed, pytest.raises(NoTime, match="publishing a version"):
        site.publish(sealed, parent, deadline=Deadline(SYSTEM_CLOCK.monotonic()))

    assert before == whole_store(root_of(site))


# The local copy.


def test_a_damaged_page_under_a_change_is_never_published(site: Site) -> None:
    """Invariant 9: the working copy was made from it, so the version is restored whole and the work done again."""
    place = site.workspace.pristine.root / "chroma" / "chroma.sqlite3"
    parent = site.restore()
    with site.sealed(fact="a", label="VALID") as sealed:
        changed = next(
            n
            for n in range(len(place.read_bytes()) // 4_096)
            if _page(place, n) != _page(sealed.files["chroma/chroma.sqlite3"], n)
        )
        damaged = bytearray(place.read_bytes())
        damaged[4_096 * changed + 4_000] ^= 1
        place.write_bytes(damaged)
        with pytest.raises(
            Retryable, match=rf"chroma/chroma\.sqlite3 is not as published at pages {changed - changed % 4} to "
        ):
            site.publish(sealed, parent)

    assert 1 == read_published(site.store, COLLECTION).manifest.version.number
    assert 2 == site.cycle(fact="a", label="VALID").manifest.version.number


def _page(path: Path, number: int) -> bytes:
    return path.read_bytes()[4_096 * number : 4_096 * (number + 1)]


def test_a_local_copy_that_cannot_follow_does_not_undo_the_publication(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C15: the disk is full after HEAD has moved; the version stands, and the next cycle goes on."""
    parent = site.restore()
    with site.sealed(fact="a") as sealed, monkeypatch.context() as full:
        full.setattr(pristine, "require_room", _no_room)
        published = site.publish(sealed, parent)

    assert 2 == published.manifest.version.number == read_published(site.store, COLLECTION).manifest.version.number
    assert 1 == site.workspace.pristine.version().manifest.version.number  # type: ignore[union-attr]
    site.cycle(fact="b")
    assert {"a", "b"} == facts(site.workspace.pristine.root).keys()


def _no_room(*args: object) -> None:
    raise NoRoom("the disk is full", hint="make room")


# The first version.


def test_a_collection_is_initialised_once(make_site: MakeSite) -> None:
    """The second one learns who was first, and nothing is written."""
    make_site("one").initialise()
    two = make_site("two")
    before = whole_store(root_of(two))

    with pytest.raises(BadInput, match=r"already initialised .* version 1, written by one"):
        two.initialise()
    assert before == whole_store(root_of(two))


def test_of_two_that_initialise_at_once_one_succeeds(make_site: MakeSite) -> None:
    """L6: both looked and found nothing; the swap lets one make HEAD."""
    one, two = make_site("one"), make_site("two")
    inner, started = one.store, []

    def let_the_other_be_first(number: int, call: str) -> None:
        if call.startswith("write") and not started:
            started.append(call)
            two.initialise()

    one.store = WatchedStore(inner, before=let_the_other_be_first)
    with pytest.raises(BadInput, match=r"already initialised .* written by two"):
        one.initialise()
    assert "two" == read_head(inner, COLLECTION).head.writer
    two.cycle(fact="a")


def test_a_collection_whose_head_was_deleted_is_not_initialised_again(site: Site) -> None:
    """L13: what an init would hide can be recovered, so it names recover and writes nothing."""
    for head in [root_of(site) / COLLECTION / "HEAD", *(root_of(site) / COLLECTION / "heads").iterdir()]:
        head.unlink()
    before = whole_store(root_of(site))

    with pytest.raises(BadInput, match=r"there is .*manifests.*chroma-lifecycle recover"):
        site.initialise()
    assert before == whole_store(root_of(site))
    assert None is find_head(site.store, COLLECTION)


def test_an_init_that_was_cut_off_is_told_by_the_next_one(make_site: MakeSite) -> None:
    """Its own unfinished manifest is a manifest too: nobody guesses what it was."""
    site = make_site()
    healthy = site.store
    site.store = WatchedStore(healthy, before=lambda number, call: _die_at_swap(call))
    with pytest.raises(Crash):
        site.initialise()

    site.store = healthy
    with pytest.raises(BadInput, match="if an `init` was cut off"):
        site.initialise()


def _die_at_swap(call: str) -> None:
    if call.startswith("swap"):
        raise Crash(call)


def test_the_first_version_begins_a_lineage(site: Site) -> None:
    """Version 1, serial 1, the floor at itself."""
    head = read_head(site.store, COLLECTION).head

    assert (Version(1), 1, Version(1), 0) == (head.version, head.serial, head.floor, head.sweeps)
