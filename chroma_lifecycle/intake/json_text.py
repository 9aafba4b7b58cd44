"""JSON from outside: read strictly, so that one text has one meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

from chroma_lifecycle.intake.attributes import is_text

MAX_NAME_CHARACTERS = 100


def parse_json(text: str, *, exact: bool = False) -> object:
    """Return the value of a JSON text.

    Args:
        exact: Whether numbers with a point or an exponent become Decimal, and not float.

    Raises:
        ValueError: It is not JSON, has a number that JSON does not know, or an object names a key
            twice. The reason shows names, never values.
    """
    try:
        return (_EXACT if exact else _PLAIN).decode(text)
    except json.JSONDecodeError as problem:
        raise ValueError(f"not JSON: {problem.msg} at character {problem.pos}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None


def kind_of(value: object) -> str:
    """Return what a value is, in JSON's words, for a message that shall not show it."""
    match value:
        case bool():
            return "true or false"
        case int() | float() | Decimal():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case None:
            return "null"
        case _:
            return f"a value of type {type(value).__name__}"


def shorten(name: object) -> str:
    """Return a name from outside for a message: quoted, on one line, not too long."""
    text = ascii(name) if isinstance(name, str) and not is_text(name) else repr(name)
    return text if len(text) <= MAX_NAME_CHARACTERS else f"{text[: MAX_NAME_CHARACTERS - 1]}…"


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {shorten(next(key for key in keys if keys.count(key) > 1))} stands twice in one object")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError("a number has an exponent that is too large") from None


# Made once: a delta has a million of these texts.
_PLAIN = json.JSONDecoder(object_pairs_hook=_once_each, parse_constant=_no_constant)
_EXACT = json.JSONDecoder(object_pairs_hook=_once_each, parse_constant=_no_constant, parse_float=_decimal)
