"""Flat change messages of older producers, made into stream records, so that nothing after this knows.

They carry no sequence: their position is their timestamp and content, older than every stream record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import AttributeValue, Image
from chroma_lifecycle.intake.json_text import shorten
from chroma_lifecycle.intake.mapping import FlatMessage, MergeTarget, Rule, TableMapping
from chroma_lifecycle.intake.problems import allowed
from chroma_lifecycle.intake.records import EventName, StreamRecord, datetime_of, event_name
from chroma_lifecycle.intake.rules import PENDING
from chroma_lifecycle.values import Position, digest_of

CHANGES = "changes"
"""The place that names only what changed: ``changes.X.new``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HINT = "mend the producer, or the mapping's 'flat_messages'"


def is_flat_message(value: object) -> bool:
    """Return whether *value* says that it is a flat change message, sound or not."""
    return isinstance(value, Mapping) and "entity_type" in value


def parse_flat_message(
    body: Mapping[str, Any], source: str, mapping: TableMapping, collection: str | None = None
) -> StreamRecord:
    """Return the stream record that the table would have written.

    Args:
        body: The message, parsed.
        source: What the queue wants back.
        mapping: Says which rule's item the message is about, and where values stand.
        collection: From the message's attribute, if it has one.

    Raises:
        BadInput: A field is missing or malformed, or the mapping does not know the entity type.
    """
    entity = body["entity_type"]
    flat = mapping.flat_messages.get(entity) if isinstance(entity, str) else None
    if flat is None:
        choices = allowed(mapping.flat_messages, entity if isinstance(entity, str) else None)
        raise _refused(f"entity_type {shorten(entity)} is not in the mapping's 'flat_messages'; {choices}")
    message = _Message(body, flat, mapping.rules[flat.rule], _collection(body, collection))
    key = mapping.key_of(flat.rule, message.part("entity_data"))
    names = [mapping.partition_key, mapping.sort_key] if mapping.sort_key else [mapping.partition_key]
    name = event_name(body.get("event_name"))
    new, old, partial = message.images(name, mapping)
    return StreamRecord(
        source=source,
        event_name=name,
        keys={name: {"S": text} for name, text in zip(names, (key.partition, key.sort), strict=False)},
        new_image=new,
        old_image=old,
        position=_position(body),
        partial=partial,
        collection=message.collection,
    )


class _Message:
    """One message, seen by the mapping's entry for its entity type."""

    def __init__(self, body: Mapping[str, Any], flat: FlatMessage, rule: Rule, collection: str | None) -> None:
        self._body = body
        self._flat = flat
        self._rule = rule
        self.collection = collection

    def part(self, name: str) -> Mapping[str, Any]:
        """Return an object of the message; one that is missing is empty."""
        value = self._body.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise _refused(f"{name!r} is no object")
        return value

    def images(self, name: EventName, mapping: TableMapping) -> tuple[Image | None, Image | None, bool]:
        """Return the item after and before the event, and whether the former names only some attributes.

        Without a place that shows the whole item, only what is named is known.
        """
        if name == "REMOVE":
            return None, None, False
        new, old = self._run_images(name) if self._flat.delta_from else ({}, None)
        places = [place for place in self._flat.image_from if self._body.get(place) is not None]
        if self._flat.image_from and not places:
            raise _refused(f"it has none of {', '.join(self._flat.image_from)}, where its values would stand")
        reads = {name for each in self._rule.sets for name in mapping.reads(self._rule, each)}
        values = {name: _attribute(found[0]) for name in sorted(reads) if (found := list(self._found(name, places)))}
        return {**values, **new}, old, set(places) <= {CHANGES}

    def _found(self, attribute: str, places: list[str]) -> Iterator[object]:
        """Yield the values that an attribute has, in the order of the places to look."""
        for place in places:
            values = self.part(place)
            if place == CHANGES:
                yield from self._changed(attribute, "new")
            elif attribute in values:
                yield values[attribute]

    def _changed(self, attribute: str, side: str) -> Iterator[object]:
        change = self.part(CHANGES).get(attribute)
        if change is not None:
            if not isinstance(change, Mapping) or side not in change:
                raise _refused(f"'changes.{attribute}' is no object with 'old' and 'new'")
            yield change[side]

    def _run_images(self, name: EventName) -> tuple[dict[str, AttributeValue], Image | None]:
        """Return what a run item holds of its delta and state after the event, and before it.

        The message says PENDING by being there; what it says in ``changes`` is more exact: a
        status write of ours comes back as a message too, and begins nothing.
        """
        target = self._target()
        if target is None:
            return {}, None
        assert self._flat.delta_from is not None
        address = self.part("entity_data").get(self._flat.delta_from)
        assumed: dict[str, object] = {target.delta: address, target.state: PENDING}
        if name == "INSERT":
            return _attributes(assumed), None
        if self._body.get(CHANGES) is None:
            raise _refused("the MODIFY of a run has no 'changes', so it does not tell whether it begins the run")
        return _attributes(assumed | self._sides(target, "new")), _attributes(assumed | self._sides(target, "old"))

    def _sides(self, target: MergeTarget, side: str) -> dict[str, object]:
        assert self._flat.delta_from is not None
        named = {self._flat.delta_from: target.delta, target.delta: target.delta, target.state: target.state}
        return {attribute: value for name, attribute in named.items() for value in self._changed(name, side)}

    def _target(self) -> MergeTarget | None:
        """Return the run's attributes for the message's collection; ``None`` if the rule merges nothing there."""
        if self.collection is not None:
            return self._rule.merges.get(self.collection)
        if len(self._rule.merges) != 1:
            raise _refused(f"it names no collection; allowed: {', '.join(self._rule.merges)}")
        return next(iter(self._rule.merges.values()))


def _collection(body: Mapping[str, Any], attribute: str | None) -> str | None:
    named = body.get("collection")
    if named is not None and not isinstance(named, str):
        raise _refused("'collection' is no text")
    if named is not None and attribute is not None and named != attribute:
        raise _refused(f"its body is for collection {shorten(named)}, its attribute for {shorten(attribute)}")
    return attribute if named is None else named


def _position(body: Mapping[str, Any]) -> Position:
    timestamp = body.get("timestamp")
    moment = datetime_of(timestamp) if isinstance(timestamp, str) else None
    if moment is None:
        raise _refused(f"its timestamp is {shorten(timestamp)}; expected ISO 8601, in UTC unless it has an offset")
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=_canonical_number)
    return Position.of_message((moment - _EPOCH) // timedelta(microseconds=1), digest_of(text.encode()))


def _canonical_number(value: object) -> object:
    assert isinstance(value, Decimal)
    return {"N": str(value)}


def _attributes(values: Mapping[str, object]) -> dict[str, AttributeValue]:
    return {name: _attribute(value) for name, value in values.items() if value is not None}


def _attribute(value: object) -> AttributeValue:
    """Return a plain JSON value in DynamoDB's own JSON."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | float() | Decimal():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case Mapping():
            return {"M": {name: _attribute(each) for name, each in value.items()}}
        case list():
            return {"L": [_attribute(each) for each in value]}
        case _:
            raise _refused(f"a value of type {type(value).__name__}")


def _refused(problem: str) -> BadInput:
    return BadInput(f"the flat message is refused: {problem}", hint=_HINT)
