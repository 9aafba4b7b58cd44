"""Shapes of items: which parts of their keys are words, and which are values, guessed from a sample.

Keys are read the way they are commonly written, words and values by turns: in
``RECEIPT#00001#LABEL#total`` a word, a value, a word, a value. It is a guess for people to correct.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.attributes import Value, plain_number
from chroma_lifecycle.intake.patterns import MEMBER
from chroma_lifecycle.intake.sample import SampleItem

_WORD = re.compile(r"[A-Za-z][A-Za-z_]*")
_CAPITALS = re.compile(r"[A-Z][A-Z_]*")
_COMMON_KEYS = (("PK", "SK"), ("pk", "sk"))


@dataclass(frozen=True, slots=True)
class Shape:
    """Items whose keys are built alike.

    Attributes:
        name: The last word of the key, for a rule.
        keys: A pattern for each key attribute, as a mapping writes it.
        names: The placeholders, in the order of the key.
        items: The items.
    """

    name: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    items: tuple[SampleItem, ...]


def guess_keys(items: Sequence[SampleItem]) -> tuple[str, ...]:
    """Return the names of the key attributes: PK and SK, or the attribute that tells all items apart.

    Raises:
        BadInput: No attribute does.
    """
    common = set.intersection(*(set(item) for item in items))
    for names in _COMMON_KEYS:
        if found := tuple(name for name in names if name in common):
            return found
    for name in items[0]:
        values = {str(item[name]) for item in items if isinstance(item.get(name), (str, Decimal))}
        if len(values) == len(items):
            return (name,)
    raise BadInput(
        "the sample does not tell which attributes are the table's key", hint="name them with --key PK --key SK"
    )


def shapes_of(items: Iterable[SampleItem], keys: Sequence[str]) -> list[Shape]:
    """Return the shapes of *items*, the one with most items first.

    Raises:
        BadInput: An item lacks a key attribute.
    """
    groups: dict[tuple[tuple[str | None, ...], ...], list[SampleItem]] = defaultdict(list)
    for item in items:
        groups[tuple(_words(_parts(item, key)) for key in keys)].append(item)
    named = {words: _placeholders(words, group, keys) for words, group in groups.items()}
    spelled = _spellings(groups, named, keys)
    shapes: list[Shape] = []
    for words, group in sorted(groups.items(), key=lambda entry: -len(entry[1])):
        names = [name for each in named[words] for name in each if name]
        patterns = tuple(
            "#".join(word if word is not None else spelled[name or ""] for word, name in zip(each, holes, strict=True))
            for each, holes in zip(words, named[words], strict=True)
        )
        name = _free(_rule_name(words, keys), {shape.name for shape in shapes})
        shapes.append(Shape(name, patterns, tuple(dict.fromkeys(names)), tuple(group)))
    return shapes


def _parts(item: SampleItem, key: str) -> list[str]:
    value: Value = item.get(key)
    if isinstance(value, Decimal):
        return [plain_number(value)]
    if not isinstance(value, str):
        raise BadInput(
            f"an item of the sample has no text or number in its key attribute {key!r}",
            hint="name the table's key attributes with --key PK --key SK",
        )
    return value.split("#")


def _words(parts: Sequence[str]) -> tuple[str | None, ...]:
    """Return each part that is a word, and ``None`` for each value."""
    found: list[str | None] = []
    for place, part in enumerate(parts):
        after_value = place > 0 and found[-1] is None
        first = place == 0 and (len(parts) > 1 or _CAPITALS.fullmatch(part))
        found.append(part if (after_value or first) and _WORD.fullmatch(part) else None)
    return tuple(found)


def _placeholders(
    words: Sequence[Sequence[str | None]], group: Sequence[SampleItem], keys: Sequence[str]
) -> list[list[str | None]]:
    """Return a name for each value; the same one for two that are equal in every item."""
    known: dict[str, list[str]] = {}
    named: list[list[str | None]] = []
    for key, each in zip(keys, words, strict=True):
        columns = list(zip(*(_parts(item, key) for item in group), strict=True))
        named.append([])
        for place, word in enumerate(each):
            if word is not None:
                named[-1].append(None)
                continue
            before = each[place - 1] if place else None
            values, wanted = list(columns[place]), _name(before or key)
            name = wanted if known.get(wanted) == values else _free(wanted, known)
            known[name] = values
            named[-1].append(name)
    return named


def _spellings(
    groups: Mapping[tuple[tuple[str | None, ...], ...], Sequence[SampleItem]],
    named: Mapping[tuple[tuple[str | None, ...], ...], list[list[str | None]]],
    keys: Sequence[str],
) -> dict[str, str]:
    """Return each placeholder as a mapping writes it: a name is a number everywhere or text everywhere."""
    values: dict[str, set[str]] = defaultdict(set)
    for words, group in groups.items():
        for item in group:
            for key, names in zip(keys, named[words], strict=True):
                for name, part in zip(names, _parts(item, key), strict=True):
                    if name:
                        values[name].add(part)
    return {name: _spell(name, found) for name, found in values.items()}


def _spell(name: str, values: set[str]) -> str:
    if not all(value.isascii() and value.isdigit() for value in values):
        return f"{{{name}}}"
    padded, widths = any(value.startswith("0") and len(value) > 1 for value in values), {len(each) for each in values}
    if not padded:
        return f"{{{name}:d}}"
    return f"{{{name}:0{widths.pop()}d}}" if len(widths) == 1 and max(map(len, values)) < 100 else f"{{{name}}}"


def _rule_name(words: Sequence[Sequence[str | None]], keys: Sequence[str]) -> str:
    found = [word for each in words for word in each if word is not None]
    last = [word for word in words[-1] if word is not None]
    return _name((last or found or [keys[0]])[-1])


def _name(word: str) -> str:
    name = re.sub(r"[^a-z0-9_]", "_", word.lower()).strip("_") or "value"
    return f"{name}_id" if name == MEMBER or name[0].isdigit() else name


def _free(wanted: str, taken: Iterable[str]) -> str:
    names, number = set(taken), 2
    name = wanted
    while name in names:
        name, number = f"{wanted}_{number}", number + 1
    return name
