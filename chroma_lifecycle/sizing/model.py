"""What one of some shards does, on the average; ``docs/scale.md`` compares it with a simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chroma_lifecycle.sizing.demand import MEBIBYTE, Demand
from chroma_lifecycle.sizing.measured import Measured
from chroma_lifecycle.snapshot.chain import MOST_PACKS, PART_BYTES

MONTH_SECONDS = 30 * 86_400
VECTOR_ITEM_BYTES = 4  # float32

# Room that a cycle needs beside two copies of the snapshot (see docs/rebuild-and-erase.md).
_ASIDE_BYTES = 32 * MEBIBYTE
# Of the template: the most messages in one batch; a fuller window ends early.
_BATCH = 2_000.0
# After so many the batch no longer moves: a change costs a cycle far less than the time between two changes.
_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the shards, which are all alike.

    Attributes:
        records: How many it holds.
        snapshot_bytes: Of the closed directory.
        disk_bytes: That a cycle needs.
        memory_bytes: At the peak of a cycle.
        cycle_seconds: Of a cycle with what a window gathers.
        busy_share: Of the time that cycles (and new bases) take.
        cycles_per_month: How many there are.
        published_bytes: Of a cycle.
        packs: Published from one new base to the next.
        base_bytes: Sent for a new base.
        cold_seconds: To restore it from S3.
    """

    records: float
    snapshot_bytes: float
    disk_bytes: float
    memory_bytes: float
    cycle_seconds: float
    busy_share: float
    cycles_per_month: float
    published_bytes: float
    packs: float
    base_bytes: float
    cold_seconds: float


class Model:
    """The arithmetic of one demand."""

    def __init__(self, demand: Demand, constants: Measured) -> None:
        self._demand = demand
        self._constants = constants
        known = constants.bytes_per_record - VECTOR_ITEM_BYTES * constants.dimension
        aside = known if demand.record_bytes is None else demand.record_bytes
        self._record_bytes = VECTOR_ITEM_BYTES * demand.dimension + aside
        # What is done with a vector is done with each of its numbers.
        self._stretch = demand.dimension / constants.dimension
        changes = demand.changes_per_second + demand.vectors_per_second
        self._of_vectors = of_vectors = demand.vectors_per_second / changes if changes else 0.0
        self._seconds_per_change = (
            1 - of_vectors
        ) * constants.seconds_per_label + of_vectors * constants.seconds_per_vector * self._stretch
        self._published_per_change = (
            1 - of_vectors
        ) * constants.bytes_per_label + of_vectors * constants.bytes_per_vector * self._stretch

    def shard(self, shards: int) -> Shard:
        """Return one of so many shards."""
        demand, known = self._demand, self._constants
        records = demand.vectors / shards
        snapshot = records * self._record_bytes
        rate = (demand.changes_per_second + demand.vectors_per_second) / shards
        batch, period = self._batch(records, rate)
        seconds = self._cycle_seconds(records, batch)
        published = batch * self._published_per_change
        packs = max(1.0, min(MOST_PACKS, snapshot / 2 / published if published else math.inf))
        base = snapshot * self._base_share(snapshot, packs * batch)
        rebase = base / known.link_bytes_per_second / packs
        return Shard(
            records,
            snapshot,
            2 * snapshot + _ASIDE_BYTES,
            known.base_memory_bytes + known.memory_per_byte * snapshot,
            seconds,
            (seconds + rebase) / period,
            MONTH_SECONDS / period,
            published,
            packs,
            base,
            snapshot / known.link_bytes_per_second,
        )

    def _base_share(self, snapshot: float, changes: float) -> float:
        """Return how much of a new base is sent, after so many changes; a vector changes a part at least."""
        known, vectors = self._constants, self._of_vectors * changes
        all_over = min(1.0, vectors / max(1.0, snapshot / PART_BYTES))
        return known.base_share_of_labels + all_over * (known.base_share_of_vectors - known.base_share_of_labels)

    def _cycle_seconds(self, records: float, batch: float) -> float:
        known = self._constants
        return (
            known.fixed_seconds + known.seconds_per_record * self._stretch * records + self._seconds_per_change * batch
        )

    def _batch(self, records: float, rate: float) -> tuple[float, float]:
        """Return how many changes a cycle gets, and the seconds from one cycle to the next.

        A window begins with the first change after the last cycle has ended, which is there already or
        comes after a while; and what a cycle takes, the next one has to gather.
        """
        if not rate:
            return 0.0, math.inf
        batch, period = 1.0, 0.0
        for _ in range(_ROUNDS):
            seconds = self._cycle_seconds(records, batch)
            period = self._demand.window_seconds + seconds + math.exp(-rate * seconds) / rate
            batch = max(1.0, rate * period)
            if batch > _BATCH:
                return _BATCH, _BATCH / rate
        return batch, period
