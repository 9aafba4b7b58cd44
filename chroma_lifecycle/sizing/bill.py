"""What so many shards cost in a month."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from chroma_lifecycle.sizing.demand import MEBIBYTE, Demand
from chroma_lifecycle.sizing.measured import Measured
from chroma_lifecycle.sizing.model import MONTH_SECONDS, Shard
from chroma_lifecycle.sizing.prices import Prices
from chroma_lifecycle.snapshot.chain import PART_BYTES

ROOM_SHARE = 0.8
"""Of a disk and of a memory: the rest is for growth, deltas, and what else the function does."""

# SQS takes ten messages in a request, and each is sent, received and deleted; a pipe's request carries ten as well.
_MESSAGES_IN_A_REQUEST = 10
# By collection, as the function tells them; and what template.yaml has.
_METRICS, _ALARMS = 25, 8


@dataclass(frozen=True, slots=True)
class Cost:
    """A line of the bill: dollars a month."""

    component: str
    dollars: float
    of: str


def bill(demand: Demand, one: Shard, shards: int, prices: Prices, known: Measured) -> Iterator[Cost]:
    """Yield the lines of the bill."""
    gigabyte = 1e9
    cycles = one.cycles_per_month * shards
    busy_seconds = one.busy_share * MONTH_SECONDS * shards
    memory = max(2_048 * MEBIBYTE, one.memory_bytes / ROOM_SHARE) / gigabyte
    disk = max(512 * MEBIBYTE, one.disk_bytes / ROOM_SHARE) / gigabyte
    yield Cost(
        "Lambda",
        busy_seconds * (memory * prices.function_second + max(0.0, disk - 0.512) * prices.workspace_second)
        + cycles * prices.function_request,
        f"{cycles:,.0f} cycles, {busy_seconds / 3600:,.0f} h with {memory:,.1f} GB",
    )
    bases = cycles / one.packs
    parts = math.ceil(one.base_bytes / PART_BYTES) + 1
    requests = cycles * known.writes + bases * parts, cycles * known.reads
    yield Cost(
        "S3 requests",
        requests[0] * prices.write + requests[1] * prices.read,
        f"{requests[0]:,.0f} PUT, {requests[1]:,.0f} GET",
    )
    month = 30.0
    kept = min(demand.days_kept, month) / month
    written = cycles * one.published_bytes + bases * one.base_bytes
    stored = (one.snapshot_bytes * shards + kept * written) / gigabyte
    yield Cost("S3 storage", stored * prices.stored, f"{stored:,.1f} GB, with {demand.days_kept:g} days of history")
    changes = (demand.changes_per_second + demand.vectors_per_second) * MONTH_SECONDS
    batches = changes / _MESSAGES_IN_A_REQUEST
    yield Cost(
        "SQS and Pipes",
        batches * (3 * prices.message_request + prices.pipe_request),
        f"{changes:,.0f} changes",
    )
    if demand.mirror:
        moved = written / gigabyte
        held = one.snapshot_bytes * shards / gigabyte
        fetched = cycles * one.published_bytes * demand.readers / gigabyte
        yield Cost(
            "EFS",
            moved * prices.mirror_write + fetched * prices.mirror_read + held * prices.mirror_stored,
            f"{moved:,.1f} GB written, {fetched:,.1f} GB read, {held:,.1f} GB held",
        )
    looks = demand.readers * shards * MONTH_SECONDS / demand.refresh_seconds
    fetches = 0.0 if demand.mirror else min(looks, demand.readers * cycles)
    yield Cost(
        "readers", (looks + fetches) * prices.read, f"{looks + fetches:,.0f} GET, without the functions that query"
    )
    yield Cost(
        "watching",
        _METRICS * shards * prices.metric + _ALARMS * prices.alarm + prices.dashboard,
        f"{_METRICS * shards:,} metrics, {_ALARMS} alarms",
    )
