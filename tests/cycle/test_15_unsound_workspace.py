"""C15, C13, S4: a workspace whose disk fails (FUSE) at any call of a cycle, or that becomes read-only."""

from __future__ import annotations

import errno
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from chroma_lifecycle.publishing.history import verify_store
from tests.support.dying import ends_elsewhere
from tests.support.mounts import mounted
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table
from tests.support.unsound_mount import Mount, unsound_mount
from tests.support.world import COLLECTIONS, World, label

CODES = (errno.EIO, errno.ENOSPC, errno.EROFS)
CASES = int(os.environ.get("COUNT", "6"))
"""How many calls a run lets fail, spread over all that a cycle makes."""


@pytest.fixture
def mount(world: World) -> Iterator[Mount]:
    with unsound_mount(world.home) as there:
        yield there


def ends(world: World, records: list[Any], workspace: str) -> list[str]:
    """Return what a batch ends with in a new container: where a disk fails, the engine may hold a file for good."""
    return ends_elsewhere(world.home, workspace, records)


def test_a_disk_that_fails_at_any_call_of_a_cycle_loses_nothing(world: World, mount: Mount) -> None:
    """C15, C13: EIO, a full disk, a read-only one, at one call or from it on; the next cycle needs no help."""
    write_pool(world)
    table = Table()
    records = story(table)
    assert [] == ends(world, records[:3], "mount")
    mount.sound()
    assert [] == ends(world, records[3:], "mount")
    calls, told = mount.count(), Counter[str]()
    for case in range(CASES):
        batch = [label(table, f"{case}", word=1 + case % 40), label(table, f"{case}", word=30)]
        records += batch
        number = 1 + case * calls // CASES
        mount.fail(number, CODES[case % len(CODES)], lasting=bool(case % 2))
        told.update(ends(world, batch, "mount") or ["done"])
        mount.sound()
        for collection in COLLECTIONS:
            assert not verify_store(world.published(collection), world.store, every_version=True).damage
        if case % 3 == 2:
            assert [] == ends(world, records, "mount")
            expect_model(world, records, mirrored=False)
    assert len(told) > 1, told
    if CASES > 20:
        print(f"{CASES} of {calls} calls: {dict(told)}")
    assert [] == ends(world, records, "mount")
    expect_model(world, records, mirrored=False)


@pytest.fixture
def read_only(world: World) -> Iterator[Any]:
    """The workspace on a disk of its own, and what makes it read-only (ro) and writable (rw)."""
    with mounted(world.home / "disk", "size=96m") as place:

        def remount(mode: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)

        yield remount
        remount("rw")


def test_a_disk_that_becomes_read_only_loses_nothing(world: World, read_only: Any) -> None:
    """C15: `mount -o remount,ro` between two containers: a clear error, HEAD as it was; writable again, it is done."""
    write_pool(world)
    records = story(Table())
    assert [] == ends(world, records[:3], "disk")
    before = {collection: world.published(collection).head for collection in COLLECTIONS}

    read_only("ro")  # it can be while nobody has a file open for writing
    for batch in (records[3:5], records[5:]):
        told = ends(world, batch, "disk")
        assert told in (["BadInput"], ["BadInput"] * len(batch)), told
    assert before == {collection: world.published(collection).head for collection in COLLECTIONS}
    read_only("rw")

    assert [] == ends(world, records[3:], "disk")
    expect_model(world, records)
