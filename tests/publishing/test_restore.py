"""Restoring: no more bytes than are lacking, every one proven, and all of a version or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.clock import Deadline, wait_until
from chroma_lifecycle.errors import (
    BadInput,
    Corrupt,
    NoRoom,
    NotInitialised,
    ObjectMissing,
    StoreUnavailable,
)
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing import fetch, publication, restore
from chroma_lifecycle.publishing.fetch import Sources, fetch_part, verify_part
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.restore import Restored, Way, bring_forward, read_published, restore_to
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.snapshot.chain import BasePart, Chain
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.manifest import encode_manifest
from chroma_lifecycle.snapshot.manifest_object import manifest_object
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Era, digest_of
from tests.support.snapshots import COLLECTION, Site, facts, files_of
from tests.support.versions import digest, pages_of
from tests.support.watching import WatchedStore, whole_store

NAMES = Names(COLLECTION)
MakeSite = Callable[..., Site]
NO_DEADLINE = Deadline()


def root_of(site: Site) -> Path:
    return Path(site.store.address)


def bring(site: Site, **changes: object) -> Restored:
    """Bring the site's workspace to what is published."""
    published = read_published(site.store, COLLECTION, local=site.workspace.pristine.version())
    return bring_forward(site.workspace, published, site.store, site.mirror, NO_DEADLINE)


def reads(watched: WatchedStore) -> list[str]:
    return [call.removeprefix("read ") for call in watched.calls if call.startswith("read ")]


def fetched(part: BasePart, store: Store) -> bytes:
    """The raw bytes of a part."""
    raw = bytearray()

    def take(offset: int, piece: memoryview) -> None:
        assert len(raw) == offset
        raw.extend(piece)

    digests = fetch_part(part, NAMES, Sources(store), take)
    assert pages_of(bytes(raw)).digests == digests
    return bytes(raw)


def damage(root: Path, name: str) -> None:
    """Flip a bit in the middle of a stored object."""
    data = bytearray((root / name).read_bytes())
    data[len(data) // 2] ^= 1
    (root / name).write_bytes(data)


# Which bytes are moved.


def test_a_warm_workspace_reads_nothing_but_head(site: Site) -> None:
    """D1: the stamp has HEAD's manifest digest, so there is nothing to ask for."""
    site.store = watched = WatchedStore(site.store)

    assert Way.WARM == bring(site).way
    assert ["read_head words"] == watched.calls


def test_a_workspace_that_is_behind_reads_the_packs_that_it_lacks(make_site: MakeSite) -> None:
    """And none of those that it has: bytes follow the change."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    one.cycle(fact="first", label="A")
    two.restore()
    versions = [one.cycle(fact=f"{n}", label=f"L{n}") for n in range(3)]
    two.store = watched = WatchedStore(two.store)

    restored = bring(two)

    assert Way.PACKS == restored.way
    newest = versions[-1].manifest
    # The newest manifest brings its own pack; the two before it are carried by their manifests.
    assert [newest.name, *(each.manifest.name for each in versions[:-1])] == sorted(
        reads(watched), key=lambda name: (name != newest.name, name)
    )
    assert files_of(one.workspace.pristine.root) == files_of(two.workspace.pristine.root)


def test_packs_in_objects_of_their_own_are_read_too(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack that is too long to travel in a manifest."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    one.cycle(fact="a", label="A")

    restored = bring(two)

    assert Way.PACKS == restored.way
    assert restored.store_bytes == one.restore().manifest.stored_bytes
    assert {"a"} == facts(two.workspace.pristine.root).keys()


def test_a_version_of_the_same_content_needs_its_manifest_alone(make_site: MakeSite) -> None:
    """After a re-base, or a rollback to what the workspace has."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    one.cycle(fact="a")
    two.restore()
    parent = one.restore()
    with one.sealed() as sealed:
        published = one.publish(sealed, parent)
    assert published.manifest.content == parent.manifest.content
    two.store = watched = WatchedStore(two.store)

    assert Way.RELABELLED == bring(two).way
    assert [published.manifest.name] == reads(watched)
    assert Way.WARM == bring(two).way


def test_a_pin_leaves_a_warm_workspace_warm(site: Site) -> None:
    """A swap of HEAD that publishes nothing leaves the manifest's digest."""
    amend_head(site.store, COLLECTION, lambda head: replace(head, pins={"p": head.manifest}), writer="x")

    assert Way.WARM == bring(site).way


@pytest.mark.parametrize("bound", ["", "snapshot.pack_run._RUN_BYTES", "publishing.assemble._PACK_BYTES_AT_ONCE"])
def test_a_cold_workspace_reads_the_base_and_every_pack(
    make_site: MakeSite, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each of them once, whether memory has room for all packs at once or not."""
    if bound:
        monkeypatch.setattr(f"chroma_lifecycle.{bound}", 1)
    one, two = make_site("one"), make_site("two")
    one.initialise()
    one.cycle(fact="a", label="A")
    newest = one.cycle(fact="b", label="B").manifest
    two.store = watched = WatchedStore(two.store)

    assert Way.WHOLE == bring(two).way
    names = reads(watched)
    assert sorted(newest.reached()) == sorted(names)
    assert files_of(one.workspace.pristine.root) == files_of(two.workspace.pristine.root)


def test_a_whole_restore_takes_what_it_can_from_the_old_copy(make_site: MakeSite, tmp_path: Path) -> None:
    """The bytes of an unchanged file are proven and copied, not moved again."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    assert () == one.publish_base(fact="base").manifest.chain.packs
    two.store = watched = WatchedStore(two.store)

    restored = bring(two)

    assert Way.WHOLE == restored.way
    newest = restored.published.manifest
    ledger = next(file for file in newest.chain.base.files if file.path == LEDGER)
    assert [newest.name, ledger.parts[0].object] == reads(watched)


# The mirror.


def test_bytes_come_from_the_mirror_first(make_site: MakeSite) -> None:
    """And from the store what the mirror has not; each miss is told."""
    one = make_site("one", mirror=True)
    one.initialise()
    newest = one.cycle(fact="a", label="A").manifest
    missing = min(newest.chain.base.parts, key=lambda part: part.stored_bytes).object
    for name in newest.reached():
        one.mirror.write(name, one.store.read(name, limit_bytes=1 << 30))  # type: ignore[union-attr]
    (Path(one.mirror.address) / missing).unlink()  # type: ignore[union-attr]
    two = make_site("two", mirror=True)
    two.store = watched = WatchedStore(two.store)

    restored = bring(two)

    assert (missing,) == restored.missed
    assert {newest.name, missing} == {*reads(watched)}
    assert restored.mirror_bytes > restored.store_bytes > 0


def test_a_damaged_mirror_is_passed_over(make_site: MakeSite) -> None:
    """C8: only what is proven is used; the store has it."""
    one = make_site("one", mirror=True)
    one.initialise()
    newest = one.restore().manifest
    for name in newest.reached():
        one.mirror.write(name, one.store.read(name, limit_bytes=1 << 30))  # type: ignore[union-attr]
    part = next(iter(newest.chain.base.parts)).object
    damage(Path(one.mirror.address), part)  # type: ignore[union-attr]
    two = make_site("two", mirror=True)

    restored = bring(two)

    assert (part,) == restored.missed
    assert files_of(one.workspace.pristine.root) == files_of(two.workspace.pristine.root)


# Damage.


def test_a_damaged_or_missing_object_is_named_and_nothing_is_left_behind(make_site: MakeSite, tmp_path: Path) -> None:
    """C3, C4: for every object of a version: flipped, cut off, gone."""
    one = make_site("one")
    one.initialise()
    newest = one.cycle(fact="a", label="A").manifest
    two = make_site("two")
    for number, name in enumerate(sorted(newest.reached() - {newest.name})):
        place = root_of(one) / name
        good = place.read_bytes()
        flipped = bytes([good[0] ^ 1]) + good[1:]
        for harmed in (flipped, good[:-1], None):
            place.unlink() if harmed is None else place.write_bytes(harmed)
            with pytest.raises(Corrupt, match=name):
                bring(two)
            with pytest.raises((Corrupt, ObjectMissing), match=name):
                restore_to(tmp_path / f"plain {number}", newest, one.store, None, NO_DEADLINE)
            place.write_bytes(good)
        assert not (tmp_path / f"plain {number}").exists()
        assert ["lock"] == sorted(path.name for path in two.workspace.root.iterdir())
        assert [] == list(tmp_path.glob(".plain*"))


def test_a_sound_block_that_is_another_part_is_refused(site: Site) -> None:
    """A block's name proves its bytes; whether they belong there is proven by the manifest."""
    parts = sorted(site.restore().manifest.chain.base.parts, key=lambda part: -part.size)
    wrong = replace(parts[0], object=parts[1].object, stored_bytes=parts[1].stored_bytes)

    for each in (wrong, replace(wrong, size=parts[1].size)):
        with pytest.raises(Corrupt, match=f"{parts[1].object} is damaged: it does not hold"):
            fetched(each, site.store)


@pytest.mark.parametrize("processors", [1, 2])
def test_as_many_blocks_are_unpacked_at_once_as_there_are_processors(
    site: Site, monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    """More would take turns at Python's lock; others fetch meanwhile."""
    monkeypatch.setattr(fetch, "processor_count", lambda: processors)
    parts = site.restore().manifest.chain.base.parts
    sources, at_work, most = Sources(site.store), set[int](), list[int]()

    def taken(number: int, part: BasePart) -> None:
        def take(offset: int, piece: memoryview) -> None:
            del offset, piece
            at_work.add(number)
            # Until one too many is here, or, as it should be, nobody comes for a while.
            wait_until(lambda: len(at_work) > processors, timeout_seconds=0.2)
            most.append(len(at_work))
            at_work.discard(number)

        fetch_part(part, NAMES, sources, take)

    in_parallel(lambda each: taken(*each), enumerate([*parts, *parts, *parts][:6]))

    assert processors == max(most)


def test_a_flipped_bit_is_named_or_changes_nothing(site: Site) -> None:
    """C3: no digest comes before the decoder, which gives the bytes that were published, or the object's name."""
    part = min(site.restore().manifest.chain.base.parts, key=lambda part: part.stored_bytes)
    place = root_of(site) / part.object
    good = place.read_bytes()

    def told() -> object:
        try:
            return fetched(part, site.store)
        except Corrupt as problem:
            return problem.message.partition(":")[0]

    ends = Counter[object]()
    sound = told()
    for bit in range(8 * len(good)):
        harmed = bytearray(good)
        harmed[bit // 8] ^= 1 << bit % 8
        place.write_bytes(harmed)
        with pytest.raises(Corrupt, match=f"{part.object} is damaged: its bytes do not have the digest in its name"):
            verify_part(part, NAMES, Sources(site.store))
        ends[told()] += 1
    # A bit of a frame's header says nothing, and that the last block is the last one is clear without it.
    assert {sound, f"{part.object} is damaged"} == ends.keys()
    assert ends[sound] < 5


def test_a_block_of_a_newer_format_is_told_as_one(site: Site) -> None:
    """C12: it has the digest in its name, so it is no damage."""
    part = site.restore().manifest.chain.base.files[0].parts[0]
    newer = site.store.read(part.object, limit_bytes=1 << 30).replace(b"block 1\n", b"block 7\n")
    name = NAMES.object(Era.parse(f"{'0' * 16}.0"), digest_of(newer))
    site.store.write(name, newer)

    with pytest.raises(BadInput, match="format version 7"):
        fetched(replace(part, object=name), site.store)


def test_a_copy_that_is_damaged_below_a_pack_is_restored_whole(make_site: MakeSite) -> None:
    """C8: a page that a pack is a difference to is hashed before it is used."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    one.cycle(fact="a", label="A")
    place = two.workspace.pristine.root / "chroma" / "chroma.sqlite3"
    data = bytearray(place.read_bytes())
    for start in range(0, len(data), 4_096):
        data[start + 2_000] ^= 1
    place.write_bytes(data)

    assert Way.WHOLE == bring(two).way
    assert files_of(one.workspace.pristine.root) == files_of(two.workspace.pristine.root)


def test_a_local_part_is_proven_before_it_is_used(make_site: MakeSite) -> None:
    """C8: an old copy that is damaged gives nothing; the part comes from the store."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    one.publish_base(fact="base")
    path = next(path for path in (two.workspace.pristine.root / "chroma").rglob("data_level0.bin"))
    path.write_bytes(b"\1" + path.read_bytes()[1:])

    assert Way.WHOLE == bring(two).way
    assert files_of(one.workspace.pristine.root) == files_of(two.workspace.pristine.root)


def test_parts_that_do_not_make_their_file_are_refused(site: Site, tmp_path: Path) -> None:
    """Sound blocks, each for itself, are not yet the file that the manifest promises."""
    manifest = site.restore().manifest
    base, wrong = manifest.chain.base, replace(manifest.files[0], digest=digest("another"))
    lying = replace(
        manifest,
        files=(wrong, *manifest.files[1:]),
        chain=Chain(replace(base, files=(replace(base.files[0], digest=wrong.digest), *base.files[1:]))),
    )

    with pytest.raises(Corrupt, match=rf"the parts of {wrong.path} do not make the file"):
        restore_to(tmp_path / "plain", lying, site.store, None, NO_DEADLINE)
    seen = read_head(site.store, COLLECTION)
    site.store.write(lying.name, manifest_object(lying))
    ref = ManifestRef(lying.name, digest_of(encode_manifest(lying)))
    published = Published(replace(seen, head=replace(seen.head, manifest=ref)), lying)
    assert {lying.name: f"the parts of {wrong.path} do not make the file"} == verify_store(published, site.store).damage


def test_damage_in_the_copy_is_found_by_hashing_it_again(site: Site) -> None:
    """The quick check's time: every byte of the copy is read."""
    place = site.workspace.pristine.root / "chroma" / "chroma.sqlite3"
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)

    assert Way.WARM == bring(site).way
    with pytest.raises(Corrupt, match=r"chroma\.sqlite3 is not as published"):
        site.workspace.pristine.hash_again()
    assert Way.WHOLE == bring(site).way
    site.workspace.pristine.hash_again()


@pytest.mark.parametrize("harm", ["a file less", "a file more", "a byte less", "another stamp", "no leaf digests"])
def test_a_copy_that_is_not_as_the_stamp_says_is_not_used(site: Site, harm: str) -> None:
    """C8: half of a copy is no copy."""
    workspace = site.workspace
    match harm:
        case "a file less":
            (workspace.pristine.root / LEDGER).unlink()
        case "a file more":
            (workspace.pristine.root / "chroma" / "chroma.sqlite3-journal").touch()
        case "a byte less":
            path = workspace.pristine.root / LEDGER
            path.write_bytes(path.read_bytes()[:-1])
        case "another stamp":
            stamp = workspace.root / "stamp"
            stamp.write_bytes(stamp.read_bytes().replace(b'"version":1', b'"version":2'))
        case "no leaf digests":
            (workspace.root / "pages" / LEDGER).write_bytes(b"")
    reopened = Site(workspace, site.store)
    workspace.pristine._known = None  # as after a start

    assert Way.WHOLE == bring(reopened).way
    assert Way.WARM == bring(reopened).way


# HEAD.


def test_a_missing_head_is_an_error_that_names_the_way_out(make_site: MakeSite) -> None:
    """L13: and nothing is written, to the store or to the workspace."""
    site = make_site()

    with pytest.raises(NotInitialised, match=r"chroma-lifecycle init.*chroma-lifecycle recover"):
        site.restore()
    assert {} == whole_store(root_of(site))


def test_a_head_that_names_a_missing_manifest_is_told(site: Site) -> None:
    """L13: a store that was copied half-way."""
    name = read_head(site.store, COLLECTION).head.manifest.name
    (root_of(site) / name).unlink()

    with pytest.raises(Corrupt, match=rf"HEAD of words names {name}, which is not in"):
        read_published(site.store, COLLECTION)


def test_a_damaged_manifest_is_told(site: Site) -> None:
    """L13, C3: HEAD has its digest."""
    name = read_head(site.store, COLLECTION).head.manifest.name
    damage(root_of(site), name)

    with pytest.raises(Corrupt, match=f"{name} is not the manifest that was published"):
        read_published(site.store, COLLECTION)


def test_a_store_that_does_not_answer_is_no_missing_head(site: Site) -> None:
    """L13: what cannot be read is retried and never taken for empty."""

    def fail(number: int, call: str) -> None:
        raise StoreUnavailable("no answer", hint="wait")

    site.store = WatchedStore(site.store, before=fail)
    with pytest.raises(StoreUnavailable):
        site.restore()


def test_a_version_that_is_swept_while_it_is_restored_is_replaced_by_the_newest(make_site: MakeSite) -> None:
    """L12: a 404 half-way means reading HEAD again, and planning again."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    published = read_published(two.store, COLLECTION)
    one.publish_base(fact="base")
    gone = {*published.manifest.reached()} - {*one.restore().manifest.reached()}
    one.store.delete(gone)

    restored = bring_forward(two.workspace, published, two.store, None, NO_DEADLINE)

    assert 2 == restored.published.manifest.version.number
    assert {"base"} == facts(two.workspace.pristine.root).keys()


def test_a_moved_store_is_refused_with_its_address(site: Site) -> None:
    """Readers learn it as writers do."""

    def move(head: Head) -> Head:
        return replace(head, moved_to="s3://elsewhere")

    amend_head(site.store, COLLECTION, move, writer="x")
    with pytest.raises(BadInput, match="s3://elsewhere"):
        read_published(site.store, COLLECTION)


# Room, time, and a plain directory.


def test_a_disk_without_room_is_told_with_the_numbers(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: before a byte is fetched."""
    one, two = make_site("one"), make_site("two")
    needed = one.initialise().manifest.size
    monkeypatch.setattr("chroma_lifecycle.snapshot.disk.free_bytes", lambda directory: 1_000)
    two.store = watched = WatchedStore(two.store)

    with pytest.raises(NoRoom, match=f"needs {needed:,} bytes .* 1,000 are free: {needed - 1_000:,} bytes are missing"):
        bring(two)
    assert [read_head(one.store, COLLECTION).head.manifest.name] == reads(watched)


def test_the_old_copy_goes_first_where_the_disk_cannot_hold_both(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that holds one version is enough to restore another."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    one.publish_base(fact="base")
    monkeypatch.setattr(restore, "free_bytes", lambda directory: 0)

    assert Way.WHOLE == bring(two).way
    assert {"base"} == facts(two.workspace.pristine.root).keys()


def test_a_restore_that_has_no_time_left_goes_on_next_time(make_site: MakeSite) -> None:
    """L14: it is handed back; what was fetched and can be proven is not fetched again, what was damaged since is."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    one.cycle(fact="a", label="A")  # the packs are there before the last part, and must not be written into the others
    published = read_published(two.store, COLLECTION)
    parts = [(file.path, part) for file in published.manifest.chain.base.files for part in file.parts]
    fetched = _Fetches(two.store, most=len(parts) - 2)

    with pytest.raises(StoreUnavailable):
        bring_forward(two.workspace, published, fetched, None, Deadline())
    [half_made] = two.workspace.root.glob("restoring-*")
    assert 0 < len(fetched.names) < len(parts)
    damaged = next(path for path in sorted(half_made.rglob("*")) if path.is_file() and path.stat().st_size)
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    (half_made / "chroma" / "of-another-version").write_bytes(b"x")
    again = _Fetches(two.store)
    restored = bring_forward(two.workspace, published, again, None, Deadline())

    assert published.manifest == restored.published.manifest
    damaged_part = {part.object for path, part in parts if path == damaged.relative_to(half_made).as_posix()}
    assert {part.object for _, part in parts} - {*fetched.names} <= {*again.names}
    assert {*again.names} & {*fetched.names} <= damaged_part
    two.workspace.pristine.hash_again()
    assert {file.path for file in published.manifest.files} == {*files_of(two.workspace.pristine.root)}
    assert not [*two.workspace.root.glob("restoring-*")]


class _Fetches:
    """A store that counts the objects which are read, and is away after *most* of them."""

    def __init__(self, inner: Store, most: int = 1_000) -> None:
        self.names: list[str] = []
        self._inner = inner
        self._most = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        if "/objects/" in name:
            if len(self.names) == self._most:
                raise StoreUnavailable("away", hint="come back later")
            self.names.append(name)
        return self._inner.read(name, limit_bytes=limit_bytes)


def test_a_plain_directory_is_made_of_any_version(site: Site, tmp_path: Path) -> None:
    """It holds chroma/ and the ledger, and nothing else."""
    first = site.restore().manifest
    site.cycle(fact="a", label="A")
    restore_to(tmp_path / "old", first, site.store, None, NO_DEADLINE)
    restore_to(tmp_path / "new", site.restore().manifest, site.store, None, NO_DEADLINE)

    assert {} == facts(tmp_path / "old")
    assert files_of(site.workspace.pristine.root) == files_of(tmp_path / "new")


def test_a_plain_directory_is_never_written_into(site: Site, tmp_path: Path) -> None:
    """What is there belongs to somebody; an empty one is taken."""
    manifest = site.restore().manifest
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(BadInput, match="is not empty"):
        restore_to(tmp_path / "full", manifest, site.store, None, NO_DEADLINE)
    assert ["mine"] == [path.name for path in (tmp_path / "full").iterdir()]
    restore_to(tmp_path / "empty", manifest, site.store, None, NO_DEADLINE)
    assert files_of(site.workspace.pristine.root) == files_of(tmp_path / "empty")
