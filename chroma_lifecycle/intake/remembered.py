"""A mapping that is no longer in force, from what it said: facts that were made under it are read by it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chroma_lifecycle.errors import Corrupt, LifecycleError
from chroma_lifecycle.intake.contributions import (
    SIMPLE_FOLDS,
    Among,
    Choice,
    Condition,
    Constant,
    Copy,
    Fold,
    Key,
    Member,
    Present,
    Source,
)
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.patterns import Pattern
from chroma_lifecycle.intake.rules import FlatMessage, MergeTarget, Rule
from chroma_lifecycle.values import Digest, Ordering

_NO_LINE = 0  # there is no file


def recall(meaning: Mapping[str, Any], digest: Digest) -> TableMapping:
    """Return the mapping whose :attr:`TableMapping.meaning` this is.

    Args:
        meaning: As a ledger remembers it.
        digest: Under which it was remembered; the mapping returned has the same.

    Raises:
        Corrupt: It is not what was remembered under this digest.
    """
    try:
        mapping = _mapping(meaning)
    except (LookupError, TypeError, ValueError, AttributeError, LifecycleError) as problem:
        raise _unreadable(digest) from problem
    if mapping.digest != digest:
        raise _unreadable(digest)
    return mapping


def _unreadable(digest: Digest) -> Corrupt:
    return Corrupt(
        f"what the mapping {digest[:12]} said is not what the ledger remembers of it",
        hint="restore the last sound version, or begin the collection anew with init",
    )


def _mapping(meaning: Mapping[str, Any]) -> TableMapping:
    table: dict[str, str] = meaning["table"]
    return TableMapping(
        ordering=Ordering(meaning["ordering"]),
        partition_key=table["partition_key"],
        sort_key=table.get("sort_key"),
        ids={name: Pattern.parse(text) for name, text in meaning["collections"].items()},
        rules={name: _rule(name, parts, table) for name, parts in meaning["rules"].items()},
        flat_messages={
            kind: FlatMessage(parts["rule"], parts.get("delta_from"), tuple(parts.get("image_from", ())))
            for kind, parts in meaning["flat_messages"].items()
        },
    )


def _rule(name: str, parts: Mapping[str, Any], table: Mapping[str, str]) -> Rule:
    item, sort_key = parts["item"], table.get("sort_key")
    return Rule(
        name,
        partition=Pattern.parse(item[table["partition_key"]]),
        sort=Pattern.parse(item[sort_key]) if sort_key else None,
        sets={
            collection: tuple(_key(key, said) for key, said in keys.items())
            for collection, keys in parts.get("set", {}).items()
        },
        when=tuple(_conditions(parts.get("when", {}))),
        merges={collection: MergeTarget(**target) for collection, target in parts.get("merge", {}).items()},
        removal_deletes=frozenset(parts.get("removal_deletes", ())),
        line=_NO_LINE,
    )


def _key(name: str, said: Mapping[str, Any]) -> Key:
    return Key(Pattern.parse(name), _source(said), _fold(said.get("fold")), _NO_LINE)


def _source(said: Mapping[str, Any]) -> Source:
    if "value" in said:
        return Constant(said["value"])
    attribute, otherwise = said["from"], said.get("otherwise")
    if "values" in said:
        return Choice(attribute, tuple((json.loads(text), value) for text, value in said["values"].items()), otherwise)
    if "member" in said:
        return Member(attribute, said["member"], otherwise)
    return Copy(attribute, otherwise)


def _fold(said: Any) -> Fold | None:
    if said is None:
        return None
    return SIMPLE_FOLDS[said] if isinstance(said, str) else Fold("first", tuple(said["first"]))


def _conditions(said: Mapping[str, Any]) -> Iterator[Condition]:
    for attribute, values in said.items():
        match values:
            case list():
                yield Among(attribute, tuple(values))
            case {"not": others}:
                yield Among(attribute, tuple(others), inverted=True)
            case _:
                yield Present(attribute)
