"""What a ledger must make of a batch, in a page: the newest position of each thing that a record can move.

Like the reference model it is written for the `receipts` mapping, and imports nothing of the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


def is_refused(record: StreamRecord) -> bool:
    """Return whether a place holds a list where a record's metadata takes text."""
    image = record["dynamodb"].get("NewImage", {})
    return "PLACE" in item_of(record)[1] and any("L" in image.get(key, {}) for key in PLACE_KEYS)


@dataclass
class Joined:
    """What a batch comes to in one collection; nothing of it counts before it is kept.

    Attributes:
        moved: The new position of each thing that moves.
        taken: The records that count from now on, moved or not.
        outcomes: By message: applied, no-op, failed.
    """

    moved: dict[Key, int] = field(default_factory=dict)
    taken: list[StreamRecord] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)


@dataclass
class Expected:
    """One collection, as everything that was published must have made it.

    Attributes:
        known: The newest position of each thing.
        taken: Every record that counts, by its eventID; the model replays them.
    """

    collection: str
    known: dict[Key, int] = field(default_factory=dict)
    taken: dict[str, StreamRecord] = field(default_factory=dict)

    def join(self, messages: Iterable[Message], fails: Callable[[StreamRecord, str], bool]) -> Joined:
        """Return what *messages* come to; the newest goes first, so that what it supersedes is a no-op."""
        joined = Joined()
        for source, record in sorted(messages, key=lambda message: sequence(message[1]), reverse=True):
            key = moves(record, self.collection)
            if key is None:
                continue
            newest = max(self.known.get(key, 0), joined.moved.get(key, 0))
            if sequence(record) <= newest:
                outcome = "no-op"
            elif fails(record, self.collection):
                outcome = "failed"
            else:
                outcome = "applied"
                joined.moved[key] = sequence(record)
            if outcome != "failed":
                joined.taken.append(record)
            joined.outcomes[source] = worst(outcome, joined.outcomes.get(source))
        return joined

    def keep(self, joined: Joined) -> None:
        """The batch was published."""
        self.known |= joined.moved
        self.taken |= {record["eventID"]: record for record in joined.taken}

    def holds(self, record: StreamRecord) -> bool:
        """Return whether *record* is published, or does nothing any more, or never did."""
        key = moves(record, self.collection)
        return key is None or self.known.get(key, 0) >= sequence(record)


def worst(*outcomes: str | None) -> str:
    """Return what a message came to, of what it came to in several collections."""
    return next(each for each in ("failed", "applied", "no-op", "ignored") if each in outcomes)
