"""A process dies at any step, or another one publishes first: nothing is lost, nothing is done by hand."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.model.reference import Reference
from tests.support.dying import STEPS, die_at, die_in, processes, race
from tests.support.table import Table
from tests.support.world import COLLECTIONS, IMAGE, LINE, RUN, World, begins

WORDS = [f"{LINE}#WORD#{number:05d}" for number in range(1, 41)]
POOL: dict[str, Any] = {
    "r1.parquet": {id_: (number, f"text {number}", {"x": number}) for number, id_ in enumerate(WORDS)},
    "r2.parquet": {id_: (number + 50, None, {"y": True}) for number, id_ in enumerate(WORDS[:20])},
}


def story(world: World) -> list[dict[str, Any]]:
    """Write two deltas, and return records that merge, label, place and remove."""
    for address, records in POOL.items():
        world.write_delta(address.removesuffix(".parquet"), records)
    table = Table()
    table.put(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00003")
    records = [table.put(*RUN, **begins("r1"))]
    records.append(table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="Zoë"))
    records += [
        table.put(IMAGE, f"RECEIPT#00001#LINE#00001#WORD#{number:05d}#LABEL#total", validation_status="VALID")
        for number in range(1, 11)
    ]
    records.append(table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00003"))
    records.append(table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r2")))
    return records


def expect_model(world: World, records: list[dict[str, Any]]) -> None:
    """Check every record of both collections, in the store and in the mirror."""
    mirror = type(world.store)(world.home / "mirror", mirror_only=True)
    model = Reference(POOL).replay(records)
    for collection in COLLECTIONS:
        assert model[collection] == world.records(collection)
        assert world.published(collection).manifest == world.published(collection, mirror).manifest


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_step_loses_nothing(world: World, step: str, after: bool) -> None:
    """C13: SIGKILL before or after each named step; the same batch then ends right, without help."""
    records = story(world)
    world.compact(records[:3])

    assert -signal.SIGKILL == die_at(world.home, records[3:], step, after=after)

    report = world.compact(records[3:])
    assert 0 == report.failed
    world.compact([records[0], Table().put(IMAGE, "RECEIPT#00009#PLACE", merchant_name="another")])  # heals the mirror
    expect_model(world, records)
    leftovers = {path.name.split("-")[0] for path in (world.home / "workspace" / "words").iterdir()}
    assert not leftovers & {"working", "restoring"}


def test_kills_at_random_moments_lose_nothing(world: World) -> None:
    """C13: SIGKILL at random moments of a cycle, again and again on what the one before left."""
    records = story(world)
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    killed = sum(die_in(world.home, records, chance.uniform(0.01, 0.8)) == -signal.SIGKILL for _ in range(8))

    assert killed >= 1, f"seed {seed}: no process was killed in time"
    assert 0 == world.compact(records).failed, f"seed {seed}"
    world.compact([Table().put(IMAGE, "RECEIPT#00009#PLACE", merchant_name="another")])
    expect_model(world, records)


def test_of_two_racing_compactors_no_update_is_lost(world: World, tmp_path: Path) -> None:
    """L5, L6: two processes that met between compare and write: each loses its turns, and no update is lost."""
    records = story(world)
    world.compact(records)
    table = Table()
    table._sequence = int(records[-1]["dynamodb"]["SequenceNumber"])
    rounds = 4
    batches: dict[str, list[list[dict[str, Any]]]] = {"one": [], "two": []}
    for number in range(rounds):
        for at, name in enumerate(batches):
            key = f"RECEIPT#00001#LINE#00001#WORD#{number + 4:05d}#LABEL#{name}{at}"
            batches[name].append([table.put(IMAGE, key, validation_status="VALID")])
    context = processes()
    # Each collection has its own swap; the two processes meet at the first of each batch.
    barrier, results = context.Barrier(2), context.Queue()
    running = [context.Process(target=race, args=(world.home, n, b, barrier, results)) for n, b in batches.items()]
    for process in running:
        process.start()
    ends = [results.get(timeout=120) for _ in range(2 * rounds)]
    for process in running:
        process.join(60)

    assert all(not failed for _, _, failed in ends)
    lost = {name: sum(count for who, count, _ in ends if who == name) for name in batches}
    assert all(count >= rounds // 2 for count in lost.values()), lost
    shutil.rmtree(world.home / "mirror" / "words", ignore_errors=True)
    world.compact([table.put(IMAGE, "RECEIPT#00009#PLACE", merchant_name="another")])
    everything = [*records, *(record for all_of in batches.values() for batch in all_of for record in batch)]
    model = Reference(POOL).replay(everything)
    assert model == {collection: world.records(collection) for collection in COLLECTIONS}
