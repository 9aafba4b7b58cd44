"""What a collection, or a shard of one, must be after all that was published in it.

Beside what came by messages: what a rollback withholds, what a reading of the table said, another mapping, and what
a reshard made of it. Like the other models it imports nothing of the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.model.changed import NarrowerReference
from tests.model.expected import (
    Counting,
    Joined,
    Key,
    Message,
    StreamRecord,
    is_field,
    is_refused,
    item_of,
    judged_by,
    moves,
    sequence,
    worst,
)
from tests.model.reference import Record, Reference
from tests.support.table import attribute

Items = Mapping[tuple[str, str], Mapping[str, Any]]
"""What the table holds."""
Pool = dict[str, dict[str, Record]]
"""What each delta holds, by its address."""
MODELS: dict[str, type[Reference]] = {"receipts": Reference, "changed": NarrowerReference}
"""The mappings, and what the records must be under each."""


@dataclass
class Expected:
    """One collection or a shard of one, as everything that was published must have made it.

    Attributes:
        collection: Of which it is all, or what *owns* says.
        owns: Whether it holds what is of a partition.
        mapping: The one in force.
        counts: What counts.
        withheld: What was received, and a rollback took back.
        moments: Both, and the mapping, at each version that was looked at.
        since: By mapping, when the table was read that brought it into force: the sequence of the newest write.
        read: What the newest reading said of each item, as records.
        vectors: New vectors that records got in place of a run's, as the reference has them.
    """

    collection: str
    owns: Callable[[str], bool] = lambda partition: True
    mapping: str = "receipts"
    counts: Counting = field(default_factory=Counting)
    withheld: Counting = field(default_factory=Counting)
    moments: dict[int, tuple[Counting, Counting, str]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    read: dict[Key, StreamRecord] = field(default_factory=dict)
    vectors: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)

    def moves(self, record: StreamRecord, mapping: str | None = None) -> Key | None:
        """Return what *record* can move here, under the mapping in force or another one."""
        pk, sk = item_of(record)
        sets_nothing = (mapping or self.mapping) == "changed" and self.collection == "lines" and "LABEL" in sk
        return moves(record, self.collection) if self.owns(pk) and not sets_nothing else None

    def records(self, pool: Pool) -> dict[str, Record]:
        """Return what the published records must be."""
        return self._model(pool).replay(list(self.counts.taken.values()))[self.collection]

    def rows(self, pool: Pool) -> dict[str, Record]:
        """Return them as their deltas tell them."""
        return self._model(pool).merge(list(self.counts.taken.values()))[self.collection]

    def records_of_all(self, pool: Pool, heard: Iterable[StreamRecord]) -> dict[str, Record]:
        """Return what the records must be when all that was *heard* is published; a reading replaced what was older."""
        newer = [record for record in heard if self.owns(item_of(record)[0]) and not self._is_read_over(record)]
        return self._model(pool).replay([*self.read.values(), *newer])[self.collection]

    def _model(self, pool: Pool) -> Reference:
        return MODELS[self.mapping](pool, vectors=self.vectors)

    def _is_read_over(self, record: StreamRecord) -> bool:
        key = self.moves(record)
        if key is None or key[0] != "fields":
            return False
        return sequence(record) <= (sequence(self.read[key]) if key in self.read else self._floor)

    @property
    def _floor(self) -> int:
        """What is not newer counts for no item of which nothing is known."""
        return max(self.since.values(), default=0)

    def join(
        self,
        messages: Iterable[Message],
        fails: Callable[[StreamRecord, str], bool],
    ) -> Joined:
        """Return what *messages* come to; the newest goes first, so that what it supersedes is a no-op."""
        joined = Joined()
        for source, record in sorted(messages, key=lambda message: sequence(message[1]), reverse=True):
            key = self.moves(record)
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

    def refuse(self, messages: Iterable[Message], mapping: str) -> Joined:
        """Return what *messages* come to that go nowhere: the collection is under another mapping, or closed."""
        sources = [source for source, record in messages if self.moves(record, mapping) is not None]
        return Joined(outcomes=dict.fromkeys(sources, "failed"))

    def _tells_nothing(self, record: StreamRecord, key: Key, known: Counting) -> bool:
        number = sequence(record)
        if number <= self.withheld.known.get(key, 0):
            return True
        if key[0] == "fields" and key not in known.known and key not in self.withheld.known:
            return number <= self._floor and not is_refused(record)
        return all(number <= known.newest(part) for part in judged_by(record, key))

    def keep(self, joined: Joined) -> None:
        """The batch was published; what stands behind something withheld is withheld with it."""
        self.counts.known |= joined.moved
        for record in joined.taken:
            key = self.moves(record)
            assert key is not None
            if key[0] == "fields" and self._is_read_over(record):
                continue
            barred = sequence(record) <= self.withheld.known.get(key, 0)
            counts = not barred or record["eventID"] in self.counts.taken
            (self.counts if counts else self.withheld).taken[record["eventID"]] = record

    def holds(self, record: StreamRecord) -> bool:
        """Return whether *record* is published, or does nothing any more, or never did."""
        key = self.moves(record)
        return key is None or self._tells_nothing(record, key, self.counts)

    @property
    def facts(self) -> int:
        """How many facts count."""
        return sum(key[0] not in ("whole", "value") for key in self.counts.known)

    @property
    def withheld_facts(self) -> int:
        """How many facts do not, and tell more than those that do."""
        return len(self.barred)

    @property
    def barred(self) -> set[Key]:
        """What facts do not count that tell more than those that do."""
        return {key for key, number in self.withheld.known.items() if number >= self.counts.known.get(key, 0)}

    # Going back and forward

    def note(self, version: int) -> None:
        """The collection has a new version."""
        self.moments[version] = self.counts.copy(), self.withheld.copy(), self.mapping

    def rollback(self, version: int) -> None:
        """Let count what counted then, and withhold all else that was received."""
        counts, withheld, mapping = self.moments[version]
        assert mapping == self.mapping
        self.withheld = self.withheld.and_also(withheld).and_also(self.counts)
        self.withheld.taken = {id_: each for id_, each in self.withheld.taken.items() if id_ not in counts.taken}
        taken_away = set(_removals(self.withheld)) - set(_removals(counts))
        self.withheld.known = {
            key: number
            for key, number in self.withheld.known.items()
            # A reading that finds a value which none can take says so at the place of what was known before.
            if number > counts.known.get(key, 0) or (key[1:], number) in taken_away
        }
        self.counts = counts.copy()

    def reapply(self) -> None:
        """Let everything count that was received."""
        self.counts, self.withheld = self.counts.and_also(self.withheld), Counting()

    # In step with the table

    def resync(self, items: Items, newest: int, mapping: str, pool: Pool) -> None:
        """Let count of every item what the table holds, which *newest* was written to last.

        Under another mapping than the one in force nothing else is known from then on. What a record's id
        names and the table lacks is known to be gone.
        """
        anew = mapping != self.mapping
        places = {(id_[: id_.index("#LINE")]) for id_ in self.records(pool)}
        hinted = {("fields", *_split(place)) for place in places}
        self.mapping = mapping
        if anew:
            self.since[mapping] = newest
        known = {key: self.counts.known[key] for key in self.counts.known if key[0] == "fields"}
        known = {key: number for key, number in known.items() if self.moves(_put(key[1:], {}, 0)) is not None}
        said = {key: record for item, held in items.items() for key, record in self._said(item, held, newest)}
        refused = {key for key, record in said.items() if is_refused(record)}
        read = {key: record for key, record in said.items() if key not in refused}
        read |= {key: _gone(key, newest) for key in (known.keys() | hinted) - said.keys()}
        if anew:  # what cannot be taken gives nothing; of what was read under another mapping nobody knows
            read |= {key: _gone(key, known[key]) for key in refused & known.keys()}
        kept = set() if anew else refused | self.barred
        read = {key: each for key, each in read.items() if key not in kept}
        self.read = {key: each for key, each in self.read.items() if key in kept} | read
        taken = [each for each in self.counts.taken.values() if not is_field(each) or self.moves(each) in kept]
        self.counts.taken = {record["eventID"]: record for record in (*taken, *read.values())}
        numbers = {key: sequence(record) for key, record in read.items()}
        others = {key: each for key, each in self.counts.known.items() if key[0] in ("run", "tombstone") or key in kept}
        self.counts.known = others | numbers

    def _said(self, item: tuple[str, str], held: Mapping[str, Any], newest: int) -> Iterator[tuple[Key, StreamRecord]]:
        record = _put(item, held, newest)
        key = self.moves(record)
        if key is not None and key[0] == "fields":
            yield key, record

    # In other shards

    def portion(self, owns: Callable[[str], bool]) -> Expected:
        """Return what a shard that *owns* some partitions gets of this one."""
        return Expected(
            self.collection,
            owns,
            self.mapping,
            self.counts.portion(owns),
            self.withheld.portion(owns),
            since=dict(self.since),
            read={key: record for key, record in self.read.items() if owns(key[1])},
            vectors={key: each for key, each in self.vectors.items() if owns("#".join(key[1].split("#")[:2]))},
        )

    def and_also(self, other: Expected) -> Expected:
        """Return what a shard has that is made of both; of two readings the older one says what is new."""
        assert self.mapping == other.mapping
        since = {**self.since, **other.since}
        for mapping in self.since.keys() & other.since.keys():
            since[mapping] = min(self.since[mapping], other.since[mapping])
        return Expected(
            self.collection,
            self.owns,
            self.mapping,
            self.counts.and_also(other.counts),
            self.withheld.and_also(other.withheld),
            since=since,
            read=self.read | other.read,
            vectors=self.vectors | other.vectors,
        )

    def embed(self, vector: Any, pool: Pool) -> None:
        """Give every record another vector, until a run brings it again."""
        model = self._model(pool)
        ids = model.replay(list(self.counts.taken.values()))[self.collection]
        self.vectors = {(self.collection, id_): (model.written[self.collection, id_], vector) for id_ in ids}


def _removals(counting: Counting) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield of which items it takes, at which places, that they hold nothing."""
    for record in counting.taken.values():
        if record["eventName"] == "REMOVE" and is_field(record):
            yield item_of(record), sequence(record)


def _split(place: str) -> tuple[str, str]:
    """Return the key of the place that an id's beginning names."""
    image, receipt = place.split("#RECEIPT")
    return image, f"RECEIPT{receipt}#PLACE"


def _put(item: tuple[str, ...], held: Mapping[str, Any], number: int) -> StreamRecord:
    """Return a record that says what an item holds."""
    keys = {"PK": {"S": item[0]}, "SK": {"S": item[1]}}
    image = keys | {name: attribute(value) for name, value in held.items()}
    body = {"Keys": keys, "SequenceNumber": str(number), "NewImage": image}
    return {"eventID": f"read {number} {item}", "eventName": "INSERT", "dynamodb": body}


def _gone(key: Key, number: int) -> StreamRecord:
    """Return a record that says that an item is not there."""
    keys = {"PK": {"S": key[1]}, "SK": {"S": key[2]}}
    return {
        "eventID": f"read {number} {key[1:]}",
        "eventName": "REMOVE",
        "dynamodb": {"Keys": keys, "SequenceNumber": str(number)},
    }
