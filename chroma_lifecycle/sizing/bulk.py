"""What a bulk build would take: time, memory, disk and money, from what `make bench` measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from chroma_lifecycle.sizing.bill import ROOM_SHARE, Cost
from chroma_lifecycle.sizing.demand import Demand
from chroma_lifecycle.sizing.measured import Measured
from chroma_lifecycle.sizing.model import Model
from chroma_lifecycle.sizing.prices import Prices

LONGEST_FUNCTION_SECONDS = 900
LARGEST_FUNCTION_BYTES = 10_240 << 20
"""Of memory, and of disk: the most that a function of Lambda can have."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a build would take.

    Attributes:
        records: Of the data set.
        shard_seconds: Of the task of one shard.
        seconds: Of all tasks, with so many at once.
        memory_bytes: Of the task of one shard, at its peak.
        disk_bytes: Likewise.
        costs: In dollars, once, if functions of Lambda do it.
        notes: What does not fit.
    """

    records: int
    shard_seconds: float
    seconds: float
    memory_bytes: float
    disk_bytes: float
    costs: tuple[Cost, ...]
    notes: tuple[str, ...]


def estimate(
    records: int, dimension: int, shards: int, inputs: int, workers: int, known: Measured, prices: Prices
) -> Estimate:
    """Return what it takes to build so many records.

    Args:
        records: Of the whole data set.
        dimension: Of their vectors.
        shards: 1 for a collection that is not in shards.
        inputs: Files of the data set.
        workers: Tasks at once.
        known: What was measured.
        prices: What AWS charges.
    """
    one = Model(Demand(max(1, records), dimension), known).shard(shards)
    shard_seconds = known.seconds_per_task + _building_seconds(records / shards, dimension, known)
    rounds = math.ceil(shards / workers)
    costs = tuple(_costs(shards * shard_seconds, one.memory_bytes, one.disk_bytes, shards, inputs, prices))
    notes = tuple(_notes(shard_seconds, one.memory_bytes, one.disk_bytes))
    return Estimate(records, shard_seconds, rounds * shard_seconds, one.memory_bytes, one.disk_bytes, costs, notes)


def _building_seconds(records: float, dimension: int, known: Measured) -> float:
    """Return what so many vectors of one index take: each one more, the more there are before it."""
    seconds = records * known.seconds_per_built_vector + records**2 / 2 * known.seconds_per_vector_before
    return seconds * dimension / known.dimension


def _costs(
    seconds: float, memory_bytes: float, disk_bytes: float, shards: int, inputs: int, prices: Prices
) -> Iterator[Cost]:
    memory, disk = memory_bytes / ROOM_SHARE / 1e9, disk_bytes / ROOM_SHARE / 1e9
    tasks = inputs + shards + 3
    yield Cost(
        "Lambda",
        seconds * (memory * prices.function_second + max(0.0, disk - 0.512) * prices.workspace_second)
        + tasks * prices.function_request,
        f"{tasks:,} tasks, {seconds / 3600:,.1f} h with {memory:,.1f} GB",
    )
    # A child workflow of a distributed map is started, enters its state, and leaves it.
    steps = 3 * tasks
    yield Cost("Step Functions", steps * prices.transition, f"{steps:,} transitions")


def _notes(shard_seconds: float, memory_bytes: float, disk_bytes: float) -> Iterator[str]:
    bounds = (
        ("time", shard_seconds, LONGEST_FUNCTION_SECONDS),
        ("memory", memory_bytes, LARGEST_FUNCTION_BYTES),
        ("disk", disk_bytes, LARGEST_FUNCTION_BYTES),
    )
    for what, needed, bound in bounds:
        if needed > ROOM_SHARE * bound:
            more = math.ceil(needed / (ROOM_SHARE * bound))
            yield f"a function of Lambda has too little {what} for a shard: {more} times as many shards, or a machine"
