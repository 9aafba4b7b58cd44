"""What an item gives to a metadata key: where the value comes from, and under which conditions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias

from chroma_lifecycle.intake.attributes import Value, decode, metadata_value
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.patterns import Pattern
from chroma_lifecycle.values import Scalar, value_class


@dataclass(frozen=True, slots=True)
class Fold:
    """How the contributions of several items become one value.

    Attributes:
        kind: ``any`` of booleans; ``count`` of the items that contribute; the ``first`` of
            *order* that any item gives; the value of the ``newest`` item that gives one.
        order: All values that items can give, of ``first`` only.
    """

    kind: Literal["any", "count", "first", "newest"]
    order: tuple[Scalar, ...] = ()

    def meaning(self) -> object:
        return {"first": list(self.order)} if self.kind == "first" else self.kind


SIMPLE_FOLDS = {"any": Fold("any"), "count": Fold("count"), "newest": Fold("newest")}
"""The folds that a mapping writes as one word."""

FOLDS = (*SIMPLE_FOLDS, "{first: [...]}")
"""Every fold, as a mapping writes it."""


@value_class
class Contribution:
    """What one item does to one key of the records that it reaches.

    Attributes:
        key: Name of the metadata key; the item's rule owns it.
        value: What the item gives; ``None`` if it gives nothing.
        fold: How the values of several items become one; ``None`` where one item feeds the key.
    """

    key: str
    value: Scalar | None
    fold: Fold | None


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value from every item."""

    value: Scalar

    attribute = None

    def give(self, image: Image) -> Scalar | None:  # noqa: ARG002 - sources are called alike
        return self.value

    def possible(self) -> tuple[Scalar, ...]:
        return (self.value,)

    def meaning(self) -> dict[str, object]:
        return {"value": self.value}


@dataclass(frozen=True, slots=True)
class Copy:
    """The value of an attribute, or *otherwise* where it is missing."""

    attribute: str
    otherwise: Scalar | None = None

    def give(self, image: Image) -> Scalar | None:
        attribute = image.get(self.attribute)
        value = None if attribute is None else metadata_value(self.attribute, attribute)
        return self.otherwise if value is None else value

    def possible(self) -> None:
        """Return ``None``: an attribute can hold anything."""

    def meaning(self) -> dict[str, object]:
        return {"from": self.attribute, **_otherwise(self.otherwise)}


@dataclass(frozen=True, slots=True)
class Choice:
    """A value for each listed value of an attribute, and *otherwise* for all others and for none."""

    attribute: str
    values: tuple[tuple[Scalar, Scalar], ...]
    otherwise: Scalar | None = None
    _table: Mapping[Token, Scalar] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_table", {token_of(given): value for given, value in self.values})

    def give(self, image: Image) -> Scalar | None:
        token = token_in(image, self.attribute)
        return self.otherwise if token is None else self._table.get(token, self.otherwise)

    def possible(self) -> tuple[Scalar, ...]:
        others = () if self.otherwise is None else (self.otherwise,)
        return (*(value for _, value in self.values), *others)

    def meaning(self) -> dict[str, object]:
        values = {json.dumps(given, ensure_ascii=False): value for given, value in self.values}
        return {"from": self.attribute, "values": values, **_otherwise(self.otherwise)}


@dataclass(frozen=True, slots=True)
class Member:
    """True where a set or list of text holds *member*, and *otherwise* where it does not."""

    attribute: str
    member: str
    otherwise: Scalar | None = None

    def give(self, image: Image) -> Scalar | None:
        attribute = image.get(self.attribute)
        value = None if attribute is None else decode(self.attribute, attribute)
        present = isinstance(value, (frozenset, list)) and self.member in value
        return True if present else self.otherwise

    def possible(self) -> tuple[Scalar, ...]:
        return (True,) if self.otherwise is None else (True, self.otherwise)

    def meaning(self) -> dict[str, object]:
        return {"from": self.attribute, "member": self.member, **_otherwise(self.otherwise)}


Source: TypeAlias = Constant | Copy | Choice | Member
"""Where the value of a key comes from."""


@dataclass(frozen=True, slots=True)
class Key:
    """A metadata key that a rule owns on the records it reaches.

    Attributes:
        name: Of the key; its placeholders are those of the item's key.
        line: In the mapping's file.
    """

    name: Pattern
    source: Source
    fold: Fold | None
    line: int = field(compare=False)

    def meaning(self) -> dict[str, object]:
        return {**self.source.meaning(), **({} if self.fold is None else {"fold": self.fold.meaning()})}


@dataclass(frozen=True, slots=True)
class Among:
    """A condition: the attribute has (or, *inverted*, has not) one of the listed values."""

    attribute: str
    values: tuple[Scalar, ...]
    inverted: bool = False
    _tokens: frozenset[Token] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tokens", frozenset(map(token_of, self.values)))

    def holds(self, image: Image) -> bool:
        return (token_in(image, self.attribute) in self._tokens) is not self.inverted

    def meaning(self) -> object:
        values = sorted(self.values, key=json.dumps)
        return {"not": values} if self.inverted else values


@dataclass(frozen=True, slots=True)
class Present:
    """A condition: the attribute is there, and not NULL."""

    attribute: str

    def holds(self, image: Image) -> bool:
        attribute = image.get(self.attribute)
        return attribute is not None and decode(self.attribute, attribute) is not None

    def meaning(self) -> object:
        return {"present": True}


Condition: TypeAlias = Among | Present
"""What an item must fulfil to contribute."""

Token: TypeAlias = tuple[type, str | bool | Decimal]
"""What two values must share to be the same: type and value; 1 and 1.0 are the same number."""


def token_of(value: Scalar) -> Token:
    """Return what compares a value that the mapping lists."""
    if isinstance(value, (bool, str)):
        return (type(value), value)
    return (Decimal, Decimal(repr(value)))


def token_in(image: Image, name: str) -> Token | None:
    """Return what compares the attribute *name*; ``None`` if it is missing or no single value."""
    attribute = image.get(name)
    value: Value = None if attribute is None else decode(name, attribute)
    return (type(value), value) if isinstance(value, (str, bool, Decimal)) else None


def contribute(keys: Iterable[tuple[str, Key]], image: Image | None) -> tuple[Contribution, ...]:
    """Return what an item gives to *keys*, each beside its name; without an image it gives nothing."""
    if image is None:
        return tuple([Contribution(name, None, key.fold) for name, key in keys])
    return tuple([Contribution(name, key.source.give(image), key.fold) for name, key in keys])


def _otherwise(value: Scalar | None) -> dict[str, object]:
    return {} if value is None else {"otherwise": value}
