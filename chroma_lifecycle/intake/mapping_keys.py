"""Reading what a rule sets: the names of metadata keys, where their values come from, and folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.contributions import (
    FOLDS,
    SIMPLE_FOLDS,
    Choice,
    Constant,
    Copy,
    Fold,
    Key,
    Member,
    Source,
    token_of,
)
from chroma_lifecycle.intake.mapping_yaml import Leaf, Listing, Node, Reader, Table
from chroma_lifecycle.intake.patterns import MEMBER, Pattern
from chroma_lifecycle.intake.problems import allowed
from chroma_lifecycle.values import Scalar

_OF_CHROMA = "chroma:"
_OF_DYNAMODB = "aws:rep:"
_MEMBER = f"{{{MEMBER}}}"


class KeysReader:
    """Reads the keys of one collection, or of several that a rule sets alike.

    Attributes:
        patterns: Every pattern that was read, with its line.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._problems = reader.problems
        self.patterns: list[tuple[int, Pattern]] = []

    def pattern(self, line: int, text: str | None, what: str) -> Pattern | None:
        """Return the pattern that *text* writes; ``None`` after noting why it is none."""
        if text is None:
            return None
        try:
            pattern = Pattern.parse(text)
        except BadInput as problem:
            self._problems.add(line, f"{what}: {problem.message}; {problem.hint}")
            return None
        if MEMBER in pattern.names:
            self._problems.add(line, f"{what}: {_MEMBER} stands for one of 'members: [...]'; name others otherwise")
            return None
        self.patterns.append((line, pattern))
        return pattern

    def attribute(self, node: Node, what: str) -> str | None:
        """Return the name of an attribute."""
        name = self._reader.text(node, what)
        return name if name is not None and self.is_seen(node.line, name, what) else None

    def is_seen(self, line: int, attribute: str, what: str) -> bool:
        """Return whether items show the attribute; what DynamoDB adds for itself is left out."""
        if attribute.startswith(_OF_DYNAMODB):
            self._problems.add(line, f"{what} is '{attribute}', but attributes '{_OF_DYNAMODB}*' are not seen")
            return False
        return True

    def keys(self, node: Node, what: str) -> tuple[Key, ...]:
        """Return the keys that a list (attributes under their own names) or a table sets."""
        if isinstance(node, Listing):
            return tuple(self._copied(node, what))
        if isinstance(node, Leaf):
            self._problems.add(node.line, f"{what} must be a list of attributes, or a table (key: attribute)")
            return ()
        return tuple(
            key
            for name, value in self._reader.entries(node, what)
            for key in self._key(name, value, f"{what}, key '{name.text}'")
        )

    def _copied(self, node: Listing, what: str) -> Iterator[Key]:
        for each, text in self._reader.texts(node, what):
            if "{" in text:
                self._problems.add(each.line, f"{what}: '{text}' in a list is an attribute; write 'key: attribute'")
            elif (attribute := self.attribute(each, f"an attribute of {what}")) is not None:
                yield from self._named(each.line, text, Copy(attribute), None, f"{what}, key '{text}'")

    def _key(self, name: Leaf, node: Node, what: str) -> Iterator[Key]:
        parts = self._parts(node, what)
        fold = self._fold(parts["fold"], what) if "fold" in parts else None
        if "members" in parts:
            yield from self._members(name, parts, fold, what)
        elif _MEMBER in name.text:
            self._problems.add(name.line, f"{what}: {_MEMBER} needs 'members: [...]', the members that get a key")
        elif (source := self._source(parts, what)) is not None and (fold or "fold" not in parts):
            yield from self._named(name.line, name.text, source, fold, what)

    def _parts(self, node: Node, what: str) -> Mapping[str, Node]:
        if isinstance(node, Leaf):
            return {"from": node}
        parts = self._reader.fields(node, what, (), ("from", "value", "values", "otherwise", "members", "fold"))
        if ("from" in parts) is ("value" in parts) and isinstance(node, Table):
            self._problems.add(node.line, f"{what} needs 'from: attribute' or 'value: constant', and only one of them")
        for idle in {"values", "otherwise", "members"} & parts.keys() if "value" in parts else ():
            self._problems.add(parts[idle].line, f"{what}: 'value' is one constant for every item; leave '{idle}' out")
        if "values" in parts and "members" in parts:
            self._problems.add(node.line, f"{what}: 'values' and 'members' exclude each other")
        return parts

    def _source(self, parts: Mapping[str, Node], what: str) -> Source | None:
        if "value" in parts:
            value = self._reader.constant(parts["value"], f"'value' of {what}")
            return None if value is None else Constant(value)
        attribute = self._from(parts, what)
        otherwise = self._otherwise(parts, what)
        values = self._values(parts["values"], what) if "values" in parts else None
        if attribute is None:
            return None
        return Copy(attribute, otherwise) if values is None else Choice(attribute, values, otherwise)

    def _members(self, name: Leaf, parts: Mapping[str, Node], fold: Fold | None, what: str) -> Iterator[Key]:
        attribute = self._from(parts, what)
        otherwise = self._otherwise(parts, what)
        if _MEMBER not in name.text:
            self._problems.add(name.line, f"{what}: 'members' makes one key for each; write {_MEMBER} into the name")
            return
        for node, member in self._reader.texts(parts["members"], f"'members' of {what}"):
            if "{" in member or "}" in member:
                self._problems.add(node.line, f"{what}: the member '{member}' holds a brace, which no name can")
            elif attribute is not None:
                source = Member(attribute, member, otherwise)
                yield from self._named(name.line, name.text.replace(_MEMBER, member), source, fold, what)

    def _from(self, parts: Mapping[str, Node], what: str) -> str | None:
        return self.attribute(parts["from"], f"the attribute of {what}") if "from" in parts else None

    def _otherwise(self, parts: Mapping[str, Node], what: str) -> Scalar | None:
        return self._reader.constant(parts["otherwise"], f"'otherwise' of {what}") if "otherwise" in parts else None

    def _values(self, node: Node, what: str) -> tuple[tuple[Scalar, Scalar], ...]:
        where = f"'values' of {what}"
        pairs = [
            (compared(given), value)
            for key, result in self._reader.entries(node, where, _identity)
            if (given := self._reader.constant(key, f"a key in {where}")) is not None
            and (value := self._reader.constant(result, f"'{key.text}' in {where}")) is not None
        ]
        return tuple(pairs)

    def _fold(self, node: Node, what: str) -> Fold | None:
        if isinstance(node, Table):
            return self._first(node, what)
        kind = self._reader.text(node, f"'fold' of {what}")
        if kind is not None and kind not in SIMPLE_FOLDS:
            self._problems.add(node.line, f"{what}: unknown fold '{kind}'; {allowed(FOLDS, kind)}")
        return None if kind is None else SIMPLE_FOLDS.get(kind)

    def _first(self, node: Table, what: str) -> Fold | None:
        parts = self._reader.fields(node, f"'fold' of {what}", ("first",))
        if "first" not in parts:
            return None
        nodes = self._reader.nodes(parts["first"], f"'first' of {what}")
        order = [self._reader.constant(each, f"each of 'first' of {what}") for each in nodes]
        return None if None in order or not order else Fold("first", tuple(cast("list[Scalar]", order)))

    def _named(self, line: int, text: str, source: Source, fold: Fold | None, what: str) -> Iterator[Key]:
        name = self.pattern(line, text, what)
        if name is None:
            return
        if _may_be_of_chroma(name):
            self._problems.add(
                line, f"{what}: a name cannot begin with a placeholder or with '{_OF_CHROMA}', which is Chroma's own"
            )
        else:
            yield Key(name, source, fold, line)


def compared(value: Scalar) -> Scalar:
    """Return a listed value as it is compared with attributes: a whole number is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _identity(key: Leaf) -> object:
    return key.text if key.value is None else token_of(key.value)


def _may_be_of_chroma(name: Pattern) -> bool:
    first = name.segments[0]
    if first.name is None or first.before.startswith(_OF_CHROMA):
        return first.before.startswith(_OF_CHROMA)
    return not first.before or (first.digits is None and _OF_CHROMA.startswith(first.before))
