"""Items of a table from the forms in which people have them: a scan's output, an export, a list, JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TypeAlias

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.attributes import Value, decode
from chroma_lifecycle.intake.json_text import kind_of

SampleItem: TypeAlias = Mapping[str, Value]
"""One item: attribute names and decoded values."""

_HINT = (
    "give what `aws dynamodb scan --table-name TABLE --max-items 200` prints, lines of an export to S3, "
    "or a JSON list of items"
)
_TYPES = frozenset({"S", "N", "BOOL", "NULL", "B", "SS", "NS", "BS", "L", "M"})


def read_sample(text: str, name: str) -> list[SampleItem]:
    """Return the items that *text* holds, in DynamoDB's own JSON or in plain JSON.

    Args:
        text: Of one file.
        name: Of the file, for messages.

    Raises:
        BadInput: It is not JSON, or no items are in it.
    """
    try:
        items = [_item(each) for value in _values(text) for each in _items(value)]
    except ValueError as problem:
        raise BadInput(f"the sample {name} cannot be read: {problem}", hint=_HINT) from problem
    if not items:
        raise BadInput(f"the sample {name} holds no items", hint=_HINT)
    return items


def _values(text: str) -> Iterator[object]:
    """Yield the one value of a JSON text, or those of its lines."""
    try:
        yield json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        yield from (json.loads(line, parse_float=Decimal) for line in lines)


def _items(value: object) -> Iterator[Mapping[str, object]]:
    match value:
        case {"Items": list(items)} | list(items):
            for each in items:
                yield from _items(each)
        case {"Item": dict(item)}:
            yield item
        case dict():
            yield value
        case _:
            raise ValueError(f"an item is an object of attributes, got {kind_of(value)}")


def _item(attributes: Mapping[str, object]) -> SampleItem:
    typed = all(isinstance(value, dict) and len(value) == 1 and value.keys() <= _TYPES for value in attributes.values())
    return {name: decode(name, value) if typed else _plain(value) for name, value in attributes.items()}


def _plain(value: object) -> Value:
    match value:
        case None | bool() | str() | Decimal():
            return value
        case int():
            return Decimal(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case _:
            raise ValueError(f"not a JSON value: {type(value).__name__}")
