"""Which shard an item falls into, of so many; like the other models it imports nothing of the product."""

from __future__ import annotations

from hashlib import sha256

SLOTS = 4_096


def shard_of(partition: str, shards: int) -> int:
    """Return the number of the shard, of equal ones, that holds all records of an item's partition."""
    slot = int(sha256(partition.encode()).hexdigest()[:3], 16)
    return max(number for number in range(shards) if number * SLOTS // shards <= slot)


def sources(number: int, shards: int, before: int) -> list[int]:
    """Return the numbers of those of *before* equal shards that have slots of shard *number* of so many."""
    first, end = number * SLOTS // shards, (number + 1) * SLOTS // shards
    return [each for each in range(before) if each * SLOTS // before < end and first < (each + 1) * SLOTS // before]
