"""Resync of a collection in shards: the table is read once, and each shard comes in step with its items; reapply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.errors import BadInput, Sharded
from chroma_lifecycle.repair.reapplying import reapply
from chroma_lifecycle.repair.resyncing import Resynced
from chroma_lifecycle.repair.resyncing_shards import resync_shards
from chroma_lifecycle.repair.rollback import rollback
from chroma_lifecycle.sharding.works import lineage_surroundings
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Version
from chroma_lifecycle.wiring import surroundings
from tests.sharding.test_01_compaction import CATALOGUE, A, B, label, run
from tests.support.repairs import site
from tests.support.scanned import Scan, images
from tests.support.sharded import ShardedWorld
from tests.support.table import Table
from tests.support.telling import ToldTable


class Once(Scan):
    """A scan that counts how often it was begun."""

    begun = 0

    def pages(self) -> Any:
        self.begun += 1
        return super().pages()


def resync(world: ShardedWorld, scan: Scan, *, apply: bool = True) -> dict[str, Resynced]:
    around = replace(surroundings(world.settings), mapping=world.mapping, status=world.status)

    def own(name: str) -> Workspace:
        return Workspace.open(world.home / "resyncing" / name)

    return {shard.name: done for shard, done in resync_shards(around, own, "words", scan, dry_run=not apply)}


def differing(found: dict[str, Resynced]) -> set[str]:
    return {name for name, done in found.items() if done.differences.missing or done.differences.missed}


def test_what_the_stream_did_not_bring_is_brought_to_each_shard(world: ShardedWorld) -> None:
    """L9: a run and labels of two partitions were lost; one reading of the table mends both, and tells their runs."""
    table = Table()
    world.status = ToldTable(table)
    world.write_delta("a", {A: (1, "text", {})})
    world.write_delta("b", {B: (2, None, {})})
    brought = run(table, "a")
    lost = [run(table, "b"), label(table, "a"), label(table, "b", "date")]
    world.compact([brought])
    scan = Once(images(table))

    assert {"words.1-1", "words.1-2"} == differing(resync(world, scan, apply=False))
    assert {A: (1, "text", {})} == world.records()
    done = resync(world, scan)
    assert (2, True) == (scan.begun, all(not each.problems for each in done.values()))
    labels = {"label_status": "validated"}
    expected = {A: (1, "text", {"label_total": True, **labels}), B: (2, None, {"label_date": True, **labels})}
    assert expected == world.records()
    states = {item["words_state"] for item in table.items.values() if "words_state" in item}
    assert {"COMPLETED"} == states
    assert set() == differing(resync(world, Once(images(table)), apply=False))
    world.compact(lost)
    assert expected == world.records()


def test_a_table_of_something_else_is_refused(world: ShardedWorld) -> None:
    """Everything would seem to be gone."""
    table = Table()
    table.put("SHOP#1", "ORDER#1")
    with pytest.raises(BadInput, match="none of the 1 items"):
        resync(world, Scan(images(table)))


def test_runs_of_any_partition_are_not_judged(tmp_path: Path) -> None:
    """Where a run may have its records in several shards, none can tell whether it is merged."""
    world = ShardedWorld(tmp_path / "world", rules=CATALOGUE).begin()
    around = replace(surroundings(world.settings), mapping=world.mapping)
    with pytest.raises(Sharded, match="any partition"):
        list(resync_shards(around, lambda name: Workspace.open(tmp_path / name), "products", Scan([])))


def test_a_reapply_tells_the_table_of_the_runs_of_its_shard(world: ShardedWorld) -> None:
    """The table did not answer when it was merged, and somebody went back; going forward says that it is done."""
    table = Table()
    world.status = told = ToldTable(table, away=True)
    world.write_delta("a", {A: (1, "text", {})})
    assert 1 == world.compact([run(table, "a")]).failed
    name = world.layout().shard_of(A).name
    with site(world, name) as there:
        rollback(there, Version(1))
    assert {} == world.records()

    told.away = False
    around = replace(surroundings(world.settings), mapping=world.mapping, status=told)
    with Workspace.open(world.home / "workspace" / name) as local:
        reapply(lineage_surroundings(around, name), local, name)
    assert {A: (1, "text", {})} == world.records()
    assert ["COMPLETED"] == [item["words_state"] for item in table.items.values() if "words_state" in item]
