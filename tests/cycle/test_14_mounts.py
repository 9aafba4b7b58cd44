"""C15, S4, S7: a disk that is really full, and a mount that really hangs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.errors import LifecycleError, NoRoom
from chroma_lifecycle.publishing import mirror
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.mirror import Mirror
from tests.support.mounts import hanging, leave_free, mounted
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.world import COLLECTIONS, World, label

DISK_BYTES = 96 << 20


@pytest.fixture
def disk(world: World) -> Iterator[Path]:
    """The workspace on a disk of its own."""
    with mounted(world.home / "workspace", f"size={DISK_BYTES}") as place:
        yield place


def errors_of(world: World, records: list[Any]) -> list[LifecycleError]:
    """Return what a batch ends with in a new container."""
    with world.compactor() as machine:
        try:
            return [failure.error for failure in machine.compact(in_sqs(records)).failures]
        except LifecycleError as problem:
            return [problem]


def test_a_disk_that_is_full_at_any_step_loses_nothing(world: World, disk: Path) -> None:
    """C15, S4: an error with the numbers, HEAD whole, nothing left behind; with room, the same batch ends right."""
    write_pool(world)
    records = story(Table())
    world.compact(records[:3])
    size = world.published().manifest.size
    told = []
    # Room for nothing, for the lock, for a part of a copy, for a copy and no more, for nearly what is asked for.
    for count in (0, 4_096, 65_536, size // 2, size, 2 * size, 31 << 20):
        leave_free(disk, count)
        told += errors_of(world, records[3:])
        for collection in COLLECTIONS:
            kinds = {path.name.partition("-")[0] for path in (disk / collection).iterdir()}
            assert not kinds & {"working", "restoring", "kept"}, (count, kinds)
            published = world.published(collection)
            assert not verify_store(published, world.store, every_version=True).damage
    (disk / "filler").unlink()

    assert {NoRoom} == {type(problem) for problem in told}, told
    assert any("bytes are missing" in problem.message for problem in told), told
    assert [] == errors_of(world, records[3:])
    expect_model(world, records)


def test_a_mirror_whose_mount_hangs_costs_one_timeout(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S7, L24: one call does not come back, and no other is begun; a cold cycle publishes all the same.

    The mirror catches up.
    """
    begun, fetch = list[object](), mirror._fetch

    def noted(answer: Any, call: Any) -> None:
        begun.append(call)
        fetch(answer, call)

    monkeypatch.setattr(mirror, "_fetch", noted)
    monkeypatch.setattr(Mirror.__init__, "__kwdefaults__", {"timeout_seconds": 0.3})
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact(records[:3])
    shutil.rmtree(world.home / "workspace")  # so that it restores, from the mirror first

    with hanging(world.home / "mirror") as end:
        begun.clear()
        report = world.compact(records[3:])
        waited_for = len(begun)
        end()
    for thread in threading.enumerate():
        if thread.name.startswith("mirror "):
            thread.join(10)

    assert (0, {True}) == (report.failed, {each.mirror_behind for each in report.collections})
    assert all(each.mirror and "answer" in each.mirror.text for each in report.collections), report.collections
    assert 1 == waited_for
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mirror ")]
    expect_model(world, records, mirrored=False)
    assert 0 == world.compact([label(table, "late", word=5), label(table, "late", word=6)]).failed
    for collection in COLLECTIONS:
        assert world.published(collection).manifest == world.published(collection, world.mirror).manifest
