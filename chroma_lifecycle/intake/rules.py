"""The rules of a mapping: what the items of one kind do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.attributes import decode
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.contributions import Condition, Key
from chroma_lifecycle.intake.patterns import Pattern
from chroma_lifecycle.values import ItemKey, value_class

PENDING = "PENDING"
"""The state that announces a run."""

COMPLETED = "COMPLETED"
"""The state of a run whose records are in a published version."""


@dataclass(frozen=True, slots=True)
class MergeTarget:
    """Attributes of a run item that speak of one collection.

    Attributes:
        delta: Holds the address of the delta.
        state: Read (PENDING begins the run) and written (COMPLETED ends it).
        count: Written: how many records were merged.
        error: Written: why the run failed.
        finished_at: Written: when the run was completed.
    """

    delta: str
    state: str
    count: str | None = None
    error: str | None = None
    finished_at: str | None = None

    def pending(self, image: Image) -> str | None:
        """Return the address of the delta that *image* announces, or ``None`` if it is not PENDING.

        Raises:
            BadInput: It is PENDING and holds no address.
        """
        if self.state not in image or decode(self.state, image[self.state]) != PENDING:
            return None
        address = decode(self.delta, image[self.delta]) if self.delta in image else None
        if not isinstance(address, str) or not address:
            raise BadInput(
                f"{self.state!r} is {PENDING}, but {self.delta!r} holds no address",
                hint=f"write the delta's address into {self.delta!r} together with {self.state!r}",
            )
        return address

    def completed(self, image: Image) -> bool:
        """Return whether *image* says that the run was completed."""
        return self.state in image and decode(self.state, image[self.state]) == COMPLETED

    def begun(self, new: Image, old: Image | None) -> str | None:
        """Return the address of the delta whose run an event begins, or ``None``.

        Args:
            new: The item after the event.
            old: The item before it; ``None`` if the event created it.
        """
        address = self.pending(new)
        return None if address is not None and old is not None and self._announced(old) == address else address

    def _announced(self, old: Image) -> str | None:
        try:
            return self.pending(old)
        except BadInput:
            return None  # an old mistake is not what this event is about

    def meaning(self) -> dict[str, object]:
        names = ("delta", "state", "count", "error", "finished_at")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True, slots=True)
class Rule:
    """What the items of one kind do.

    Attributes:
        partition: Pattern of the partition key.
        sort: Pattern of the sort key, where the table has one.
        sets: By collection, the metadata keys that the rule owns there.
        when: Conditions of `sets`; all must hold.
        merges: By collection, the attributes that announce a delta.
        removal_deletes: Collections in which removing the item deletes the records that it reaches.
        line: In the mapping's file.
        key: Both keys as one pattern.
        collections: Every collection that the rule touches.
    """

    name: str
    partition: Pattern
    sort: Pattern | None
    sets: Mapping[str, tuple[Key, ...]]
    when: tuple[Condition, ...]
    merges: Mapping[str, MergeTarget]
    removal_deletes: frozenset[str]
    line: int = field(compare=False)
    key: Pattern = field(init=False, compare=False, repr=False)
    collections: frozenset[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        sort = self.sort.segments if self.sort else ()
        object.__setattr__(self, "key", Pattern(self.partition.segments + sort))
        object.__setattr__(self, "collections", self.removal_deletes.union(self.sets, self.merges))

    def match(self, item: ItemKey) -> dict[str, str] | None:
        """Return the values of the placeholders in the key of *item*, or ``None`` if it does not fit."""
        # Both keys are matched as one text, so that a name in both has one value.
        # Counting '#' makes sure where one ends.
        if item.partition.count("#") != len(self.partition.segments) - 1:
            return None
        return self.key.match(item.partition if self.sort is None else f"{item.partition}#{item.sort}")

    def holds(self, image: Image) -> bool:
        """Return whether an item with *image* contributes."""
        return not self.when or all(condition.holds(image) for condition in self.when)

    def meaning(self, table: tuple[str, ...]) -> dict[str, object]:
        patterns = [self.partition, *([self.sort] if self.sort else [])]
        parts: dict[str, object] = {
            "item": {name: str(pattern) for name, pattern in zip(table, patterns, strict=True)},
            "set": {name: {str(key.name): key.meaning() for key in keys} for name, keys in self.sets.items()},
            "when": {condition.attribute: condition.meaning() for condition in self.when},
            "merge": {name: target.meaning() for name, target in self.merges.items()},
            "removal_deletes": sorted(self.removal_deletes),
        }
        return {name: part for name, part in parts.items() if part}


@value_class
class Match:
    """An item, seen by the rule that takes it.

    Attributes:
        values: Of the placeholders, as the item's key spells them (``00042``).
    """

    rule: Rule
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FlatMessage:
    """How messages of one entity type speak of items.

    Attributes:
        rule: Name of the rule whose item they are about.
        delta_from: Field of ``entity_data`` that holds the address of a delta.
        image_from: Where to look for each attribute, first hit first: ``changes``,
            ``entity_data``, ``record_snapshot``.
    """

    rule: str
    delta_from: str | None = None
    image_from: tuple[str, ...] = ()

    def meaning(self) -> dict[str, object]:
        parts = {"rule": self.rule, "delta_from": self.delta_from, "image_from": list(self.image_from)}
        return {name: part for name, part in parts.items() if part}
