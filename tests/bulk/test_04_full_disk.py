"""C15, S4: one task's disk is really full; the others' work stays, and the job goes on when there is room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.bulk.here import Here
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.errors import LifecycleError, NoRoom
from chroma_lifecycle.publishing.head import find_head
from tests.support.bulk import COLLECTION, Build, data_set_records, ids
from tests.support.mounts import leave_free, mounted
from tests.support.watching import whole_store

SHARDS = 8
FULL = 3
FILES = (ids(0, 300), ids(300, 400))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "size=64m") as place:
        yield place


def full_at_each_size(disk: Path, here: Here, event: dict[str, Any]) -> set[str]:
    """Run a task with room for nothing, for a part, and for nearly what is asked for; return what it says."""
    told = set()
    for count in (0, 65_536, 31 << 20):
        leave_free(disk, count)
        with pytest.raises(NoRoom) as full:
            run_task(event, here)
        told.add(str(full.value))
        assert {"filler", ".bulk"} >= {path.name for path in disk.iterdir()}
        assert [] == [path for path in (disk / ".bulk").rglob("*") if path.is_file() and path.name != "lock"]
    (disk / "filler").unlink()
    return told


def test_a_build_whose_one_task_has_a_full_disk_goes_on(tmp_path: Path, disk: Path) -> None:
    """Seven shards are built and the eighth says what it lacks; then it alone is built, and the layout comes."""
    build = Build(tmp_path, SHARDS).write(*FILES)
    small = replace(build.here, workspace=disk)
    *events, finish = build.events()
    told = set[str]()
    for event in events:
        if (event["task"], event.get("number")) == ("build", FULL):
            told = full_at_each_size(disk, small, event)
            full = event
        else:
            run_task(event, build.here)
    others = whole_store(tmp_path / "store")

    with pytest.raises(LifecycleError) as unfinished:
        run_task(finish, build.here)
    assert find_head(build.store, COLLECTION) is None
    run_task(full, small)
    run_task(finish, build.here)

    assert "notes.1-3 is not built yet" in unfinished.value.message
    assert any(re.search(r"writing [0-9]+ records of notes\.1-3 needs [0-9,]+ bytes .* bytes are missing", each)
               for each in told), told  # fmt: skip
    assert all("notes.1-3" in each for each in told), told
    assert others.items() <= whole_store(tmp_path / "store").items()
    assert data_set_records(*sorted((tmp_path / "data").iterdir())) == build.records()
