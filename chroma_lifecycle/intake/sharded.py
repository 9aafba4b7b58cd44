"""A mapping as one shard of a collection sees it: the same rules, under the shard's own name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.rules import Rule

T = TypeVar("T")


@dataclass(frozen=True)
class ShardMapping(TableMapping):
    """The mapping of a table, of which one shard of one collection is left.

    Attributes:
        whole: What is left of. Its meaning is the shard's too: facts do not know in which shard they are.
        owns: Whether a record belongs to the shard.
    """

    whole: TableMapping | None = None
    owns: Callable[[str], bool] = bool

    @cached_property
    def meaning(self) -> dict[str, object]:
        """What the whole mapping says."""
        assert self.whole is not None
        return self.whole.meaning

    def portion(self, ids: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the ids of a delta that belong to the shard."""
        return tuple(filter(self.owns, ids))

    def as_it_sees(self, other: TableMapping, collection: str) -> ShardMapping:
        """Return what *other* says of *collection*, as of this shard."""
        (name,) = self.ids
        return shard_mapping(other, collection, name, self.owns)


def shard_mapping(whole: TableMapping, collection: str, name: str, owns: Callable[[str], bool]) -> ShardMapping:
    """Return what *whole* says of *collection*, as of a collection with the name of a shard.

    Args:
        whole: The mapping of the table.
        collection: One of its collections.
        name: Of the shard.
        owns: Whether a record belongs to the shard.
    """

    def left(by_collection: Mapping[str, T]) -> dict[str, T]:
        return {name: by_collection[collection]} if collection in by_collection else {}

    def seen(rule: Rule) -> Rule:
        deletes = frozenset([name]) if collection in rule.removal_deletes else frozenset[str]()
        return replace(rule, sets=left(rule.sets), merges=left(rule.merges), removal_deletes=deletes)

    return ShardMapping(
        whole.ordering,
        whole.partition_key,
        whole.sort_key,
        left(whole.ids),
        {each: seen(rule) for each, rule in whole.rules.items()},
        whole.flat_messages,
        whole=whole,
        owns=owns,
    )
