"""Which slot a record falls into: the beginning of its id, hashed; ``docs/format.md`` has the specification."""

from __future__ import annotations

import hashlib

SLOTS = 4_096
"""Into how many slots records fall, for ever; a shard has some that follow each other."""

MOST_SHARDS = 256


def routing_key(record_id: str, segments: int) -> str:
    """Return the beginning of an id, or of a prefix of ids, that decides its slot."""
    return "#".join(record_id.split("#", segments)[:segments])


def slot_of(key: str) -> int:
    """Return the slot of a routing key: the first three hex digits of the SHA-256 of its UTF-8."""
    # Half a character fits no record; whoever asks for one is to be answered like for any other unknown id.
    return int(hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:3], 16)


def even_slots(shards: int) -> tuple[int, ...]:
    """Return the first slot of each of so many shards that are as equal as can be."""
    return tuple(number * SLOTS // shards for number in range(shards))
