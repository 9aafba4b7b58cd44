"""The mapping: which table items matter, which records they reach, and what they do there.

The key decides where, the attributes decide what. A mapping is read from YAML by
:mod:`chroma_lifecycle.intake.mapping_file`; what reaches this module has been checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import cast

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.attributes import decode, plain_number
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.contributions import Contribution, Fold, Key, contribute
from chroma_lifecycle.intake.patterns import Pattern
from chroma_lifecycle.intake.rules import FlatMessage, Match, MergeTarget, Rule
from chroma_lifecycle.values import Digest, ItemKey, Ordering, digest_of

__all__ = ["Contribution", "FlatMessage", "Fold", "Match", "MergeTarget", "Rule", "TableMapping"]

LANGUAGE = 1
"""The version of the mapping language that this release reads."""


@dataclass(frozen=True)
class TableMapping:
    """All rules for one table.

    Attributes:
        ordering: How changes of different items are ordered.
        partition_key: Name of the table's partition key.
        sort_key: Name of its sort key, if it has one.
        ids: By collection, the pattern of its records' ids.
        shards: With how many shards a collection begins, for those that are in shards. It is no part of the
            meaning: facts are the same in any number of them.
    """

    ordering: Ordering
    partition_key: str
    sort_key: str | None
    ids: Mapping[str, Pattern]
    rules: Mapping[str, Rule]
    flat_messages: Mapping[str, FlatMessage]
    shards: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def collections(self) -> tuple[str, ...]:
        """The names of the collections."""
        return tuple(self.ids)

    @cached_property
    def meaning(self) -> dict[str, object]:
        """What the mapping says, without its layout: equal meanings make equal facts. It is JSON."""
        return {
            "mapping": LANGUAGE,
            "ordering": str(self.ordering),
            "table": {"partition_key": self.partition_key, **({"sort_key": self.sort_key} if self.sort_key else {})},
            "collections": {name: str(pattern) for name, pattern in self.ids.items()},
            "rules": {name: rule.meaning(self.key_names) for name, rule in self.rules.items()},
            "flat_messages": {kind: message.meaning() for kind, message in self.flat_messages.items()},
        }

    @cached_property
    def digest(self) -> Digest:
        """The digest of the meaning."""
        text = json.dumps(self.meaning, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return digest_of(text.encode())

    def match(self, item: ItemKey) -> Match | None:
        """Return the rule that takes *item*, with the values in its key; ``None`` if no rule does."""
        for rule in self.rules.values():
            if (values := rule.match(item)) is not None:
                return Match(rule, values)
        return None

    def item_key(self, keys: Image) -> ItemKey | None:
        """Return the key of an item; ``None`` if it holds binary, which fits no pattern.

        Args:
            keys: The key attributes and no others. Numbers are taken in plain decimal form.

        Raises:
            BadInput: A key attribute is missing or malformed, or the table has another key.
        """
        if keys.keys() != self._key_names:
            raise BadInput(
                f"the item's key attributes are {', '.join(sorted(keys)) or 'missing'}, "
                f"but the mapping's table has {', '.join(self.key_names)}",
                hint="mend 'table' in the mapping, or see whether the event comes from another table",
            )
        texts = [_key_text(name, keys[name]) for name in self.key_names]
        return None if None in texts else ItemKey(*cast("list[str]", texts))

    def key_of(self, rule: str, values: Mapping[str, str | int]) -> ItemKey:
        """Return the key of the item of *rule* that has these values in its key.

        Args:
            rule: Name of the rule.
            values: At least the placeholders of the rule's item; a number as ``42``, ``"42"`` or ``"00042"``.

        Raises:
            BadInput: A value is missing or does not fit its placeholder.
        """
        owner = self.rules[rule]
        texts = {name: _placeholder_text(rule, name, values) for name in owner.key.names}
        try:
            sort = owner.sort.format(texts) if owner.sort else ""
            return ItemKey(owner.partition.format(texts), sort)
        except BadInput as problem:
            raise BadInput(f"the key of an item of rule {rule!r}: {problem.message}", hint=problem.hint) from problem

    def reads(self, rule: Rule, collection: str) -> frozenset[str]:
        """Return the attributes that decide what *rule* sets in *collection*."""
        return self._reads.get((rule.name, collection), frozenset())

    def feeders(self, rule: Rule, collection: str, key: Key) -> tuple[str, ...]:
        """Return the placeholders by which the items that feed a key of one record differ; none if it is one item."""
        shared = {*self.ids[collection].names, *key.name.names}
        return tuple(name for name in rule.key.names if name not in shared)

    def reach(self, match: Match, collection: str) -> str:
        """Return the id of the record that the item reaches, or the prefix of all of them.

        A prefix covers the id that it is, and ids that go on with ``#``.
        """
        return self._reaches[match.rule.name, collection].format(match.values)

    def below(self, match: Match) -> str | None:
        """Return the partition key with which every id of a run's delta must begin; ``None`` for any id."""
        return match.rule.partition.format(match.values) if self.ordering is Ordering.EXACT else None

    def fits(self, collection: str, record_id: str) -> bool:
        """Return whether *record_id* can be an id in *collection*."""
        return self.ids[collection].match(record_id) is not None

    def portion(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the ids of a delta that are merged: all of them, but in a shard."""
        return ids

    def routing(self, collection: str) -> Pattern:
        """Return the beginning of the ids of *collection* that every change of it knows: what decides the shard.

        A run knows its partition key, where the ordering is exact; otherwise it can write any id.
        """
        ids, exact = self.ids[collection], self.ordering is Ordering.EXACT
        known = [len(pattern.segments) for (_, name), pattern in self._reaches.items() if name == collection]
        if exact:
            rules = (rule for rule in self.rules.values() if collection in rule.collections)
            known += [len(rule.partition.segments) for rule in rules]
        return Pattern(ids.segments[: min(known, default=len(ids.segments))])

    def contributions(self, rule: str, collection: str, item: ItemKey, image: Image | None) -> tuple[Contribution, ...]:
        """Return every key that *rule* owns in *collection* for *item*, with or without a value.

        A templated name that equals a fixed name of the collection is left out.

        Args:
            rule: Name of the rule that takes the item.
            collection: Name of the collection.
            item: Key of the item.
            image: What the item holds; ``None`` if it was removed.

        Raises:
            BadInput: An attribute has a value that no record can take.
        """
        return self.given(rule, item, self.named_keys(rule, collection, item), image)

    def given(
        self, rule: str, item: ItemKey, keys: Sequence[tuple[str, Key]], image: Image | None
    ) -> tuple[Contribution, ...]:
        """Return what :meth:`contributions` does, to *keys* as :meth:`named_keys` gives them."""
        try:
            return contribute(keys, image if image is None or self.rules[rule].holds(image) else None)
        except BadInput as problem:
            where = f"rule {rule!r}, item {self.spell(item)}"
            raise BadInput(f"{where}: {problem.message}", hint=problem.hint) from problem

    def named_keys(self, rule: str, collection: str, item: ItemKey) -> list[tuple[str, Key]]:
        """Return the keys that *rule* owns in *collection* for *item*, each beside its name there."""
        templated, keys = self._owned.get((rule, collection), (False, []))
        if not templated:
            return keys
        values = self.rules[rule].match(item)
        assert values is not None, "the item belongs to another rule"
        fixed = self._fixed_names[collection]
        named = [(key.name.format(values) if key.name.names else name, key) for name, key in keys]
        return [(name, key) for name, key in named if not key.name.names or name not in fixed]

    def spell(self, item: ItemKey) -> str:
        """Return the key of *item* for people: ``PK=a, SK=b``."""
        key = (item.partition, item.sort)
        return ", ".join(f"{name}={text}" for name, text in zip(self.key_names, key, strict=False))

    def reach_pattern(self, rule: str, collection: str) -> Pattern:
        """Return what :meth:`reach` fills in."""
        return self._reaches[rule, collection]

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        """The names of the table's key attributes, the partition key first."""
        return (self.partition_key,) if self.sort_key is None else (self.partition_key, self.sort_key)

    @cached_property
    def _key_names(self) -> frozenset[str]:
        return frozenset(self.key_names)

    @cached_property
    def _reads(self) -> dict[tuple[str, str], frozenset[str]]:
        return {
            (rule.name, collection): frozenset(
                [key.source.attribute for key in keys if key.source.attribute is not None]
                + [condition.attribute for condition in rule.when]
            )
            for rule in self.rules.values()
            for collection, keys in rule.sets.items()
        }

    @cached_property
    def _reaches(self) -> dict[tuple[str, str], Pattern]:
        found = {
            (rule.name, collection): self.ids[collection].beginning(rule.key.names)
            for rule in self.rules.values()
            for collection in rule.removal_deletes.union(rule.sets)
        }
        return {place: pattern for place, pattern in found.items() if pattern is not None}

    @cached_property
    def _owned(self) -> dict[tuple[str, str], tuple[bool, list[tuple[str, Key]]]]:
        """By rule and collection: whether any name is templated, and each key beside its name as written."""
        return {
            (rule.name, collection): (
                any(key.name.names for key in keys),
                [(str(key.name), key) for key in keys],
            )
            for rule in self.rules.values()
            for collection, keys in rule.sets.items()
        }

    @cached_property
    def _fixed_names(self) -> dict[str, frozenset[str]]:
        names: dict[str, set[str]] = {collection: set() for collection in self.ids}
        for (_, collection), (_, keys) in self._owned.items():
            names[collection].update(name for name, key in keys if not key.name.names)
        return {collection: frozenset(each) for collection, each in names.items()}


def _key_text(name: str, attribute: object) -> str | None:
    value = decode(name, attribute)
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return plain_number(value)
    if isinstance(value, bytes):
        return None
    raise BadInput(
        f"key attribute {name!r} is neither text, number nor binary",
        hint="see whether the event comes from a DynamoDB table",
    )


def _placeholder_text(rule: str, name: str, values: Mapping[str, str | int]) -> str:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        found = "is missing" if value is None else "is neither text nor a whole number"
        raise BadInput(
            f"the key of an item of rule {rule!r} needs {{{name}}}, which {found}",
            hint=f"give {name!r} a value: in the message; for a run, by --key {name}=... or run({name}=...)",
        )
    text = decode(name, {"S": str(value)})  # the same text as in a stream record
    assert isinstance(text, str)
    return text
