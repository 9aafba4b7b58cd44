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
    named = {**(plain(record["dynamodb"].get("NewImage")) or {}), **(plain(record["dynamodb"].get("OldImage")) or {})}
    return [key, *(("value", *key[1:], name) for name in PLACE_KEYS if name in named)]


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

    def and_also(self, other: Counting) -> Counting:
        newest = {key: max(self.known.get(key, 0), other.known.get(key, 0)) for key in self.known | other.known}
        return Counting(newest, {**self.taken, **other.taken})

    def newest(self, key: Key) -> int:
        """Return the newest position of a thing; of one value of a place also that of the whole place."""
        whole = ("whole", *key[1:3]) if key[0] == "value" else key
        return max(self.known.get(key, 0), self.known.get(whole, 0))


@dataclass
class Expected:
    """One collection, as everything that was published must have made it.

    Attributes:
        counts: What counts.
        withheld: What was received, and a rollback took back.
        moments: Both, at each version that was looked at.
    """

    collection: str
    counts: Counting = field(default_factory=Counting)
    withheld: Counting = field(default_factory=Counting)
    moments: dict[int, tuple[Counting, Counting]] = field(default_factory=dict)

    def join(self, messages: Iterable[Message], fails: Callable[[StreamRecord, str], bool]) -> Joined:
        """Return what *messages* come to; the newest goes first, so that what it supersedes is a no-op."""
        joined = Joined()
        for source, record in sorted(messages, key=lambda message: sequence(message[1]), reverse=True):
            key = moves(record, self.collection)
            if key is None:
                continue
            known = self.counts.and_also(Counting(joined.moved))
            if self._tells_nothing(record, key, known):
                outcome = "no-op"
            elif fails(record, self.collection):
                outcome = "failed"
            else:
                outcome = "applied"
                for moved in {key, *judged_by(record, key)}:
                    joined.moved[moved] = max(sequence(record), known.known.get(moved, 0))
            if outcome != "failed":
                joined.taken.append(record)
            joined.outcomes[source] = worst(outcome, joined.outcomes.get(source))
        return joined

    def _tells_nothing(self, record: StreamRecord, key: Key, known: Counting) -> bool:
        number = sequence(record)
        return number <= self.withheld.known.get(key, 0) or all(
            number <= known.newest(part) for part in judged_by(record, key)
        )

    def keep(self, joined: Joined) -> None:
        """The batch was published; what stands behind something withheld is withheld with it."""
        self.counts.known |= joined.moved
        for record in joined.taken:
            key = moves(record, self.collection)
            assert key is not None
            barred = sequence(record) <= self.withheld.known.get(key, 0)
            counts = not barred or record["eventID"] in self.counts.taken
            (self.counts if counts else self.withheld).taken[record["eventID"]] = record

    def holds(self, record: StreamRecord) -> bool:
        """Return whether *record* is published, or does nothing any more, or never did."""
        key = moves(record, self.collection)
        return key is None or self._tells_nothing(record, key, self.counts)

    @property
    def facts(self) -> int:
        """How many facts count."""
        return sum(key[0] not in ("whole", "value") for key in self.counts.known)

    @property
    def withheld_facts(self) -> int:
        """How many facts do not, and tell more than those that do."""
        return sum(number > self.counts.known.get(key, 0) for key, number in self.withheld.known.items())

    # Going back and forward

    def note(self, version: int) -> None:
        """The collection has a new version."""
        self.moments[version] = self.counts.copy(), self.withheld.copy()

    def rollback(self, version: int) -> None:
        """Let count what counted then, and withhold all else that was received."""
        counts, withheld = self.moments[version]
        self.withheld = self.withheld.and_also(withheld).and_also(self.counts)
        self.withheld.taken = {id_: each for id_, each in self.withheld.taken.items() if id_ not in counts.taken}
        self.withheld.known = {
            key: number for key, number in self.withheld.known.items() if number > counts.known.get(key, 0)
        }
        self.counts = counts.copy()

    def reapply(self) -> None:
        """Let everything count that was received."""
        self.counts, self.withheld = self.counts.and_also(self.withheld), Counting()


def worst(*outcomes: str | None) -> str:
    """Return what a message came to, of what it came to in several collections."""
    return next(each for each in ("failed", "applied", "no-op", "ignored") if each in outcomes)
