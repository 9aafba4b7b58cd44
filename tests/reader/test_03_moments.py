"""L10, L12: readers that begin at any moment of a publish, and one that reads while its version is swept away."""

from __future__ import annotations

import threading
from itertools import count
from pathlib import Path

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing import publication
from chroma_lifecycle.publishing.rebase import rebase
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.reader import SnapshotReader
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.reader.conftest import MakeReader
from tests.support.news import News, said_by, seen_by
from tests.support.watching import WatchedStore
from tests.support.world import World


def look(world: World, place: Path, store: Store | None = None) -> int:
    """Return what a reader that begins now finds."""
    with SnapshotReader(store or world.store, "words", workspace=place) as reader:
        return seen_by(reader)


def test_a_reader_that_begins_at_any_moment_of_a_publish_sees_one_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10: before and after each call of the writer: the version before until HEAD has moved, then the new one."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)  # the pack is an object of its own
    places, seen = count(), list[tuple[str, int]]()

    def moment(number: int, call: str) -> None:
        if "lines" not in call:
            seen.append((call, look(world, world.home / "readers" / str(next(places)))))

    with world.compactor("writer", store=WatchedStore(world.store, before=moment, after=moment)) as machine:
        assert 3 == News(world, machine).publish()

    before, after = [number for number, (call, _) in enumerate(seen) if call == "swap_head words"]
    assert [2] * after == [version for _, version in seen[:after]]
    assert {3} == {version for _, version in seen[after:]}
    assert 0 < before < after == before + 1
    assert {"words/objects", "words/manifests"} <= {"/".join(call.split("/")[:2]).split(" ")[-1] for call, _ in seen}


def test_a_publish_that_fails_after_any_of_its_calls_is_not_seen(
    world: World, read: MakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10: with a fault after each object, and after the manifest: the version before, then the one that came."""
    monkeypatch.setattr(publication, "INLINE_BYTES", 0)
    reader, writes, faults = read(), list[str](), count(1)
    fault = next(faults)

    def fail(number: int, call: str) -> None:
        if call.startswith("write words"):
            writes.append(call)
            if len(writes) == fault:
                raise StoreUnavailable("away", hint="wait")

    with world.compactor("writer", store=WatchedStore(world.store, after=fail)) as machine:
        writer = News(world, machine)
        while not writer.publishes(writes.clear):
            assert fault == len(writes)
            assert 2 == reader.refresh().version == seen_by(reader)
            fault = next(faults)
    assert {"words/objects", "words/manifests"} <= {"/".join(call.split("/")[:2]).split(" ")[-1] for call in writes}
    assert 3 == reader.refresh().version == seen_by(reader)


def test_a_slow_reader_ends_on_its_version_though_it_is_swept(news: News, read: MakeReader) -> None:
    """L12: ten publishes meanwhile, and everything is deleted that the newest version does not need."""
    reader = read()
    with reader.collection() as words:
        assert 2 == said_by(words)
        for _ in range(10):
            newest = news.publish()
        sweep(news.world)
        assert newest == reader.refresh().version
        assert (2, 2) == (words.version, said_by(words))
    assert newest == seen_by(reader)


def sweep(world: World) -> None:
    """Delete what HEAD does not reach, whatever its age."""
    needed = world.published().manifest.reached()
    unneeded = [found.name for part in ("manifests", "objects") for found in world.store.list(f"words/{part}/")]
    world.store.delete([name for name in unneeded if name not in needed])


def test_a_version_that_is_swept_while_it_is_restored_is_passed_over(world: World, news: News) -> None:
    """L12: a reader that has read HEAD, and then finds its objects gone, reads HEAD again."""
    swept, turn = list[int](), threading.Lock()

    def meanwhile(number: int, call: str) -> None:
        with turn:
            if call.startswith("read words/objects") and not swept:
                swept.append(news.publish())
                give_new_base(world)
                sweep(world)

    store = WatchedStore(world.store, before=meanwhile)

    with SnapshotReader(store, "words", workspace=world.home / "slow") as reader, reader.collection() as words:
        assert (4, 3) == (words.version, said_by(words))  # the new base is a version of the same content

    assert [3] == swept
    assert 2 <= store.calls.count("read_head words")


def give_new_base(world: World) -> None:
    """Publish the newest content with a base of its own."""
    with Workspace.open(world.home / "rebasing") as workspace:
        published = bring_forward(workspace, world.published(), world.store, None, Deadline()).published
        rebase(workspace, published, store=world.store, deadline=Deadline(), clock=SYSTEM_CLOCK, writer="test")
