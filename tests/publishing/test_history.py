"""History: what `log` walks, and what `verify` reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.errors import BadInput, HeadMoved, NoTime, ObjectMissing
from chroma_lifecycle.publishing import publication
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.history import find_version, verify_store, walk
from chroma_lifecycle.publishing.published import read_manifest, read_published
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Version
from tests.support.snapshots import COLLECTION, Site
from tests.support.stores import FaultyStore, after
from tests.support.watching import WatchedStore, whole_store

NAMES = Names(COLLECTION)


@pytest.fixture
def site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Five versions: a base, two packs in objects, and two inside their manifests."""
    with monkeypatch.context() as patch:
        patch.setattr(publication, "INLINE_BYTES", 0)
        site.cycle(fact="2", label="A")
        site.cycle(fact="3", label="B")
    site.cycle(fact="4")
    site.cycle(fact="5")
    return site


def head_of(site: Site) -> Head:
    return read_head(site.store, COLLECTION).head


def amend(site: Site, **changes: object) -> None:
    amend_head(site.store, COLLECTION, lambda head: replace(head, **changes), writer="test")  # type: ignore[arg-type]


def test_history_is_the_walk_of_parents(site: Site, make_site: Callable[..., Site]) -> None:
    """A manifest that lost its swap lies beside the others, and is none of them."""
    healthy, other = site.store, make_site("other")
    site.store = FaultyStore(healthy, swaps=[after(lambda: other.cycle(fact="6"))])
    with pytest.raises(HeadMoved):
        site.cycle(fact="lost")

    walked = [*walk(healthy, read_head(healthy, COLLECTION).head)]

    assert [6, 5, 4, 3, 2, 1] == [ref.version.number for ref, _ in walked]
    assert "other" == walked[0][1].writer
    listed = {row.name for row in healthy.list(NAMES.all_manifests)}
    assert 1 == len(listed - {ref.name for ref, _ in walked})


def test_the_walk_ends_at_the_floor(site: Site) -> None:
    """L11: what is below it may have been swept already."""
    amend(site, floor=Version(3))
    first = [ref for ref, _ in walk(site.store, replace(head_of(site), floor=Version(1)))][-1]
    site.store.delete([first.name])

    assert [5, 4, 3] == [ref.version.number for ref, _ in walk(site.store, head_of(site))]
    assert [5, 4] == [ref.version.number for ref, _ in walk(site.store, head_of(site), down_to=Version(4))]


def test_a_hole_in_the_history_is_told(site: Site) -> None:
    """It never looks like the end."""
    gone = find_version(site.store, head_of(site), Version(3))[0]
    site.store.delete([gone.name])

    with pytest.raises(ObjectMissing, match=gone.name):
        [*walk(site.store, head_of(site))]


def test_a_version_is_found_by_its_number(site: Site) -> None:
    """In the walk, or among the pins."""
    third = find_version(site.store, head_of(site), Version(3))
    assert Version(3) == third[1].version
    amend(site, floor=Version(5), pins={"kept": third[0]})

    assert third == find_version(site.store, head_of(site), Version(3))


@pytest.mark.parametrize("number", [2, 6])
def test_a_version_that_is_not_retained_is_named_with_those_that_are(site: Site, number: int) -> None:
    """Expired, or not published yet."""
    amend(site, floor=Version(3))

    with pytest.raises(BadInput, match=f"version {number} of words is not there: versions 3 to 5 are"):
        find_version(site.store, head_of(site), Version(number))


def test_a_sound_store_is_verified_object_by_object(site: Site) -> None:
    """Everything that the newest version reaches is read, once, and nothing is written."""
    published = read_published(site.store, COLLECTION)
    before = whole_store(Path(site.store.address))
    watched = WatchedStore(site.store)

    verified = verify_store(published, watched)

    assert {} == dict(verified.damage)
    read = [call.removeprefix("read ") for call in watched.calls if call.startswith("read ")]
    assert sorted(published.manifest.reached()) == sorted(read)
    assert 1 == verified.versions
    assert len(published.manifest.reached()) == verified.objects
    assert before == whole_store(Path(site.store.address))


def test_every_damage_is_found_by_its_name(site: Site) -> None:
    """Invariant 9, C3: a flipped bit in any object, a cut, a loss; one fault does not hide another."""
    published = read_published(site.store, COLLECTION)
    root = Path(site.store.address)

    def damaged() -> set[str]:
        return {*verify_store(published, site.store, every_version=True).damage}

    for name in sorted(published.manifest.reached()):
        good = (root / name).read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            (root / name).write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            assert {name} == damaged(), f"byte {place} of {name}"
        (root / name).write_bytes(good[:-1])
        assert {name} == damaged()
        (root / name).unlink()
        assert {name} == damaged()
        (root / name).write_bytes(good)
    assert set() == damaged()


def test_every_retained_version_can_be_verified(site: Site) -> None:
    """What only an older version needs is looked at too."""
    site.publish_base(fact="6")
    published = read_published(site.store, COLLECTION)
    old = find_version(site.store, published.head, Version(5))[1]
    only_old = {name for name in old.reached() - published.manifest.reached() if "/objects/" in name}
    assert 2 < len(only_old)
    site.store.delete(only_old)

    assert {} == dict(verify_store(published, site.store).damage)
    verified = verify_store(published, site.store, every_version=True)

    assert only_old == verified.damage.keys()
    assert 6 == verified.versions


def test_what_is_counted_is_each_object_once(site: Site) -> None:
    """This covers a case where all versions had fewer bytes than the newest alone: manifests were left out at times."""
    site.publish_base(fact="6")
    refs = {ref.version.number: ref for ref, _ in walk(site.store, head_of(site))}
    every = assert_counted(site, [*refs.values()], every_version=True)
    amend(site, floor=Version(6), pins={"a": refs[5], "b": refs[4]})

    assert assert_counted(site, [refs[6]], every_version=False) < every
    assert assert_counted(site, [refs[6], refs[5], refs[4]], every_version=True) < every


def assert_counted(site: Site, refs: list[ManifestRef], *, every_version: bool) -> set[str]:
    """Verify: what these versions need is what is read and counted; return it."""
    names = {name for ref in refs for name in read_manifest(site.store, ref).reached()}
    watched = WatchedStore(site.store)
    verified = verify_store(read_head(site.store, COLLECTION), watched, every_version=every_version)
    sizes = [(Path(site.store.address) / name).stat().st_size for name in names]
    assert (len(refs), len(names), sum(sizes)) == (verified.versions, verified.objects, verified.bytes_read)
    assert sorted(names) == sorted(call.removeprefix("read ") for call in watched.calls if call.startswith("read "))
    return names


@pytest.mark.parametrize("number", [5, 4, 3])
def test_a_damaged_manifest_is_one_of_the_findings(site: Site, number: int) -> None:
    """C3: what was published before it is read all the same, since older HEADs know it; damage is found there too."""
    head = head_of(site)
    refs = {ref.version.number: (ref, manifest) for ref, manifest in walk(site.store, head)}
    first = min(name for name in refs[1][1].reached() if "/objects/" in name)
    for name in (refs[number][0].name, first):
        (Path(site.store.address) / name).write_bytes(b"x")

    newest = verify_store(read_head(site.store, COLLECTION), site.store)
    every = verify_store(read_head(site.store, COLLECTION), site.store, every_version=True)

    assert {refs[number][0].name, first} == every.damage.keys()
    assert (5, ()) == (every.versions, every.notes)
    stored = [
        path for part in ("objects", "manifests") for path in (Path(site.store.address) / COLLECTION / part).rglob("*")
    ]
    assert sum(path.stat().st_size for path in stored if path.is_file()) == every.bytes_read
    assert (refs[number][0].name in newest.damage) == (number == 5 or refs[number][0].name in refs[5][1].reached())


def test_what_nothing_leads_to_is_told(site: Site) -> None:
    """C3: behind a damaged manifest, where no older HEAD is left and two manifests have the number before."""
    head = head_of(site)
    refs = [ref for ref, _ in walk(site.store, head)]
    for old in sorted((Path(site.store.address) / COLLECTION / "heads").iterdir())[:-1]:
        old.unlink()
    (Path(site.store.address) / refs[0].name).write_bytes(b"x")
    twin = Names(COLLECTION).manifest(refs[1].version, refs[1].era, "f" * 16)
    (Path(site.store.address) / twin).write_bytes(b"of a loser")

    found = verify_store(read_head(site.store, COLLECTION), site.store, every_version=True)

    assert {refs[0].name} == found.damage.keys()
    assert ("version 4: nothing that is left says which of its manifests was published",) == found.notes


def test_verifying_stops_when_its_time_is_up(site: Site) -> None:
    """It says so; half a verification is none."""
    with pytest.raises(NoTime, match="verifying an object"):
        verify_store(read_published(site.store, COLLECTION), site.store, deadline=Deadline(SYSTEM_CLOCK.monotonic()))
