"""C15: no room, at whatever write it shows."""

from __future__ import annotations

import pytest

from chroma_lifecycle.errors import NoRoom
from chroma_lifecycle.snapshot import workspace
from tests.support.dying import on_a_limited_disk
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table
from tests.support.watching import whole_store
from tests.support.world import World


def limits(world: World) -> list[int]:
    """Return file sizes from "nothing can be written" over manifests, ledger and database to "all fits"."""
    database = (world.home / "workspace/words/pristine/chroma/chroma.sqlite3").stat().st_size
    ledger = (world.home / "workspace/words/pristine/ledger.sqlite3").stat().st_size
    copies = [0, 512, 5_000, ledger // 2, ledger + 1, database // 2]
    return [*copies, *(database + more for more in (1, 9_000, 18_000)), 4 * database]


def test_a_full_disk_at_any_write_loses_nothing(world: World) -> None:
    """C15: a clear error, or done; HEAD whole, nothing left behind, and the same batch then ends right."""
    write_pool(world)
    records = story(Table())
    world.compact(records[:3])
    before = world.everything()
    ends = []
    for limit in limits(world):
        ends.append(on_a_limited_disk(world.home, records[3:], limit))
        if ends[-1]:
            assert before["words"] == world.records("words")
        for collection in ("words", "lines"):
            left = {path.name.split("-")[0] for path in (world.home / "workspace" / collection).iterdir()}
            assert not left & {"working", "restoring", "kept"}

    kinds = {kind for end in ends for kind in end}
    assert kinds <= {"NoRoom", "StoreUnavailable"}, ends
    assert "NoRoom" in kinds
    assert [] == ends[-1], "the largest limit should let everything through"
    assert 0 == world.compact(records[3:]).failed
    expect_model(world, records)


def test_a_disk_that_cannot_hold_the_working_copy_is_refused_early(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C15, S4: the error says how many bytes are missing, before anything is copied; nothing is published."""
    write_pool(world)
    records = story(Table())
    before = whole_store(world.home / "store")
    with world.compactor() as machine:
        with monkeypatch.context() as patch:
            patch.setattr(workspace, "HEADROOM_BYTES", 1 << 62)
            patch.setattr(workspace, "clone_file", lambda source, target: False)
            with pytest.raises(NoRoom, match=r"a working copy needs [0-9,]+ bytes .* bytes are missing"):
                machine.compact({"Records": records})
        assert before == whole_store(world.home / "store")

        assert 0 == machine.compact({"Records": records}).failed
    expect_model(world, records)
