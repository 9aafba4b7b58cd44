"""What a mapping owns, and what an event would do under it, told before it happens.

Everything here returns frozen dataclasses of plain values: ``dataclasses.asdict`` makes JSON of
them, and :mod:`chroma_lifecycle.intake.explain_text` makes lines for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import (
    Change,
    ContributeFields,
    DeleteRecords,
    Image,
    MergeDelta,
    RefusedFields,
    WithdrawFields,
)
from chroma_lifecycle.intake.contributions import Fold, Key
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.records import StreamRecord
from chroma_lifecycle.intake.rules import Rule
from chroma_lifecycle.values import ItemKey, Ordering, Scalar

BELOW = "#…"
"""Follows an id to say: and all ids below it."""

ANY_ID = "any"


@dataclass(frozen=True, slots=True)
class OwnedKey:
    """A metadata key that a rule owns.

    Attributes:
        source: Where the value comes from, in the words of the language.
        feeders: Placeholders by which the items that feed it differ; none if one item feeds it.
    """

    name: str
    source: Mapping[str, object]
    feeders: tuple[str, ...]
    fold: object


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule can do in one collection.

    Attributes:
        reach: Pattern of the ids that it reaches; ``#…`` stands for all below.
        merge: Attributes of the run item; empty if the rule merges nothing there.
        run_ids: Pattern of the ids that a delta may hold; ``any`` where it may hold all.
    """

    collection: str
    reach: str | None
    keys: tuple[OwnedKey, ...]
    merge: Mapping[str, object]
    run_ids: str | None
    removal_deletes: bool


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """A rule: the items that it takes, and what they can do."""

    name: str
    line: int
    item: str
    when: Mapping[str, object]
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class ExplainedShards:
    """With how many shards a collection begins, and the beginning of the ids that decides a record's."""

    count: int
    by: str


@dataclass(frozen=True, slots=True)
class ExplainedMapping:
    """A mapping: its digest, its collections with the patterns of their ids, its rules.

    Attributes:
        shards: Of each collection that is in shards, how many it begins with, and what decides about them.
    """

    digest: str
    ordering: str
    collections: Mapping[str, str]
    shards: Mapping[str, ExplainedShards]
    rules: tuple[ExplainedRule, ...]


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A key that an item owns, with what it gives; ``None`` is nothing."""

    name: str
    value: Scalar | None
    fold: object


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an event would do in one collection.

    Attributes:
        reach: The id that the item reaches, or a prefix with ``#…``; ``None`` if it reaches none.
        keys: All keys that the item owns there.
        moves: Attributes that a partial image names, instead of keys: what these become
            depends on the other attributes, which stand as they were.
        run: Address of the delta whose run begins.
        run_ids: The ids that this delta may hold.
        deletes: Whether the records reached are deleted.
        problem: Why the event is bad input here.
    """

    collection: str
    reach: str | None = None
    keys: tuple[GivenKey, ...] = ()
    moves: tuple[str, ...] = ()
    run: str | None = None
    run_ids: str | None = None
    deletes: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ExplainedEvent:
    """One stream record, and what it would do.

    Attributes:
        ignored: Why it does nothing.
        problem: Why it is bad input.
        rule: That takes the item; ``None`` if the event is ignored or bad.
        line: Of the rule, in the mapping's file.
        values: Of the placeholders, as the key spells them.
    """

    event_name: str
    item: str
    ignored: str | None = None
    problem: str | None = None
    rule: str | None = None
    line: int | None = None
    values: Mapping[str, str] | None = None
    outcomes: tuple[Outcome, ...] = ()


def explain_mapping(mapping: TableMapping) -> ExplainedMapping:
    """Return what each rule reaches and owns, and whether one item or several feed each key."""
    return ExplainedMapping(
        digest=mapping.digest,
        ordering=str(mapping.ordering),
        collections={name: str(pattern) for name, pattern in mapping.ids.items()},
        shards={name: ExplainedShards(count, str(mapping.routing(name))) for name, count in mapping.shards.items()},
        rules=tuple(_explain_rule(mapping, rule) for rule in mapping.rules.values()),
    )


def explain_events(mapping: TableMapping, records: Iterable[StreamRecord]) -> tuple[ExplainedEvent, ...]:
    """Return what each stream record would do, were it the newest of its item."""
    return tuple(_explain_event(mapping, record) for record in records)


def _explain_rule(mapping: TableMapping, rule: Rule) -> ExplainedRule:
    return ExplainedRule(
        name=rule.name,
        line=rule.line,
        item=mapping.spell(ItemKey(str(rule.partition), str(rule.sort or ""))),
        when={condition.attribute: condition.meaning() for condition in rule.when},
        effects=tuple(_effect(mapping, rule, name) for name in mapping.collections if name in rule.collections),
    )


def _effect(mapping: TableMapping, rule: Rule, collection: str) -> Effect:
    target = rule.merges.get(collection)
    selects = _selects(rule, collection)
    return Effect(
        collection=collection,
        reach=_reach(mapping, rule, collection, mapping.reach_pattern(rule.name, collection)) if selects else None,
        keys=tuple(_owned_key(mapping, rule, collection, key) for key in rule.sets.get(collection, ())),
        merge=target.meaning() if target else {},
        run_ids=_below(str(rule.partition) if mapping.ordering is Ordering.EXACT else None) if target else None,
        removal_deletes=collection in rule.removal_deletes,
    )


def _owned_key(mapping: TableMapping, rule: Rule, collection: str, key: Key) -> OwnedKey:
    return OwnedKey(str(key.name), key.source.meaning(), mapping.feeders(rule, collection, key), _fold(key.fold))


def _explain_event(mapping: TableMapping, record: StreamRecord) -> ExplainedEvent:
    try:
        item = mapping.item_key(record.keys)
        changes = changes_of(record, mapping)
    except BadInput as problem:
        return ExplainedEvent(record.event_name, "?", problem=str(problem))
    if item is None:
        return ExplainedEvent(record.event_name, "?", ignored="no rule's item fits a binary key")
    spelt = mapping.spell(item)
    match = mapping.match(item)
    if match is None:
        return ExplainedEvent(record.event_name, spelt, ignored=f"no rule's item fits {spelt}")
    touched = [name for name in mapping.collections if name in match.rule.collections]
    return ExplainedEvent(
        record.event_name,
        spelt,
        rule=match.rule.name,
        line=match.rule.line,
        values=match.values,
        outcomes=tuple(
            _outcome(mapping, match.rule, name, [change for change in changes if change.origin.collection == name])
            for name in touched
            if record.collection in (None, name)
        ),
    )


def _outcome(mapping: TableMapping, rule: Rule, collection: str, changes: Iterable[Change]) -> Outcome:
    outcome = Outcome(collection)
    for change in changes:
        outcome = _with(outcome, change, mapping, rule)
    return outcome


def _with(outcome: Outcome, change: Change, mapping: TableMapping, rule: Rule) -> Outcome:
    match change:
        case MergeDelta():
            return replace(outcome, run=change.address, run_ids=_below(change.below))
        case RefusedFields():
            return replace(outcome, problem=str(change.problem))
    outcome = replace(outcome, reach=_reach(mapping, rule, outcome.collection, change.reach))
    match change:
        case ContributeFields(partial=True):
            return replace(outcome, moves=tuple(sorted(change.image)))
        case ContributeFields():
            return replace(outcome, keys=_given(mapping, change, change.image))
        case WithdrawFields():
            return replace(outcome, keys=_given(mapping, change, None))
        case DeleteRecords():
            return replace(outcome, deletes=True)


def _given(
    mapping: TableMapping, change: ContributeFields | WithdrawFields, image: Image | None
) -> tuple[GivenKey, ...]:
    origin = change.origin
    contributions = mapping.contributions(origin.rule, origin.collection, origin.item, image)
    return tuple(GivenKey(each.key, each.value, _fold(each.fold)) for each in contributions)


def _selects(rule: Rule, collection: str) -> bool:
    return collection in rule.sets or collection in rule.removal_deletes


def _reach(mapping: TableMapping, rule: Rule, collection: str, reach: object) -> str:
    whole = set(mapping.ids[collection].names) <= set(rule.key.names)
    return str(reach) if whole else f"{reach}{BELOW}"


def _below(partition: str | None) -> str:
    return ANY_ID if partition is None else f"{partition}{BELOW}"


def _fold(fold: Fold | None) -> object:
    return None if fold is None else fold.meaning()
