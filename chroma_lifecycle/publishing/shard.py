"""Shards by their names: each a part of a collection, and a lineage of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chroma_lifecycle.slots import MOST_SHARDS, SLOTS, even_slots
from chroma_lifecycle.snapshot.fields import Fields
from chroma_lifecycle.values import parse_collection, parse_id

LARGEST_GENERATION = 10**9 - 1
MOST_SEGMENTS = 64
"""At the beginning of an id, which decide its shard."""

_NAME = re.compile(r"(.+)\.([1-9][0-9]{0,8})-(0|[1-9][0-9]{0,8})", re.ASCII)


def shard_name(collection: str, generation: int, number: int) -> str:
    """Return the name of a shard, which is that of its lineage; a collection in one piece has its own name."""
    return f"{collection}.{generation}-{number}" if generation else collection


def whole_of(name: str) -> str | None:
    """Return the collection of which *name* could be a shard; ``None`` if it is no name of a shard."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def generation_of(name: str) -> int:
    """Return the generation that the name of a shard says; 0 if it is no name of a shard."""
    match = _NAME.fullmatch(name)
    return int(match[2]) if match else 0


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a collection.

    Attributes:
        name: Of its lineage: what a collection's name is elsewhere.
        lineage: What `init` began for it.
        first_slot: It has the slots from this one to the next shard's.
    """

    name: str
    lineage: str
    first_slot: int


@dataclass(frozen=True, slots=True)
class Successors:
    """The shards that are to take over from a collection in one piece, as its HEAD names them.

    Attributes:
        generation: The newest one that lineages were named after; one that was given up is not begun again.
        segments: How many segments at the beginning of an id decide its shard.
        shards: In the order of their slots; none once they were given up.

    Raises:
        ValueError: The fields do not go together.
    """

    generation: int
    segments: int
    shards: tuple[Shard, ...]


def even_shards(collection: str, generation: int, lineages: Sequence[str]) -> tuple[Shard, ...]:
    """Return shards of equal sizes, one for each of *lineages*."""
    return tuple(
        Shard(shard_name(collection, generation, number), lineage, slot)
        for number, (lineage, slot) in enumerate(zip(lineages, even_slots(len(lineages)), strict=True))
    )


def require_whole(collection: str, generation: int, shards: Sequence[Shard]) -> None:
    """Refuse shards that do not make a whole collection.

    Raises:
        ValueError: They do not.
    """
    if not 0 < len(shards) <= (MOST_SHARDS if generation else 1):
        raise ValueError(f"{len(shards)} shards, allowed: 1 to {MOST_SHARDS}")
    slots = [shard.first_slot for shard in shards]
    if slots[0] != 0 or slots != sorted(set(slots)) or slots[-1] >= SLOTS:
        raise ValueError("the shards' slots do not begin with 0 and ascend")
    for number, shard in enumerate(shards):
        parse_id(shard.lineage)
        if parse_collection(shard.name) != shard_name(collection, generation, number):
            raise ValueError(f"shard {number} of {collection} has the name {shard.name!r}")


# The bytes.


def spell_shards(shards: Sequence[Shard]) -> list[dict[str, object]]:
    """Return what stands for *shards* in JSON."""
    return [{"name": shard.name, "lineage": shard.lineage, "first_slot": shard.first_slot} for shard in shards]


def decode_shards(fields: Fields, name: str) -> tuple[Shard, ...]:
    """Return the shards that the field *name* holds.

    Raises:
        ValueError: They are none.
    """
    return tuple(map(_decode_shard, fields.objects(name, limit=MOST_SHARDS)))


def _decode_shard(fields: Fields) -> Shard:
    shard = Shard(
        fields.parsed("name", parse_collection),
        fields.parsed("lineage", parse_id),
        fields.integer("first_slot", 0, SLOTS - 1),
    )
    fields.done()
    return shard


def spell_successors(successors: Successors | None) -> dict[str, object] | None:
    """Return what stands for *successors* in JSON."""
    if successors is None:
        return None
    return {
        "generation": successors.generation,
        "segments": successors.segments,
        "shards": spell_shards(successors.shards),
    }


def decode_successors(fields: Fields | None) -> Successors | None:
    """Return the successors that an object of JSON holds.

    Raises:
        ValueError: It holds none.
    """
    if fields is None:
        return None
    found = Successors(
        fields.integer("generation", 1, LARGEST_GENERATION),
        fields.integer("segments", 1, MOST_SEGMENTS),
        decode_shards(fields, "shards"),
    )
    fields.done()
    return found
