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
from itertools import chain

from chroma_lifecycle.intake.contributions import Key
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.facts import FieldFact, RunFact, Tombstone
from chroma_lifecycle.planning.folds import fold
from chroma_lifecycle.planning.join import Joined
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, RunKey
from chroma_lifecycle.planning.plan import OwnedKeys, Plan, Write
from chroma_lifecycle.values import ItemKey, Position, Scalar


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done in Chroma, and what the ledger will then say.

    Attributes:
        unordered: What the plan does not count of a moved fact, by its item and position, though it was made later
            than what outdoes it there, at the position given: nothing orders the streams of the two.
    """

    plan: Plan
    changes: LedgerChanges
    unordered: Mapping[tuple[ItemKey, Position], Position]


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
        planner.unordered(),
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

    def differ(self, one: FieldFact, other: FieldFact) -> bool:
        """Return whether two facts give other values to a key, of which the newest item's is taken."""
        said, others = self._newest_given(one), self._newest_given(other)
        return any(not same(said[key], others[key]) for key in said.keys() & others.keys())

    def _newest_given(self, fact: FieldFact) -> dict[str, Scalar]:
        given = self._mapping.given(fact.rule, fact.item, self._keys_of(fact), fact.image)
        return {
            each.key: each.value
            for each in given
            if each.value is not None and (each.fold is None or each.fold.kind == "newest")
        }

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
        self._unordered: dict[tuple[ItemKey, Position], Position] = {}
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
        newest: dict[str, RunFact] = {}
        for run in self._joined.runs.values():
            for record_id in self._joined.deltas[run.address]:
                rival = newest.get(record_id)
                if rival is None or self._outdoes(run, rival):
                    newest[record_id] = run
        standing = self._ledger.writers(newest)
        buried = self._newest_tombstones(newest)
        written: dict[RunKey, set[str]] = {}
        for record_id, run in newest.items():
            writer = standing.get(record_id)
            if writer is not None and self._outdoes(self._as_moved(writer), run):
                continue
            if any(self._outdoes(buried[reach], run) for reach in prefixes(record_id) if reach in buried):
                continue
            written.setdefault((run.item, run.address), set()).add(record_id)
        return {run_key: frozenset(ids) for run_key, ids in written.items()}

    def deleted(self, writers: Mapping[str, RunKey]) -> frozenset[str]:
        """Return the records that a moved tombstone covers and no newer run writes."""
        tombstones = self._joined.tombstones.values()
        below = self._ledger.records_below({tombstone.reach for tombstone in tombstones})
        return frozenset(
            record_id
            for tombstone in tombstones
            for record_id, run in below.get(tombstone.reach, {}).items()
            if record_id not in writers and self._outdoes(tombstone, self._as_moved(run))
        )

    def _outdoes(self, one: RunFact | Tombstone, other: RunFact | Tombstone) -> bool:
        """Return whether *one* is newer than *other*; note where streams that have no order decide it."""
        ordering = self._mapping.ordering
        is_newer = one.among(ordering) > other.among(ordering)
        older, newer = (other, one) if is_newer else (one, other)
        if older.position.comes_from_a_stream_left_before(newer.position):
            self._unordered[older.item, older.position] = newer.position
        return is_newer

    def _as_moved(self, run: RunFact) -> RunFact:
        """Return *run* as it is now: it may have begun again in this batch."""
        return self._joined.runs.get((run.item, run.address), run)

    def _newest_tombstones(self, ids: Iterable[str]) -> dict[str, Tombstone]:
        known = self._ledger.tombstones({reach for record_id in ids for reach in prefixes(record_id)})
        newest: dict[str, Tombstone] = {}
        for fact in (*(fact for facts in known.values() for fact in facts), *self._joined.tombstones.values()):
            newest[fact.reach] = max(fact, newest.get(fact.reach, fact), key=self._place)
        return newest

    def _place(self, tombstone: Tombstone) -> tuple[object, ...]:
        return tombstone.among(self._mapping.ordering)

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

    def _look_at_streams(self) -> None:
        """Note which moved field facts say other than an item that counts as newer, and was made before them."""
        known, moved = self._known_by_reach, self._joined.fields.values()
        newest = max((fact.seen.stream for fact in chain(moved, *known.values())), default="")
        for fact in (fact for fact in moved if fact.seen.stream < newest):
            for other in self._as_moved_now(known.get(fact.reach, ()), fact.reach):
                if fact.seen.comes_from_a_stream_left_before(other.seen) and self._resolver.differ(fact, other):
                    self._unordered[fact.item, fact.seen] = other.seen

    def unordered(self) -> Mapping[tuple[ItemKey, Position], Position]:
        """Return of which moved facts, by item and position, something that was made before them outdoes a part.

        Of runs and tombstones it is known when the rest of the plan is.
        """
        self._look_at_streams()
        return self._unordered

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
