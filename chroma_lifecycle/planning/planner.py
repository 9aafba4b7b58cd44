"""From moved facts to a plan: what exists, and what the keys that facts own are worth.

Two rules decide everything:

* A record exists when the newest run that contains it is newer than the newest tombstone that
  covers it; vector, document and metadata come whole from that run.
* A key that a fact owns takes its value from facts alone. One rule owns a key, and all items of
  a rule that reach a record have the same reach, so the facts of one (rule, reach) decide the
  key for every record below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from chroma_lifecycle.intake.contributions import Key
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.facts import FieldFact, RunFact
from chroma_lifecycle.planning.folds import fold
from chroma_lifecycle.planning.join import Joined
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, RunKey
from chroma_lifecycle.planning.plan import OwnedKeys, Plan, Write
from chroma_lifecycle.values import ItemKey, Scalar


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done in Chroma, and what the ledger will then say."""

    plan: Plan
    changes: LedgerChanges


def plan(ledger: Ledger, joined: Joined, mapping: TableMapping, collection: str) -> Planned:
    """Return the smallest plan that brings the records of *collection* to what the facts say.

    Args:
        ledger: The facts as published; only read.
        joined: What a batch moves.
        mapping: The rules; the same under which the ledger's facts were made.
        collection: Name of the collection.
    """
    return planned_by(Planner(ledger, joined, mapping, collection), joined)


def planned_by(planner: Planner, joined: Joined) -> Planned:
    """Return the plan of *planner*, and what the ledger will then say."""
    written = planner.written()
    writers = {record_id: run for run, ids in written.items() for record_id in ids}
    deleted = planner.deleted(writers)
    return Planned(
        Plan(
            deletes=tuple(sorted(deleted)),
            writes=planner.writes(written),
            updates=planner.updates({*writers, *deleted}),
        ),
        LedgerChanges(
            fields=tuple(joined.fields.values()),
            tombstones=tuple(joined.tombstones.values()),
            runs=tuple(joined.runs.values()),
            anew=joined.anew,
            written=written,
            deleted=deleted,
            fresh=planner.fresh(),
        ),
    )


class Resolver:
    """Says what the keys that facts own are worth, under one mapping and in one collection."""

    def __init__(self, mapping: TableMapping, collection: str) -> None:
        self._mapping = mapping
        self._collection = collection
        self._keys: dict[tuple[str, ItemKey], Sequence[tuple[str, Key]]] = {}

    def resolve(self, facts: Iterable[FieldFact]) -> dict[str, Scalar | None]:
        """Return the value of every key that *facts*, all of one reach, own."""
        mapping = self._mapping
        given = (
            (fact, each)
            for fact in facts
            for each in mapping.given(fact.rule, fact.item, self._keys_of(fact), fact.image)
        )
        return fold(given, mapping.ordering)

    def _keys_of(self, fact: FieldFact) -> Sequence[tuple[str, Key]]:
        """Return the keys of a fact; they are the same before a batch moves it and afterwards."""
        place = fact.rule, fact.item
        if place not in self._keys:
            self._keys[place] = self._mapping.named_keys(fact.rule, self._collection, fact.item)
        return self._keys[place]


class Planner:
    """Decides what exists, and what the keys that facts own are worth."""

    def __init__(self, ledger: Ledger, joined: Joined, mapping: TableMapping, collection: str) -> None:
        self._ledger = ledger
        self._joined = joined
        self._mapping = mapping
        self._resolver = Resolver(mapping, collection)
        self._moved_by_reach: dict[str, dict[ItemKey, FieldFact]] = {}
        for (reach, item), fact in joined.fields.items():
            self._moved_by_reach.setdefault(reach, {})[item] = fact

    def fresh(self) -> int:
        """Return how many of the moved facts the ledger has no fact of yet."""
        ledger, joined = self._ledger, self._joined
        fields = {(fact.reach, fact.item) for facts in self._known_by_reach.values() for fact in facts}
        stones = {
            (fact.reach, fact.item)
            for facts in ledger.tombstones({reach for reach, _ in joined.tombstones}).values()
            for fact in facts
        }
        runs = sum(ledger.run(item, address) is None for item, address in joined.runs)
        return len(joined.fields.keys() - fields) + len(joined.tombstones.keys() - stones) + runs

    @cached_property
    def _known_by_reach(self) -> Mapping[str, Sequence[FieldFact]]:
        """The field facts, as published, of the reaches that move."""
        return self._ledger.field_facts(self._moved_by_reach)

    # Existence

    def written(self) -> dict[RunKey, frozenset[str]]:
        """Return the ids that each moved run writes: it is the newest that holds them, and no tombstone is newer."""
        ordering = self._mapping.ordering
        newest: dict[str, RunFact] = {}
        for run in self._joined.runs.values():
            for record_id in self._joined.deltas[run.address]:
                rival = newest.get(record_id)
                if rival is None or rival.among(ordering) < run.among(ordering):
                    newest[record_id] = run
        standing = self._ledger.writers(newest)
        buried = self._newest_tombstones(newest)
        written: dict[RunKey, set[str]] = {}
        for record_id, run in newest.items():
            place = run.among(ordering)
            writer = standing.get(record_id)
            if writer is not None and self._as_moved(writer).among(ordering) > place:
                continue
            if any(place < buried[reach] for reach in prefixes(record_id) if reach in buried):
                continue
            written.setdefault((run.item, run.address), set()).add(record_id)
        return {run_key: frozenset(ids) for run_key, ids in written.items()}

    def deleted(self, writers: Mapping[str, RunKey]) -> frozenset[str]:
        """Return the records that a moved tombstone covers and no newer run writes."""
        ordering = self._mapping.ordering
        tombstones = self._joined.tombstones.values()
        below = self._ledger.records_below({tombstone.reach for tombstone in tombstones})
        return frozenset(
            record_id
            for tombstone in tombstones
            for record_id, run in below.get(tombstone.reach, {}).items()
            if record_id not in writers
            and self._as_moved(run).among(ordering) < tombstone.position.among(ordering, tombstone.item)
        )

    def _as_moved(self, run: RunFact) -> RunFact:
        """Return *run* as it is now: it may have begun again in this batch."""
        return self._joined.runs.get((run.item, run.address), run)

    def _newest_tombstones(self, ids: Iterable[str]) -> dict[str, tuple[object, ...]]:
        known = self._ledger.tombstones({reach for record_id in ids for reach in prefixes(record_id)})
        newest: dict[str, tuple[object, ...]] = {}
        for fact in (*(fact for facts in known.values() for fact in facts), *self._joined.tombstones.values()):
            place = fact.position.among(self._mapping.ordering, fact.item)
            newest[fact.reach] = max(place, newest.get(fact.reach, place))
        return newest

    def writes(self, written: Mapping[RunKey, frozenset[str]]) -> tuple[Write, ...]:
        """Return what Chroma is to write for each run, the keys that facts own included."""
        owned = self._owned_by({record_id for ids in written.values() for record_id in ids})
        return tuple(
            Write(
                address,
                ids,
                existing=frozenset(self._ledger.writers(ids)),
                owned={record_id: owned[record_id] for record_id in ids if owned[record_id]},
            )
            for (_, address), ids in written.items()
        )

    # Fields

    def updates(self, besides: set[str]) -> dict[str, OwnedKeys]:
        """Return the keys that change in records that stay, apart from *besides*."""
        changes: dict[str, dict[str, Scalar | None]] = {}
        for reach, moved in self._moved_by_reach.items():
            rules = {fact.rule for fact in moved.values()}
            before = [fact for fact in self._known_by_reach.get(reach, ()) if fact.rule in rules]
            was = self._resolver.resolve(before) if before else {}
            now = self._resolver.resolve(self._as_moved_now(before, reach))
            changed = {key: value for key, value in now.items() if key not in was or not same(value, was[key])}
            if changed:
                changes[reach] = changed
        below = self._ledger.records_below(changes)
        updates: dict[str, dict[str, Scalar | None]] = {}
        for reach, changed in changes.items():
            for record_id in below.get(reach, {}):
                if record_id not in besides:
                    updates.setdefault(record_id, {}).update(changed)
        return dict(updates)

    def _as_moved_now(self, before: Iterable[FieldFact], reach: str) -> Iterable[FieldFact]:
        """Return the field facts of *reach* as they are with what the batch moves."""
        facts = {fact.item: fact for fact in before}
        facts.update(self._moved_by_reach.get(reach, {}))
        return facts.values()

    def _owned_by(self, ids: set[str]) -> dict[str, OwnedKeys]:
        reaches = {reach for record_id in ids for reach in prefixes(record_id)}
        known = {} if self._joined.anew else self._ledger.field_facts(reaches)
        by_reach = {
            reach: self._resolver.resolve(self._as_moved_now(known.get(reach, []), reach))
            for reach in known.keys() | (self._moved_by_reach.keys() & reaches)
        }
        return {record_id: owned_below(by_reach, record_id) for record_id in ids}


def owned_below(by_reach: Mapping[str, OwnedKeys], record_id: str) -> dict[str, Scalar | None]:
    """Return every key that facts own on a record, of what they own *by_reach*."""
    return {key: value for reach in prefixes(record_id) for key, value in by_reach.get(reach, {}).items()}


def prefixes(record_id: str) -> tuple[str, ...]:
    """Return every reach that covers a record: its id, and each of its beginnings before a ``#``."""
    cuts = (at for at, character in enumerate(record_id) if character == "#")
    return (*(record_id[:at] for at in cuts), record_id)


def same(one: Scalar | None, other: Scalar | None) -> bool:
    """Return whether two values are the same to Chroma; to Python, ``True == 1 == 1.0``."""
    return type(one) is type(other) and one == other
