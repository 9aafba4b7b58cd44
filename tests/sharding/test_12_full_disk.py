"""C15, S4: one task of a reshard has a really full disk; the others' work stays, and it goes on when there is room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.bulk import bring as bringing
from chroma_lifecycle.bulk import resharding
from chroma_lifecycle.bulk.bring import Place, bring
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import LifecycleError, NoRoom
from tests.support.acts import SHARDED_POOL, Reshards
from tests.support.mounts import leave_free, mounted
from tests.support.resharding import TAIL_BUDGET, Reshard, read_here
from tests.support.sharded import ShardedWorld
from tests.support.watching import whole_store

SHARDS = 8


def test_a_reshard_whose_one_task_has_a_full_disk_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are served as before; seven shards are brought and the eighth says what it lacks; then it alone is."""
    monkeypatch.setattr(bringing, "read_chroma_delta", read_here)
    world = Reshards().prepare(tmp_path / "world")
    assert isinstance(world, ShardedWorld)
    reshard, before = Reshard(world, SHARDS), world.records()
    layout = reshard.begin()
    coming = replace(layout, generation=layout.newest_generation, shards=layout.coming, coming=())
    full = coming.shard_of(next(id_ for records in SHARDED_POOL.values() for id_ in records))
    with mounted(tmp_path / "small", "size=96m") as disk:
        small = Place(world.store, disk / "task", SYSTEM_CLOCK, "test")
        told = []
        for count in (0, 65_536, 31 << 20):
            leave_free(disk, count)
            with pytest.raises(NoRoom) as refused:
                bring(layout, full, small, tail_budget=TAIL_BUDGET)
            told.append(refused.value.message)
            left = {path.name.partition("-")[0] for path in (disk / "task").glob("*/*")}
            assert not left & {"working", "restoring", "kept"}, left
        for shard in coming.shards:
            if shard != full:
                place = Place(world.store, tmp_path / shard.name, SYSTEM_CLOCK, "test")
                bring(layout, shard, place, tail_budget=TAIL_BUDGET)
        others = whole_store(world.home / "store")
        with pytest.raises(LifecycleError, match=full.name):
            resharding.close(world.store, "words", layout.newest_generation, "test")
            resharding.finish(world.store, "words", layout.newest_generation, "test")
        assert before == world.records()

        (disk / "filler").unlink()
        brought = bring(layout, full, small, tail_budget=TAIL_BUDGET)

    assert "bytes are missing" in told[-1]
    assert brought.records
    objects = {name: body for name, body in others.items() if "/objects/" in name or "/manifests/" in name}
    assert objects.items() <= whole_store(world.home / "store").items()
    reshard.run()
    assert SHARDS == len(world.layout().shards)
    assert before == world.records()
