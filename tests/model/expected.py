"""What a ledger must make of a batch, in a page: the newest position of each thing that a record can move.

Like the reference model it is written for the `receipts` mapping, and imports nothing of the product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.model.reference import PLACE_KEYS, plain

COLLECTIONS = ("words", "lines")
Key = tuple[str, ...]
StreamRecord = dict[str, Any]
Message = tuple[str, StreamRecord]
"""What the queue calls it, and what it says."""


def sequence(record: StreamRecord) -> int:
    return int(record["dynamodb"]["SequenceNumber"])


def item_of(record: StreamRecord) -> tuple[str, str]:
    keys = record["dynamodb"]["Keys"]
    return keys["PK"]["S"], keys["SK"]["S"]


def moves(record: StreamRecord, collection: str) -> Key | None:
    """Return what *record* can move in *collection*: an item's fields, its tombstone, or a run with its address."""
    if record.get("collection", collection) != collection:
        return None  # a flat message is for one of them
    pk, sk = item_of(record)
    parts = sk.split("#")
    if "COMPACTION_RUN" in parts:
        address = begins(record, collection)
        return None if address is None else ("run", pk, sk, address)
    if "LABEL" in parts or "PLACE" in parts:
        return ("fields", pk, sk)
    deletes = record["eventName"] == "REMOVE" and parts[-2] in ("RECEIPT", "LINE", "WORD")
    return ("tombstone", pk, sk) if deletes and (collection == "words" or parts[-2] != "WORD") else None


def begins(record: StreamRecord, collection: str) -> str | None:
    """Return the address of the delta that a run item's record begins to merge; "" where it should name one."""

    def pending(image: dict[str, Any] | None) -> str | None:
        if image is None or image.get(f"{collection}_state") != "PENDING":
            return None
        return str(image.get(f"{collection}_delta_prefix", ""))

    body = record["dynamodb"]
    new, old = pending(plain(body.get("NewImage"))), pending(plain(body.get("OldImage")))
    return None if new and new == old else new


def judged_by(record: StreamRecord, key: Key) -> list[Key]:
    """Return what must all be newer than *record* for it to tell nothing: of a flat place, each value by itself."""
    if not record.get("flat") or key[0] != "fields" or "PLACE" not in key[2]:
        return [key]
    if record["eventName"] == "REMOVE" or is_refused(record):
        return [("whole", *key[1:])]
    return [key, *(("value", *key[1:], name) for name in PLACE_KEYS)]


def is_field(record: StreamRecord) -> bool:
    """Return whether a record tells what an item gives, and not of a run or a removal."""
    return any(kind in item_of(record)[1] for kind in ("LABEL", "PLACE"))


def is_refused(record: StreamRecord) -> bool:
    """Return whether a place holds a list where a record's metadata takes text."""
    image = record["dynamodb"].get("NewImage", {})
    return "PLACE" in item_of(record)[1] and any("L" in image.get(key, {}) for key in PLACE_KEYS)


@dataclass
class Joined:
    """What a batch comes to in one collection; nothing of it counts before it is kept.

    Attributes:
        moved: The new position of each thing that moves, and of the values that a flat place names.
        taken: The records that count from now on, moved or not.
        outcomes: By message: applied, no-op, failed.
    """

    moved: dict[Key, int] = field(default_factory=dict)
    taken: list[StreamRecord] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)


@dataclass
class Counting:
    """What counts at one moment.

    Attributes:
        known: The newest position of each thing.
        taken: Every record that counts, by its eventID; the model replays them.
    """

    known: dict[Key, int] = field(default_factory=dict)
    taken: dict[str, StreamRecord] = field(default_factory=dict)

    def copy(self) -> Counting:
        return Counting(dict(self.known), dict(self.taken))

    def portion(self, owns: Callable[[str], bool]) -> Counting:
        known = {key: number for key, number in self.known.items() if owns(key[1])}
        return Counting(known, {id_: each for id_, each in self.taken.items() if owns(item_of(each)[0])})

    def and_also(self, other: Counting) -> Counting:
        newest = {key: max(self.known.get(key, 0), other.known.get(key, 0)) for key in self.known | other.known}
        return Counting(newest, {**self.taken, **other.taken})

    def newest(self, key: Key) -> int:
        """Return the newest position of a thing; of one value of a place also that of the whole place."""
        whole = ("whole", *key[1:3]) if key[0] == "value" else key
        return max(self.known.get(key, 0), self.known.get(whole, 0))


def worst(*outcomes: str | None) -> str:
    """Return what a message came to, of what it came to in several collections."""
    return next(each for each in ("failed", "applied", "no-op", "ignored") if each in outcomes)
