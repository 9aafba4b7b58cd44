"""What a record's metadata may hold: what the oldest supported Chroma (1.3.3) takes and gives back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from chroma_lifecycle.values import Scalar

MAX_METADATA_BYTES = 256 * 1024
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
ALLOWED = "text, true or false, integer of 64 bits, finite float"


def scalars_of(raw: object) -> dict[str, Scalar]:
    """Return checked metadata; keys without a value are left out, and nothing is the empty dictionary.

    Args:
        raw: A mapping, the JSON text of one, or ``None``.

    Raises:
        ValueError: What is wrong, with the key but without the value.
    """
    if isinstance(raw, str):
        raw = strict_json(raw)
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ValueError(f"metadata is {_kind(raw)}; allowed: an object, or nothing")  # noqa: TRY004 - about data
    for key in raw:
        if problem := _key_problem(key):
            raise ValueError(f"metadata key {show(key)} {problem}")
    return {key: _scalar(key, value) for key, value in raw.items() if value is not None}


def canonical(metadata: Mapping[str, Scalar]) -> str:
    """Return the one JSON text of *metadata*; a digest is made over it, so it must never change."""
    return _ENCODER.encode(metadata)


def strict_json(text: str) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is not JSON, has a number that JSON does not know, or names a key twice.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as problem:
        raise ValueError(f"not JSON: {problem.msg} at character {problem.pos}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {show(next(key for key in keys if keys.count(key) > 1))} stands twice in one object")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


# Made once: a delta has a million of these texts.
_DECODER = json.JSONDecoder(object_pairs_hook=_once_each, parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def _key_problem(key: object) -> str | None:
    if not isinstance(key, str):
        return f"is {_kind(key)}; allowed: text"
    if not key:
        return "is empty"
    if key.startswith("chroma:"):
        return "begins with 'chroma:', where Chroma keeps the document; it would vanish when read"
    if key[0] in "#$":
        return f"begins with {key[0]!r}, which Chroma refuses"
    return "has a lone surrogate, which is no text" if not is_text(key) else None


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if INT64_MIN <= value <= INT64_MAX:
            return value
        raise ValueError(f"metadata key {show(key)} holds an integer past 64 bits; allowed: {INT64_MIN} to {INT64_MAX}")
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ValueError(f"metadata key {show(key)} holds NaN or an infinity; allowed: {ALLOWED}")
    if isinstance(value, str):
        if is_text(value):
            return value
        raise ValueError(f"metadata key {show(key)} holds a lone surrogate, which is no text")
    raise ValueError(f"metadata key {show(key)} holds {_kind(value)}; allowed: {ALLOWED}")


def is_text(value: str) -> bool:
    """Return whether *value* can be written as UTF-8: a lone surrogate cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def show(name: object) -> str:
    """Return the name of a key or record for a message, short and on one line."""
    text = ascii(name) if isinstance(name, str) and not is_text(name) else repr(name)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case None:
            return "nothing"
        case _:
            return f"a value of type {type(value).__name__}"
