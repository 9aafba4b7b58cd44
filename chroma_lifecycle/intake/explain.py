"""What a mapping owns, and what an event would do under it, told before it happens.

Everything here returns frozen dataclasses of plain values: ``dataclasses.asdict`` makes JSON of
them, and :mod:`chroma_lifecycle.intake.explain_text` makes lines for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.contributions import Fold, Key
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.rules import Match, MergeTarget, Rule
from chroma_lifecycle.values import ItemKey, Ordering, Scalar

BELOW = "#…"
"""Follows an id to say: and all ids below it."""

ANY_ID = "…"


class ExplainedRecord(Protocol):
    """A stream record, as far as it is explained."""

    @property
    def event_name(self) -> str:
        """INSERT, MODIFY or REMOVE."""
        ...

    @property
    def keys(self) -> Image:
        """The key attributes."""
        ...

    @property
    def new_image(self) -> Image | None:
        """The item after the event."""
        ...

    @property
    def old_image(self) -> Image | None:
        """The item before the event."""
        ...


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
        run_ids: Pattern of the ids that a delta may hold; ``…`` for any.
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
class ExplainedMapping:
    """A mapping: its digest, its collections with the patterns of their ids, its rules."""

    digest: str
    ordering: str
    collections: Mapping[str, str]
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
        reach: The id that the item reaches, or a prefix with ``#…``; ``None`` for a run alone.
        run: Address of the delta whose run begins.
        run_ids: The ids that this delta may hold.
        deletes: Whether the records reached are deleted.
        problem: Why the event is bad input here; nothing else happens then.
    """

    collection: str
    reach: str | None = None
    keys: tuple[GivenKey, ...] = ()
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
        rules=tuple(_explain_rule(mapping, rule) for rule in mapping.rules.values()),
    )


def explain_events(mapping: TableMapping, records: Iterable[ExplainedRecord]) -> tuple[ExplainedEvent, ...]:
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


def _explain_event(mapping: TableMapping, record: ExplainedRecord) -> ExplainedEvent:
    try:
        item = mapping.item_key(record.keys)
    except BadInput as problem:
        return ExplainedEvent(record.event_name, "?", problem=str(problem))
    if item is None:
        return ExplainedEvent(record.event_name, "?", ignored="no rule's item fits a binary key")
    spelt = mapping.spell(item)
    match = mapping.match(item)
    if match is None:
        return ExplainedEvent(record.event_name, spelt, ignored=f"no rule's item fits {spelt}")
    return ExplainedEvent(
        record.event_name,
        spelt,
        rule=match.rule.name,
        line=match.rule.line,
        values=match.values,
        outcomes=tuple(
            _outcome(mapping, match, item, record, collection)
            for collection in mapping.collections
            if collection in match.rule.collections
        ),
    )


def _outcome(mapping: TableMapping, match: Match, item: ItemKey, record: ExplainedRecord, collection: str) -> Outcome:
    rule, removed = match.rule, record.event_name == "REMOVE"
    target = rule.merges.get(collection)
    try:
        image = None if removed or not (target or collection in rule.sets) else _new_image(record)
        run = _begun(target, record, image) if target and image is not None else None
        given = mapping.contributions(rule.name, collection, item, image)
    except BadInput as problem:
        return Outcome(collection, problem=str(problem))
    reach = mapping.reach(match, collection) if _selects(rule, collection) else None
    return Outcome(
        collection=collection,
        reach=None if reach is None else _reach(mapping, rule, collection, reach),
        keys=tuple(GivenKey(each.key, each.value, _fold(each.fold)) for each in given),
        run=run,
        run_ids=_below(mapping.below(match)) if run else None,
        deletes=removed and collection in rule.removal_deletes,
    )


def _new_image(record: ExplainedRecord) -> Image:
    if record.new_image is None:
        raise BadInput(
            f"the {record.event_name} has no new image",
            hint="give the stream the view type NEW_AND_OLD_IMAGES",
        )
    return record.new_image


def _begun(target: MergeTarget, record: ExplainedRecord, image: Image) -> str | None:
    address = target.begun(image, record.old_image)
    if address and record.old_image is None and record.event_name == "MODIFY":
        raise BadInput(
            "the MODIFY of a pending run has no old image, so it does not tell whether it begins the run",
            hint="give the stream the view type NEW_AND_OLD_IMAGES",
        )
    return address


def _selects(rule: Rule, collection: str) -> bool:
    return collection in rule.sets or collection in rule.removal_deletes


def _reach(mapping: TableMapping, rule: Rule, collection: str, reach: object) -> str:
    whole = set(mapping.ids[collection].names) <= set(rule.key.names)
    return str(reach) if whole else f"{reach}{BELOW}"


def _below(partition: str | None) -> str:
    return ANY_ID if partition is None else f"{partition}{BELOW}"


def _fold(fold: Fold | None) -> object:
    return None if fold is None else fold.meaning()
