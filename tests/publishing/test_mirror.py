"""The mirror: it equals the store when it can, and costs a warning when it cannot."""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing import mirror as mirroring
from chroma_lifecycle.publishing import publication
from chroma_lifecycle.publishing.copying import Copied, copy_versions
from chroma_lifecycle.publishing.head import find_head, read_head
from chroma_lifecycle.publishing.history import verify_store, walk
from chroma_lifecycle.publishing.mirror import Mirror, MirrorOutcome, MirrorState, repair_mirror, update_mirror
from chroma_lifecycle.publishing.restore import Way, bring_forward, read_published
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.stores import directory
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import Version
from tests.support.snapshots import COLLECTION, Site, files_of
from tests.support.watching import Crash, WatchedStore, crash_at, whole_store

NAMES = Names(COLLECTION)
MakeSite = Callable[..., Site]


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A compactor with a mirror, which has the first version."""
    site = make_site(mirror=True)
    site.initialise()
    assert MirrorState.BROUGHT_FORWARD == update(site).state
    return site


def update(site: Site, *, repair: bool = False, **options: object) -> MirrorOutcome:
    assert site.mirror is not None
    if repair:
        copied = repair_mirror(site.store, site.mirror, COLLECTION, deadline=Deadline(), writer="test")
        state = MirrorState.BROUGHT_FORWARD if copied.objects or copied.swapped else MirrorState.UP_TO_DATE
        return MirrorOutcome(state, "", copied.objects, copied.bytes_written)
    return update_mirror(site.store, site.mirror, COLLECTION, **{"deadline": Deadline(), **options})  # type: ignore[arg-type]


def mirror_of(site: Site) -> Path:
    assert site.mirror is not None
    return Path(site.mirror.address)


def objects(root: Path) -> dict[str, bytes]:
    """Everything but what belongs to HEAD."""
    return {name: data for name, data in whole_store(root).items() if "/manifests/" in name or "/objects/" in name}


def is_whole(site: Site) -> bool:
    """Whether every version that the mirror's HEAD retains can be read there, every byte proven."""
    assert site.mirror is not None
    verified = verify_store(read_published(site.mirror, COLLECTION), site.mirror, every_version=True)
    return not verified.damage


# Following.


def test_the_mirror_follows_every_version(site: Site) -> None:
    """And equals the store, by the same packs."""
    for n in range(3):
        site.cycle(fact=f"{n}", label=f"L{n}")
        outcome = update(site)
        assert MirrorState.BROUGHT_FORWARD == outcome.state
        assert 1 == outcome.objects  # the manifest, with the pack inside
    root = Path(site.store.address)

    assert objects(root) == objects(mirror_of(site))
    assert (root / NAMES.head).read_bytes() == (mirror_of(site) / NAMES.head).read_bytes()
    assert MirrorState.UP_TO_DATE == update(site).state


def test_a_mirror_that_was_away_catches_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """L24: ten cycles later it equals the store, with every version between."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    away = mirror_of(site).rename(mirror_of(site).with_name("away"))
    for n in range(10):
        site.cycle(fact=f"{n}", label=f"L{n}")
        outcome = update(site)
        assert MirrorState.FAILED == outcome.state
        assert "there is no directory" in outcome.text
    away.rename(mirror_of(site))

    assert MirrorState.BROUGHT_FORWARD == update(site).state
    assert objects(Path(site.store.address)) == objects(mirror_of(site))
    assert is_whole(site)


def test_an_empty_mirror_begins_with_the_newest_version(make_site: MakeSite) -> None:
    """Its floor is raised to it: HEAD promises nothing that is not there."""
    site = make_site(mirror=True)
    site.initialise()
    site.publish_base(fact="base")

    update(site)

    assert site.mirror
    head = read_head(site.mirror, COLLECTION).head
    newest = site.restore().manifest
    assert (Version(2), Version(2)) == (head.version, head.floor)
    assert newest.reached() == objects(mirror_of(site)).keys()
    assert is_whole(site)


def test_what_others_decided_in_head_is_carried_over(site: Site) -> None:
    """A pin alone moves the mirror's HEAD too; nothing is copied for it."""
    amend_head(site.store, COLLECTION, lambda head: replace(head, pins={"p": head.manifest}), writer="x")

    outcome = update(site)

    assert (MirrorState.BROUGHT_FORWARD, 0) == (outcome.state, outcome.objects)
    assert site.mirror
    assert ["p"] == [*read_head(site.mirror, COLLECTION).head.pins]


def test_a_pinned_version_is_copied_whole(make_site: MakeSite) -> None:
    """HEAD in the mirror names it, so that it must be there, also below the mirror's floor."""
    site = make_site(mirror=True)
    site.initialise()
    amend_head(site.store, COLLECTION, lambda head: replace(head, pins={"first": head.manifest}), writer="x")
    site.publish_base(fact="base")

    update(site)

    assert site.mirror
    pinned = read_head(site.mirror, COLLECTION).head.pins["first"]
    assert Version(1) == pinned.version
    assert is_whole(site)


@pytest.mark.parametrize("effect", ["before", "after"])
def test_a_copy_that_dies_anywhere_leaves_a_whole_mirror(
    site: Site, effect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10 for the mirror: objects first, manifests then, HEAD last."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    healthy = site.mirror
    for step in range(1, 60):
        site.cycle(fact=f"{step}", label=f"L{step}")
        site.mirror = WatchedStore(healthy, **{effect: crash_at(step)})  # type: ignore[arg-type, assignment]
        try:
            update(site)
        except Crash:
            pass
        else:
            break
        site.mirror = healthy
        assert is_whole(site)
        assert MirrorState.FAILED != update(site).state
    assert step > 3
    site.mirror = healthy
    assert objects(Path(site.store.address)) == objects(mirror_of(site))


def test_the_whole_history_can_be_copied_into_a_new_place(site: Site, tmp_path: Path) -> None:
    """From the floor on, to live elsewhere."""
    for n in range(3):
        site.cycle(fact=f"{n}")
    (tmp_path / "new").mkdir()
    new = DirectoryStore(tmp_path / "new")

    copied = copy_versions(site.store, new, COLLECTION, deadline=Deadline(), whole_history=True)

    assert isinstance(copied, Copied)
    assert read_head(site.store, COLLECTION).head == copied.head
    assert [4, 3, 2, 1] == [manifest.version.number for _, manifest in walk(new, copied.head)]
    assert objects(Path(site.store.address)) == objects(tmp_path / "new")


def test_two_that_update_one_mirror_at_once_leave_the_newer_version(site: Site) -> None:
    """The one that is late finds HEAD moved, and looks again."""
    site.cycle(fact="a")
    healthy, moved = site.mirror, []

    def be_quicker(number: int, call: str) -> None:
        if call.startswith("swap_head") and not moved:
            moved.append(call)
            site.cycle(fact="b")
            update_mirror(site.store, healthy, COLLECTION, deadline=Deadline())  # type: ignore[arg-type]

    site.mirror = WatchedStore(healthy, before=be_quicker)  # type: ignore[arg-type, assignment]
    assert MirrorState.UP_TO_DATE == update(site).state
    site.mirror = healthy
    assert Version(3) == read_head(healthy, COLLECTION).head.version  # type: ignore[arg-type]
    assert is_whole(site)


# Foreign, damaged, missing.


def test_the_mirror_of_another_store_is_left_alone(site: Site, tmp_path: Path) -> None:
    """Another lineage: told, and not a byte is written."""
    (tmp_path / "other").mkdir()
    other = Site(site.workspace, DirectoryStore(tmp_path / "other"), site.mirror)
    other.initialise()
    before = whole_store(mirror_of(site))

    outcome = update(other)

    assert MirrorState.FOREIGN == outcome.state
    assert "it holds lineage" in outcome.text
    assert "mirror --repair" in outcome.text
    assert before == whole_store(mirror_of(site))


def test_a_mirror_that_is_ahead_of_the_store_is_left_alone(site: Site, tmp_path: Path) -> None:
    """The store was restored from a backup: which of the two is right is for a person to say."""
    shutil.copytree(site.store.address, tmp_path / "backup")
    site.cycle(fact="a")
    update(site)
    site.store = DirectoryStore(tmp_path / "backup")

    outcome = update(site)
    assert MirrorState.FOREIGN == outcome.state
    assert "its HEAD 2 is ahead of HEAD 1" in outcome.text

    site.workspace.pristine.forget()
    site.cycle(fact="b")
    assert "its HEAD 2 is another than that in" in update(site).text


def test_a_first_answer_about_head_that_is_stale_makes_no_mirror_foreign(site: Site, tmp_path: Path) -> None:
    """The mirror only seems to be ahead: the store's HEAD is read again before anybody says so."""
    shutil.copytree(site.store.address, tmp_path / "before")
    site.cycle(fact="a")
    update(site)
    sound, stale = site.store, [DirectoryStore(tmp_path / "before")]

    class StaleAtFirst:
        def __getattr__(self, name: str) -> object:
            return getattr(stale.pop() if name == "read_head" and stale else sound, name)

    site.store = StaleAtFirst()  # type: ignore[assignment]

    assert MirrorState.UP_TO_DATE == update(site).state
    assert stale == []


def test_a_repair_replaces_what_does_not_come_from_the_store(site: Site, tmp_path: Path) -> None:
    """Asked for by name; serials never go back, even then."""
    (tmp_path / "other").mkdir()
    site.cycle(fact="a")
    update(site)
    other = Site(site.workspace, DirectoryStore(tmp_path / "other"), site.mirror)
    other.initialise()

    assert MirrorState.BROUGHT_FORWARD == update(other, repair=True).state

    assert other.mirror
    head = read_head(other.mirror, COLLECTION).head
    assert (read_head(other.store, COLLECTION).head.lineage, 3) == (head.lineage, head.serial)
    assert is_whole(other)


def test_a_head_that_names_something_else_is_repaired(site: Site) -> None:
    """C3, L24: a bit flipped in the digest of the manifest: HEAD can be read, and what it names is not there."""
    site.cycle(fact="a")
    update(site)
    digest = read_head(site.store, COLLECTION).head.manifest.digest
    other = ("0" if digest[0] != "0" else "1") + digest[1:]
    for path in (mirror_of(site) / NAMES.head, *(mirror_of(site) / NAMES.all_heads).iterdir()):
        path.write_bytes(path.read_bytes().replace(digest.encode(), other.encode()))

    outcome = update(site)
    assert MirrorState.FOREIGN == outcome.state
    assert "is damaged" in outcome.text
    update(site, repair=True)

    assert site.mirror is not None
    assert digest == read_head(site.mirror, COLLECTION).head.manifest.digest
    assert MirrorState.UP_TO_DATE == update(site).state
    assert is_whole(site)


def test_a_repair_reads_every_byte(site: Site) -> None:
    """L24: a flipped bit and a missing object are found and written again."""
    names = sorted(objects(mirror_of(site)))
    damaged, missing = (mirror_of(site) / name for name in names[:2])
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    missing.unlink()
    assert MirrorState.UP_TO_DATE == update(site).state

    outcome = update(site, repair=True)

    assert (MirrorState.BROUGHT_FORWARD, 2) == (outcome.state, outcome.objects)
    assert objects(Path(site.store.address)) == objects(mirror_of(site))


def test_what_a_restore_missed_is_mended_by_the_next_copy(site: Site, make_site: MakeSite) -> None:
    """A miss makes the copy look for every name, and write again what was damaged."""
    names = sorted(name for name in objects(mirror_of(site)) if "/objects/" in name)
    (mirror_of(site) / names[0]).write_bytes(b"damaged")
    (mirror_of(site) / names[1]).unlink()
    two = make_site("two", mirror=True)
    published = read_published(two.store, COLLECTION)
    restored = bring_forward(two.workspace, published, two.store, two.mirror, Deadline())
    assert {*names[:2]} == {*restored.missed}

    outcome = update(two, missed=restored.missed)

    assert 2 == outcome.objects
    assert is_whole(two)


def test_damage_in_the_store_does_not_reach_the_mirror(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte is proven on its way."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    published = site.cycle(fact="a", label="A")
    place = Path(site.store.address) / published.manifest.chain.packs[-1].carrier
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    before = whole_store(mirror_of(site))

    outcome = update(site)

    assert MirrorState.FAILED == outcome.state
    assert f"{published.manifest.chain.packs[-1].carrier} is damaged" in outcome.text
    assert before == whole_store(mirror_of(site))


def test_a_read_only_mirror_costs_a_warning(site: Site) -> None:
    """S7: the version is published; the mirror stays where it was."""
    site.cycle(fact="a")

    def refuse(number: int, call: str) -> None:
        if call.startswith("write"):
            raise StoreUnavailable("mounted read-only", hint="mount it for writing")

    site.mirror = WatchedStore(site.mirror, before=refuse)  # type: ignore[arg-type, assignment]
    outcome = update(site)

    assert MirrorState.FAILED == outcome.state
    assert "mounted read-only" in outcome.text


def test_a_mirror_gets_no_more_time_than_there_is(site: Site) -> None:
    """S7: when the deadline is near, the copy stops between two objects."""
    site.cycle(fact="a")

    outcome = update(site, deadline=Deadline(SYSTEM_CLOCK.monotonic()))

    assert MirrorState.FAILED == outcome.state
    assert "copying an object needs" in outcome.text


# A mount that hangs.


@pytest.fixture
def hanging(site: Site) -> Iterator[tuple[Site, threading.Event, list[str]]]:
    """A site whose mirror's calls hang until the event is set; and the calls that were begun."""
    answered, begun = threading.Event(), list[str]()

    def hang(number: int, call: str) -> None:
        begun.append(call)
        answered.wait()

    inner: Store = WatchedStore(site.mirror, before=hang)  # type: ignore[arg-type, assignment]
    site.mirror = Mirror(inner, timeout_seconds=0.05)
    yield site, answered, begun
    answered.set()
    for thread in threading.enumerate():
        if thread.name.startswith("mirror "):
            thread.join(5)


def test_a_hanging_mirror_costs_one_time_out(hanging: tuple[Site, threading.Event, list[str]]) -> None:
    """S7, L24: the restore goes on with the store; the update fails; nobody waits a second time."""
    site, answered, begun = hanging
    site.workspace.pristine.forget()
    published = read_published(site.store, COLLECTION)
    started = SYSTEM_CLOCK.monotonic()

    restored = bring_forward(site.workspace, published, site.store, site.mirror, Deadline())
    for _ in range(20):
        assert "still does not answer" in update(site).text

    assert Way.WHOLE == restored.way
    assert 0 == restored.mirror_bytes
    assert SYSTEM_CLOCK.monotonic() - started < 5
    assert len(begun) <= 8  # as many as were made at once
    assert len([t for t in threading.enumerate() if t.name.startswith("mirror ")]) == len(begun)

    answered.set()
    for thread in threading.enumerate():
        if thread.name.startswith("mirror "):
            thread.join(5)
    assert MirrorState.UP_TO_DATE == update(site).state


def test_a_call_that_goes_on_after_it_was_abandoned_breaks_nothing(
    hanging: tuple[Site, threading.Event, list[str]],
) -> None:
    """The swap that hung lands later, or is refused because the mirror has moved on: both are sound."""
    site, answered, _ = hanging
    assert isinstance(site.mirror, Mirror)
    plain = site.mirror._store.inner  # type: ignore[attr-defined]
    site.cycle(fact="a")
    seen = find_head(plain, COLLECTION)
    newer = read_head(site.store, COLLECTION)
    assert seen
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.05 s"):
        site.mirror.swap_head(COLLECTION, b"late", serial=newer.head.serial, expected=seen.token)
    assert MirrorState.BROUGHT_FORWARD == update_mirror(site.store, plain, COLLECTION, deadline=Deadline()).state
    before = whole_store(Path(plain.address))

    answered.set()
    for thread in threading.enumerate():
        if thread.name.startswith("mirror "):
            thread.join(5)
    assert before == whole_store(Path(plain.address))


def test_a_pipe_in_the_mirror_hangs_nobody(site: Site, make_site: MakeSite) -> None:
    """S7: something that is no file stands where an object should be."""
    name = next(name for name in sorted(objects(mirror_of(site))) if "/objects/" in name)
    (mirror_of(site) / name).unlink()
    os.mkfifo(mirror_of(site) / name)
    two = make_site("two", mirror=True)

    restored = bring_forward(two.workspace, read_published(two.store, COLLECTION), two.store, two.mirror, Deadline())

    assert (name,) == restored.missed
    assert files_of(site.workspace.pristine.root) == files_of(two.workspace.pristine.root)


def test_every_error_of_a_mirror_reaches_the_caller(site: Site) -> None:
    """A thread of its own hides nothing."""
    assert site.mirror
    mirror = Mirror(site.mirror)

    assert mirror.address == site.mirror.address
    with pytest.raises(ZeroDivisionError):
        mirror.within_time(lambda: 1 // 0)
    assert [*mirror.list(NAMES.all_manifests)] == [*site.mirror.list(NAMES.all_manifests)]
    assert frozenset() == mirror.present(["words/objects/nothing"])
    mirror.delete(["words/objects/nothing"])
    assert abs((mirror.now() - SYSTEM_CLOCK.now()).total_seconds()) < 60


def test_a_mirror_with_many_names_is_asked_for_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S11: a mount that takes milliseconds for a file does not run out of the time of a call when it has thousands."""
    folder = tmp_path / COLLECTION / "manifests"
    folder.mkdir(parents=True)
    names = [f"{COLLECTION}/manifests/{number:04d}" for number in range(300)]
    for name in names:
        (tmp_path / name).touch()
    mirror, looks = Mirror(DirectoryStore(tmp_path, mirror_only=True)), Counter[threading.Thread]()

    def noted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            looks[threading.current_thread()] += 1
            return function(*given)

        return call

    for function in ("_look_at", "is_file", "remove_file"):
        monkeypatch.setattr(directory, function, noted(getattr(directory, function)))

    assert names == [row.name for row in mirror.list(f"{COLLECTION}/")]
    assert frozenset(names) == mirror.present([*names, "words/manifests/none"])
    assert names == [row.name for row in mirror.remains(f"{COLLECTION}/")]
    mirror.delete(names)

    assert [] == [*mirror.list(f"{COLLECTION}/")]
    assert 1_200 < sum(looks.values())
    assert 100 >= max(looks.values()), "each call has a thread of its own"


def test_an_erasure_in_a_mirror_gets_time_for_all_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S11: it looks at every name and removes some in one call, since no version of them may be left."""
    folder = tmp_path / COLLECTION / "manifests"
    folder.mkdir(parents=True)
    for number in range(640):
        (folder / f"{number:04d}").touch()
    times = list[float]()

    def noting(answers: list[Future[object]], seconds: float) -> object:
        times.append(seconds)
        return wait(answers)

    monkeypatch.setattr(mirroring, "wait", noting)
    mirror = Mirror(DirectoryStore(tmp_path, mirror_only=True), timeout_seconds=5)

    assert 640 == len(mirror.erase(f"{COLLECTION}/", lambda row: True))
    assert ({5}, 105) == (set(times[:-1]), times[-1])
