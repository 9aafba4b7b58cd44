"""Patterns of keys and ids: segments between ``#``, each a text with at most one placeholder.

A placeholder never matches ``#``, and a number matches only what formatting writes. So a text
has one reading, and parsing what was formatted gives the same values.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chroma_lifecycle.errors import BadInput

MEMBER = "member"
"""The reserved placeholder: a member of a set, in the name of a metadata key."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PLACEHOLDER = re.compile(rf"\{{({_NAME})(?::(?:0([1-9][0-9]?))?(d))?\}}")
_HINT = "write {name} for text, {name:d} or {name:05d} for a number"


@dataclass(frozen=True, slots=True)
class Segment:
    """What stands between two ``#``: a text, or a placeholder with texts around it.

    Attributes:
        before: The text before the placeholder, or all of it where there is none.
        name: Of the placeholder; ``None`` where there is none.
        digits: ``None`` for text; for a number, how many digits it is padded to (0: none).
        after: The text after the placeholder.
    """

    before: str
    name: str | None = None
    digits: int | None = None
    after: str = ""

    def __str__(self) -> str:
        return self.before + self.placeholder + self.after

    @property
    def placeholder(self) -> str:
        """The placeholder as a mapping writes it; empty where there is none."""
        if self.name is None:
            return ""
        padding = f"0{self.digits}" if self.digits else ""
        return f"{{{self.name}}}" if self.digits is None else f"{{{self.name}:{padding}d}}"

    @property
    def expression(self) -> str:
        """A regular expression for this segment, the placeholder being its one group."""
        if self.name is None:
            return re.escape(self.before)
        return f"{re.escape(self.before)}({_expression(self.digits)}){re.escape(self.after)}"

    def filled(self, text: str) -> str:
        """Return the segment with *text* in the place of its placeholder; a number may be padded or not."""
        if self.digits is not None and text.isascii() and text.isdigit():
            number = text if len(text) == self.digits else _plain(text).zfill(self.digits)
            return self.before + number + self.after
        if self.digits is None and text and "#" not in text:
            return self.before + text + self.after
        raise BadInput(f"{text!r} does not fit {self.placeholder}", hint=_allowed(self.digits))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of keys or ids.

    Attributes:
        segments: What stands between the ``#``.
        names: The placeholders, each once, in the order of their first occurrence.
    """

    segments: tuple[Segment, ...]
    names: tuple[str, ...] = field(init=False, compare=False)
    _holes: tuple[Segment, ...] = field(init=False, compare=False, repr=False)
    _expression: re.Pattern[str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        holes = tuple(segment for segment in self.segments if segment.name is not None)
        expression = re.compile("#".join(segment.expression for segment in self.segments))
        object.__setattr__(self, "names", tuple(dict.fromkeys(hole.name for hole in holes)))
        object.__setattr__(self, "_holes", holes)
        object.__setattr__(self, "_expression", expression)

    def __str__(self) -> str:
        return "#".join(map(str, self.segments))

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern that *text* writes.

        Raises:
            BadInput: It is empty, has two placeholders in one segment, or one that cannot be read.
        """
        if not text:
            raise BadInput("an empty pattern fits nothing", hint=_HINT)
        return cls(tuple(map(_segment, text.split("#"))))

    def match(self, text: str) -> dict[str, str] | None:
        """Return the value of each placeholder as *text* spells it, or ``None`` if it does not fit."""
        found = self._expression.fullmatch(text)
        if found is None:
            return None
        if len(self.names) == len(self._holes):
            return dict(zip(self.names, found.groups(), strict=True))
        values: dict[str, str] = {}
        for hole, part in zip(self._holes, found.groups(), strict=True):
            assert hole.name is not None
            first = values.setdefault(hole.name, part)
            if first != part and (hole.digits is None or _plain(first) != _plain(part)):
                return None
        return values

    def format(self, values: Mapping[str, str]) -> str:
        """Return the text with *values* in the places of the placeholders; numbers may be padded or not.

        Raises:
            BadInput: A value does not fit its placeholder.
            KeyError: A value is missing.
        """
        return "#".join(
            [each.before if each.name is None else each.filled(values[each.name]) for each in self.segments]
        )

    def beginning(self, known: Collection[str]) -> Pattern | None:
        """Return what *known* placeholders alone can fill: all of it, or a beginning that ends with one.

        ``None`` if not even the first placeholder is known.
        """
        if set(self.names) <= set(known):
            return self
        unknown = next(i for i, each in enumerate(self.segments) if each.name and each.name not in known)
        filled = [i for i in range(unknown) if self.segments[i].name]
        return Pattern(self.segments[: filled[-1] + 1]) if filled else None


def _segment(text: str) -> Segment:
    holes = list(_PLACEHOLDER.finditer(text))
    rest = _PLACEHOLDER.sub("", text)
    if "{" in rest or "}" in rest:
        raise BadInput(f"{text!r} holds a brace that belongs to no placeholder", hint=_HINT)
    if len(holes) > 1:
        raise BadInput(f"two placeholders in {text!r}: nothing tells where one ends", hint="put '#' between them")
    if not holes:
        return Segment(text)
    name, padding, number = holes[0].groups()
    digits = int(padding or 0) if number else None
    return Segment(text[: holes[0].start()], name, digits, text[holes[0].end() :])


def _expression(digits: int | None) -> str:
    if digits is None:
        return "[^#]+"
    shortest = max(digits, 1)
    # Padded to the width, or wider and then without a zero in front.
    return f"[0-9]{{{shortest}}}|[1-9][0-9]{{{shortest},}}"


def _plain(number: str) -> str:
    return number.lstrip("0") or "0"


def _allowed(digits: int | None) -> str:
    return "allowed: one or more characters without '#'" if digits is None else "allowed: a number of digits 0 to 9"
