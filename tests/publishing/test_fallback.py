"""C3: past damage, to the newest version that is sound: of parts, of packs, and of the manifests that lead there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.publishing.fallback import Sound, restore_sound
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.publication import Publication
from chroma_lifecycle.publishing.retention import expire, pin
from chroma_lifecycle.publishing.sweep import sweep
from chroma_lifecycle.publishing.unpack import Stores
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import Version
from tests.support.memory_store import LaterStore
from tests.support.snapshots import COLLECTION, Site, files_of
from tests.support.watching import Crash

MakeSite = Callable[..., Site]


@pytest.fixture
def history(make_site: MakeSite) -> list[Manifest]:
    """Five versions; the third begins a new base, and nothing is left of older HEADs than the newest."""
    site = make_site("one")
    found = [site.initialise().manifest, site.cycle(fact="2", label="A").manifest]
    found.append(site.publish_base(fact="3").manifest)
    site.restore()
    found += [site.cycle(fact="4").manifest, site.cycle(fact="5", label="B").manifest]
    forget_heads(DirectoryStore(Path(site.store.address)))
    return found


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


def restored(store: DirectoryStore, to: Path, mirror: DirectoryStore | None = None, **given: object) -> Sound:
    shutil.rmtree(to, ignore_errors=True)
    return restore_sound(to, read_head(store, COLLECTION).head, Stores(store, mirror), **given)  # type: ignore[arg-type]


def damage(store: DirectoryStore, name: str) -> None:
    place = Path(store.address) / name
    place.write_bytes(place.read_bytes()[:-1] + b"x")


def test_every_object_in_turn(history: list[Manifest], store: DirectoryStore, tmp_path: Path) -> None:
    """A part of the base, a pack, a manifest, damaged or gone: the newest version that does not need it, whole."""
    whole = {}
    for each in history:
        assert each == restored(store, tmp_path / "out", number=each.version.number).manifest
        whole[each.version] = files_of(tmp_path / "out")
    names = sorted({name for each in history for name in each.reached()})
    for name in names:
        place = Path(store.address) / name
        good = place.read_bytes()
        sound = [each for each in history if name not in each.reached()]
        for harmed in (good[:-1], None):
            place.write_bytes(harmed) if harmed else place.unlink()
            if sound:
                found = restored(store, tmp_path / "out")
                assert (sound[-1], whole[sound[-1].version]) == (found.manifest, files_of(tmp_path / "out")), name
                if sound[-1] is not history[-1]:
                    assert any(name in text for text in found.damage)
            place.write_bytes(good)
    assert len(names) > 6


def test_all_packs_and_one_base_are_damaged(history: list[Manifest], store: DirectoryStore, tmp_path: Path) -> None:
    """Several at once: what is told is each version that was passed over, and why."""
    damage(store, history[4].name)
    damage(store, min(history[2].chain.names() - history[1].chain.names()))

    found = restored(store, tmp_path / "out")

    assert history[1] == found.manifest
    assert [5, 4, 3] == [int(text.split()[1].rstrip(":")) for text in found.damage]


def test_a_damaged_manifest_is_taken_from_the_mirror(
    history: list[Manifest], store: DirectoryStore, tmp_path: Path
) -> None:
    """Then nothing is lost, and nothing is told."""
    shutil.copytree(store.address, tmp_path / "mirror", dirs_exist_ok=True)
    for each in history[1:]:
        damage(store, each.name)

    found = restored(store, tmp_path / "out", DirectoryStore(tmp_path / "mirror", mirror_only=True))

    assert (history[-1], ()) == (found.manifest, ())


def leave_a_loser(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the manifest of a version that was never published."""

    def die(*given: object) -> None:
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(Publication, "move_head", die)
        site.cycle(fact="loser")


def forget_heads(store: DirectoryStore) -> None:
    """As in a bucket without versioning."""
    for head in sorted((Path(store.address) / COLLECTION / "heads").iterdir())[:-1]:
        head.unlink()


def test_what_was_never_published_is_not_taken(
    site: Site, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of two manifests of version 2 nothing says which was HEAD's, so it is version 1, which both of them name."""
    first = site.restore().manifest
    leave_a_loser(site, monkeypatch)
    second = site.cycle(fact="2").manifest
    damage(store, site.cycle(fact="3").manifest.name)
    forget_heads(store)

    found = restored(store, tmp_path / "out")

    assert first == found.manifest
    assert "version 2: nothing that is left says which of its manifests was published" in found.damage
    damage(store, second.name)
    assert first == restored(store, tmp_path / "out").manifest  # what is left of version 2 is the wrong one


def test_one_who_lost_tells_what_was_published(
    site: Site, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its parent was HEAD when it began."""
    leave_a_loser(site, monkeypatch)
    second = site.cycle(fact="2").manifest
    leave_a_loser(site, monkeypatch)
    damage(store, site.cycle(fact="3").manifest.name)
    forget_heads(store)

    assert second == restored(store, tmp_path / "out").manifest


def test_an_older_head_tells_what_was_published(
    site: Site, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A directory keeps its last HEADs, a bucket with versioning too: the winner of a race is known by them."""
    leave_a_loser(site, monkeypatch)
    second = site.cycle(fact="2").manifest
    damage(store, site.cycle(fact="3").manifest.name)

    assert second == restored(store, tmp_path / "out").manifest


def test_a_version_and_a_time_bound_what_is_taken(
    history: list[Manifest], store: DirectoryStore, tmp_path: Path
) -> None:
    """Not newer than asked for; a number that was never reached is refused."""
    damage(store, history[3].name)

    assert history[2] == restored(store, tmp_path / "out", number=4).manifest
    moment = history[2].written_at - timedelta(microseconds=1)
    assert history[1] == restored(store, tmp_path / "out", moment=moment).manifest
    with pytest.raises(BadInput, match="version 6 of words is not there: the newest is 5"):
        restored(store, tmp_path / "out", number=6)


def test_a_pin_below_the_floor_is_the_last_resort(site: Site, store: DirectoryStore, tmp_path: Path) -> None:
    """Where no version of the history can be used, the newest pinned one is."""
    first = site.restore().manifest
    pin(site.store, COLLECTION, "p", Version(1), writer="test")
    site.cycle(fact="2")
    newest = site.publish_base(fact="3").manifest
    expire(site.store, COLLECTION, keep=1, writer="test")
    sweep(LaterStore(site.store, timedelta(days=2)), COLLECTION, delete=True, writer="test")  # type: ignore[arg-type]
    assert Version(3) == read_head(site.store, COLLECTION).head.floor
    for name in newest.chain.names() - first.chain.names():
        damage(store, name)
    damage(store, newest.name)

    assert first == restored(store, tmp_path / "out").manifest


def test_when_nothing_is_sound_all_of_it_is_told(
    history: list[Manifest], store: DirectoryStore, tmp_path: Path
) -> None:
    """Exit code 4, every version's damage, and nothing left behind."""
    for each in history:
        damage(store, each.name)

    with pytest.raises(Corrupt, match=r"no version of words could be restored: version 5: .*version 1: ") as told:
        restored(store, tmp_path / "out")

    assert "--mirror" in told.value.hint
    assert not (tmp_path / "out").exists()
