"""Runs that write ids of any partition: every shard merges its portion, and the run is done when all have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sharding.test_01_compaction import CATALOGUE
from tests.support.faults import CollectionFails
from tests.support.sharded import ShardedWorld
from tests.support.table import Table, in_sqs
from tests.support.telling import ToldTable

PRODUCTS = {f"PRODUCT#{number}": (number, None, {}) for number in range(1, 9)}


@pytest.fixture
def world(tmp_path: Path) -> ShardedWorld:
    made = ShardedWorld(tmp_path / "world", rules=CATALOGUE).begin()
    made.write_delta("all", PRODUCTS)
    return made


def run(table: Table, address: str = "all", name: str = "r") -> dict[str, Any]:
    return table.put(f"RUN#{name}", delta=f"{address}.parquet", state="PENDING")


def test_a_delta_of_several_shards_is_portioned(world: ShardedWorld) -> None:
    """Each record is in its shard, and the run is told with the number that the delta holds."""
    table = Table(sort_key=None)
    world.status = ToldTable(table)
    batch = [run(table), table.put("PRODUCT#3", price=7)]
    assert world.compact(batch).applied == 2

    expected = {**PRODUCTS, "PRODUCT#3": (3, None, {"price": 7})}
    assert (expected, [2, 2, 2]) == (world.records("products"), world.versions("products"))
    item = table.items["RUN#r", ""]
    assert ("COMPLETED", 8) == (item["state"], item["merged"])
    assert world.compact(batch).no_op == 2
    assert [2, 2, 2] == world.versions("products")


def test_a_run_is_not_told_before_every_shard_has_merged_it(world: ShardedWorld) -> None:
    """One shard failed: its message comes again, moves nothing in the others, and only then the run is completed."""
    table = Table(sort_key=None)
    world.status = ToldTable(table)
    batch = [run(table), table.put("PRODUCT#1", price=1)]
    with world.compactor(store=CollectionFails("products.1-1").store(world.store)) as machine:
        report = machine.compact(in_sqs(batch))
    assert "message-0" in report.failed_sources()
    assert table.items["RUN#r", ""]["state"] == "PENDING"

    versions = world.versions("products")
    assert world.compact(batch).failed == 0
    assert [versions[0], 2, versions[2]] == world.versions("products")
    assert ("COMPLETED", 8) == tuple(table.items["RUN#r", ""][name] for name in ("state", "merged"))


def test_a_delta_that_cannot_be_merged_is_merged_nowhere(world: ShardedWorld) -> None:
    """A wrong record refuses the delta as a whole, in every shard, also where its other records are."""
    table = Table(sort_key=None)
    world.write_delta("bad", {**PRODUCTS, "SHOP#1": (1, None, {})})
    assert ("message-0",) == world.compact([run(table, "bad"), table.put("PRODUCT#1", price=1)]).failed_sources()
    assert {} == world.records("products")


def test_a_removal_reaches_the_record_in_its_shard(world: ShardedWorld) -> None:
    """The removed product is gone, and an older run does not bring it back."""
    table = Table(sort_key=None)
    created, older = table.put("PRODUCT#5", price=1), run(table)
    removed = table.remove("PRODUCT#5")
    world.compact([removed, created])
    world.compact([older])
    assert {*PRODUCTS} - {"PRODUCT#5"} == set(world.records("products"))
