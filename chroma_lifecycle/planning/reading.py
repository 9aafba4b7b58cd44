"""A reading of the table beside the ledger: what differs, and which facts mend it.

The table says how an item is; only events say in which order it came to be so. So a reading
replaces what a field fact says and keeps its sequence, and whatever was created before the reading
is known from then on (:meth:`FieldFact.covers`). Of runs and removals the ledger alone knows what
was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from chroma_lifecycle.errors import BadInput, LifecycleError, Retryable
from chroma_lifecycle.intake.changes import ContributeFields, Image, MergeDelta, Origin, RefusedFields, WithdrawFields
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.mapping import Match, Rule, TableMapping
from chroma_lifecycle.intake.records import StreamRecord
from chroma_lifecycle.intake.rules import PENDING
from chroma_lifecycle.intake.scanned import Page
from chroma_lifecycle.planning.facts import LEEWAY_SECONDS, FieldFact, RunFact, Tombstone
from chroma_lifecycle.planning.join import DeltaFacts, Joined, Outcome, check_content
from chroma_lifecycle.planning.ledger import Ledger, RunKey
from chroma_lifecycle.planning.planner import prefixes
from chroma_lifecycle.values import ADOPTED, BACKFILLED, ItemKey, Position

FieldKey = tuple[str, ItemKey]
"""Reach and item of a field fact."""

_ADOPTION = (ItemKey(""), "adopted")
_NAMED = 3


@dataclass
class Reading:
    """What one collection needs to know of the table's items.

    Attributes:
        version: The newest version before the first item was read: what the table says is as new as all of it.
        items: How many items were read.
        began: Before the first was read, in seconds of the Unix epoch; 0 before that.
        fields: What items give, and when that was read.
        refused: Why the values of an item can be taken by no record, by its place.
        runs: Every delta that an item announces, and whether it says that it is pending.
        present: Items whose removal would delete records, by rule.
    """

    mapping: TableMapping
    collection: str
    version: int = 0
    items: int = 0
    taken: int = 0
    began: int = 0
    fields: dict[FieldKey, tuple[ContributeFields | WithdrawFields, int]] = field(default_factory=dict)
    refused: dict[FieldKey, BadInput] = field(default_factory=dict)
    runs: dict[RunKey, tuple[MergeDelta, bool]] = field(default_factory=dict)
    present: dict[str, set[ItemKey]] = field(default_factory=dict)

    def take(self, page: Page) -> None:
        """Take in what was read."""
        self.began = self.began or page.as_of
        for image in page.items:
            self.items += 1
            self._item(image, page.as_of)

    def require_any(self) -> None:
        """Refuse a table that holds no item of the mapping.

        Raises:
            BadInput: It holds none: it is another table, and everything would seem to be gone.
        """
        if not self.taken:
            raise BadInput(
                f"none of the {self.items:,} items of the table is one of the mapping: "
                f"everything in {self.collection} would seem to be gone",
                hint="name the mapping's table with --table, and check the region; "
                "`chroma-lifecycle mapping check` shows what the mapping takes",
            )

    def _item(self, image: Image, as_of: int) -> None:
        keys = {name: image[name] for name in self.mapping.key_names}
        item = self.mapping.item_key(keys)
        match = None if item is None else self.mapping.match(item)
        if item is None or match is None:
            return
        self.taken += 1
        if self.collection in match.rule.removal_deletes:
            self.present.setdefault(match.rule.name, set()).add(item)
        target = match.rule.merges.get(self.collection)
        completed = target is not None and target.completed(image)
        if target is not None and completed:
            image = {**image, target.state: {"S": PENDING}}  # as it was when it was announced
        record = StreamRecord(self.mapping.spell(item), "INSERT", keys, image, None, ADOPTED)
        for change in changes_of(record, self.mapping):
            if change.origin.collection != self.collection:
                continue
            match change:
                case ContributeFields() | WithdrawFields():
                    self.fields[change.reach, item] = change, as_of
                case MergeDelta():
                    self.runs[item, change.address] = change, not completed
                case RefusedFields():
                    self.refused[change.reach, item] = change.problem


@dataclass
class Differences:
    """What a reading and the ledger disagree about.

    Attributes:
        missing: Items that give values and of which nothing was known.
        stale: Items that give other values than was known.
        withdrawn: Items that were known and are gone, or that a record hints at and the table lacks.
        refused: Items with a value that no record can take; what is known of them stays.
        withheld: Items and runs that a rollback withholds; they are left as they are.
        left: Items that gave values, and that no rule of a changed mapping takes.
        missed: Runs that were not merged.
        unmerged: Runs that were not merged and cannot be.
        unwritten: Runs that are merged, and whose items do not say so.
        orphaned: Items that are gone, and whose records are not.
    """

    missing: list[ItemKey] = field(default_factory=list)
    stale: list[ItemKey] = field(default_factory=list)
    withdrawn: list[ItemKey] = field(default_factory=list)
    refused: list[ItemKey] = field(default_factory=list)
    withheld: list[ItemKey] = field(default_factory=list)
    left: list[ItemKey] = field(default_factory=list)
    missed: list[ItemKey] = field(default_factory=list)
    unmerged: list[ItemKey] = field(default_factory=list)
    unwritten: list[ItemKey] = field(default_factory=list)
    orphaned: list[ItemKey] = field(default_factory=list)


@dataclass
class Compared:
    """What comes of a reading: what moves, what differs, and the runs that their items must be told of."""

    joined: Joined = field(default_factory=Joined)
    differences: Differences = field(default_factory=Differences)
    told: list[MergeDelta] = field(default_factory=list)


def compare(
    ledger: Ledger,
    reading: Reading,
    open_delta: Callable[[MergeDelta], DeltaFacts],
    *,
    backfill: bool = False,
    old: TableMapping | None = None,
) -> Compared:
    """Compare the table with what *ledger* knows, and return what brings the two together.

    Args:
        ledger: The facts as published; only read.
        reading: Of the table.
        open_delta: Reads and checks a delta; raises a LifecycleError for one that cannot be merged.
        backfill: Whether runs that the ledger does not know are older than all that it knows.
        old: The mapping that the facts were made under, if it is another than the reading's. Then every field
            fact is made anew.

    Raises:
        Retryable: Under another mapping, items changed while the table was read.
    """
    comparing = (_Comparing if old is None else _Remaking)(ledger, reading, open_delta, backfill=backfill)
    comparing.old = old or reading.mapping
    comparing.runs()
    comparing.fields()
    comparing.orphans()
    return comparing.compared


class _Comparing:
    def __init__(
        self, ledger: Ledger, reading: Reading, open_delta: Callable[[MergeDelta], DeltaFacts], *, backfill: bool
    ) -> None:
        self.compared = Compared()
        self._ledger = ledger
        self._reading = reading
        self._open_delta = open_delta
        self._known = self._placed(ledger.every_field_fact())
        self._withheld = ledger.withheld()
        first = ledger.run(*_ADOPTION) is not None and not any(fact.as_of for fact in self._known.values())
        self._backfill = backfill or first
        self.old = reading.mapping

    def _placed(self, facts: Iterable[FieldFact]) -> dict[FieldKey, FieldFact]:
        """Return what is known by its place under the mapping of the reading."""
        return {(fact.reach, fact.item): fact for fact in facts}

    # Runs

    def runs(self) -> None:
        differences, joined = self.compared.differences, self.compared.joined
        for key, (change, pending) in sorted(self._reading.runs.items()):
            if key in self._withheld.runs:
                differences.withheld.append(key[0])
                continue
            known = self._ledger.run(*key)
            if known is not None:
                joined.merged[key] = known
                if pending:
                    differences.unwritten.append(key[0])
                    self.compared.told.append(change)
                continue
            try:
                self._merge(key, change)
                differences.missed.append(key[0])
            except LifecycleError as problem:
                joined.unmerged[key] = joined.problems[change.origin.source] = problem
                joined.outcomes[change.origin.source] = Outcome.FAILED
                differences.unmerged.append(key[0])
            self.compared.told.append(change)

    def _merge(self, key: RunKey, change: MergeDelta) -> None:
        delta, joined = self._open_delta(change), self.compared.joined
        check_content(self._ledger, change.address, delta.digest)
        position = BACKFILLED if self._backfill else self._newest_of(delta.ids).just_after()
        joined.runs[key] = joined.merged[key] = RunFact(*key, position, delta.digest, len(delta.ids))
        joined.deltas[change.address] = delta.ids
        joined.outcomes[change.origin.source] = Outcome.APPLIED

    def _newest_of(self, ids: Iterable[str]) -> Position:
        """Return the newest position of a run that wrote one of these records, or of a removal that covers one."""
        ids = set(ids)
        tombstones = self._ledger.tombstones({reach for record_id in ids for reach in prefixes(record_id)})
        return max(
            self._newest(self._ledger.writers(ids).values()),
            self._newest(fact for facts in tombstones.values() for fact in facts),
            key=self._place,
        )

    def _newest(self, facts: Iterable[RunFact | Tombstone]) -> Position:
        return max((fact.position for fact in facts), key=self._place, default=ADOPTED)

    def _place(self, position: Position) -> tuple[object, ...]:
        return position.among(self._reading.mapping.ordering, ItemKey(""))

    # Fields

    def fields(self) -> None:
        for key, (change, as_of) in self._reading.fields.items():
            self._field(key, change, as_of)
        for key, fact in self._known.items():
            if key not in self._reading.fields and key not in self._reading.refused:
                self._field(key, self._gone(key, fact), self._reading.began)
        for change in self._hinted():
            self._field((change.reach, change.origin.item), change, self._reading.began)
        self.compared.differences.refused += [item for _, item in self._reading.refused]

    def _gone(self, key: FieldKey, fact: FieldFact) -> WithdrawFields:
        return WithdrawFields(Origin("", self._reading.collection, fact.rule, fact.item, ADOPTED), key[0])

    def _field(self, key: FieldKey, change: ContributeFields | WithdrawFields, as_of: int) -> None:
        differences, known = self.compared.differences, self._known.get(key)
        if key in self._withheld.fields:
            differences.withheld.append(key[1])
            return
        read = _as_read(known, change, as_of)
        if known is not None and self._is_newer(key, known, read):
            return
        self.compared.joined.fields[key] = read
        now, before = self._given(read, self._reading.mapping), self._given(known, self.old) if known else None
        if not _gives(now):
            if before is None or _gives(before):
                differences.withdrawn.append(key[1])
        elif before is None:
            differences.missing.append(key[1])
        elif before != now:
            differences.stale.append(key[1])

    def _is_newer(self, key: FieldKey, known: FieldFact, read: FieldFact) -> bool:
        """Return whether something happened to the item since it was read."""
        del key
        return not read.covers(known.seen)

    def _given(self, fact: FieldFact, mapping: TableMapping) -> dict[str, tuple[type, object]]:
        given = mapping.contributions(fact.rule, self._reading.collection, fact.item, fact.image)
        return {each.key: (type(each.value), each.value) for each in given}

    def _hinted(self) -> Iterator[WithdrawFields]:
        """Yield, for each item that a record's id names and nobody has heard of, that it is gone."""
        reading = self._reading
        for match, item in self._named([rule for rule in self._rules if reading.collection in rule.sets]):
            reach = reading.mapping.reach(match, reading.collection)
            key = reach, item
            if not (key in reading.fields or key in reading.refused or key in self._known):
                yield WithdrawFields(Origin("", reading.collection, match.rule.name, item, ADOPTED), reach)

    # Records without an item

    def orphans(self) -> None:
        """Bury the records of items that are gone.

        A removal that the ledger knows was done, whatever came since. And a rule of which the table
        holds no item at all tells nothing: its items may never have been written.
        """
        reading = self._reading
        rules = [rule for rule in self._rules if reading.collection in rule.removal_deletes]
        gone = {
            (reading.mapping.reach(match, reading.collection), item): match.rule.name
            for match, item in self._named(rules)
            if item not in reading.present.get(match.rule.name, ())
        }
        known = self._ledger.tombstones({reach for reach, _ in gone})
        removed = {(fact.reach, fact.item): fact for facts in known.values() for fact in facts}
        for (reach, item), rule in sorted(gone.items()):
            runs = self._runs_below.get(reach, [])
            newest = max((run.position for run in runs), key=self._place)
            if (reach, item) in removed:
                # The ledger knows this removal; only a run that it does not know could undo it by mistake.
                buried = any(run in self.compared.joined.runs.values() for run in runs)
            else:
                buried = rule in reading.present and (reach, item) not in self._withheld.tombstones
            # Where a run came since, the item may have come after its page was read.
            if buried and newest.created_seconds < reading.began - LEEWAY_SECONDS:
                self.compared.joined.tombstones[reach, item] = Tombstone(rule, item, reach, newest.just_after())
                self.compared.differences.orphaned.append(item)

    @cached_property
    def _runs_below(self) -> dict[str, list[RunFact]]:
        """The runs that have written records of each reach, those that are about to do so included."""
        found: dict[str, dict[RunKey, RunFact]] = {}
        for record_id, run in self._records():
            for reach in prefixes(record_id):
                found.setdefault(reach, {})[run.item, run.address] = run
        return {reach: list(runs.values()) for reach, runs in found.items()}

    def _records(self) -> Iterator[tuple[str, RunFact]]:
        runs = {(run.item, run.address): run for run in self._ledger.runs()}
        for record_id, key in self._ledger.record_runs():
            yield record_id, runs[key]
        for run in self.compared.joined.runs.values():
            for record_id in self.compared.joined.deltas[run.address]:
                yield record_id, run

    def _named(self, rules: list[Rule]) -> Iterator[tuple[Match, ItemKey]]:
        """Yield each item of *rules* that the id of a record names, once."""
        reading, pattern = self._reading, self._reading.mapping.ids[self._reading.collection]
        full = [rule for rule in rules if set(rule.key.names) <= set(pattern.names)]
        told: set[tuple[str, ...]] = set()
        for record_id in dict.fromkeys(record_id for record_id, _ in self._records()):
            values = pattern.match(record_id)
            for rule in full if values is not None else ():
                assert values is not None
                key = rule.name, *(values[name] for name in rule.key.names)
                if key in told:
                    continue
                told.add(key)
                item = reading.mapping.key_of(rule.name, values)
                match = reading.mapping.match(item)
                if match is not None and match.rule.name == rule.name:
                    yield match, item

    @property
    def _rules(self) -> Iterable[Rule]:
        return self._reading.mapping.rules.values()


class _Remaking(_Comparing):
    """Compares facts of another mapping, and makes every field fact anew.

    A reading began after all that its version knows was published, so it tells what is at least as new.
    """

    def __init__(
        self, ledger: Ledger, reading: Reading, open_delta: Callable[[MergeDelta], DeltaFacts], *, backfill: bool
    ) -> None:
        self._left: list[FieldFact] = []
        self._reading = reading
        super().__init__(ledger, reading, open_delta, backfill=backfill)
        self._since = ledger.fields_after(reading.version)
        self._unsettled: list[ItemKey] = []

    def _placed(self, facts: Iterable[FieldFact]) -> dict[FieldKey, FieldFact]:
        reading, placed = self._reading, dict[FieldKey, FieldFact]()
        for fact in facts:
            match = reading.mapping.match(fact.item)
            if match is None or reading.collection not in match.rule.sets:
                self._left.append(fact)
                continue
            placed[reading.mapping.reach(match, reading.collection), fact.item] = fact
        return placed

    def fields(self) -> None:
        reading, differences = self._reading, self.compared.differences
        super().fields()
        for key in reading.refused.keys() & self._known.keys():
            # What it was is not what the mapping reads of it: until it is mended it gives nothing.
            known = self._known[key]
            self.compared.joined.fields[key] = _as_read(known, self._gone(key, known), known.as_of)
        differences.left += [fact.item for fact in self._left if _gives(self._given(fact, self.old))]
        if self._unsettled:
            names = ", ".join(map(reading.mapping.spell, self._unsettled[:_NAMED]))
            more = f" and {len(self._unsettled) - _NAMED:,} more" if len(self._unsettled) > _NAMED else ""
            raise Retryable(
                f"{names}{more} changed while the table was read, and under the mapping that was in force "
                "nobody noted all that the new one reads of them",
                hint="pause what compacts (`chroma-lifecycle pause`), and run the same resync again",
            )

    def _gone(self, key: FieldKey, fact: FieldFact) -> WithdrawFields:
        match = self._reading.mapping.match(fact.item)
        assert match is not None  # it has a place under this mapping
        return WithdrawFields(Origin("", self._reading.collection, match.rule.name, fact.item, ADOPTED), key[0])

    def _is_newer(self, key: FieldKey, known: FieldFact, read: FieldFact) -> bool:
        newer = not read.covers(known.seen) and (known.reach, known.item) in self._since
        if newer:
            self._unsettled.append(key[1])
        return newer


def _gives(given: Mapping[str, tuple[type, object]]) -> bool:
    return any(value is not None for _, value in given.values())


def _as_read(known: FieldFact | None, change: ContributeFields | WithdrawFields, as_of: int) -> FieldFact:
    """Return what the table says of an item, with the sequence that it had."""
    origin, at = change.origin, known.seen if known else ADOPTED
    fact = FieldFact(origin.rule, origin.item, change.reach, position=at, seen=at, present=False, as_of=as_of)
    return fact if isinstance(change, WithdrawFields) else replace(fact, present=True, attributes=change.image)
