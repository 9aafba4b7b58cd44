"""What a record's metadata may hold: what the oldest supported Chroma (1.3.3) takes and gives back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from chroma_lifecycle.intake.attributes import is_text
from chroma_lifecycle.intake.json_text import kind_of, parse_json, shorten
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
        raw = parse_json(raw)
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ValueError(f"metadata is {kind_of(raw)}; allowed: an object, or nothing")  # noqa: TRY004 - about data
    for key in raw:
        if problem := _key_problem(key):
            raise ValueError(f"metadata key {shorten(key)} {problem}")
    return {key: _scalar(key, value) for key, value in raw.items() if value is not None}


def canonical(metadata: Mapping[str, Scalar]) -> str:
    """Return the one JSON text of *metadata*; a digest is made over it, so it must never change."""
    return _ENCODER.encode(metadata)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def _key_problem(key: object) -> str | None:
    if not isinstance(key, str):
        return f"is {kind_of(key)}; allowed: text"
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
        raise ValueError(
            f"metadata key {shorten(key)} holds an integer past 64 bits; allowed: {INT64_MIN} to {INT64_MAX}"
        )
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ValueError(f"metadata key {shorten(key)} holds NaN or an infinity; allowed: {ALLOWED}")
    if isinstance(value, str):
        if is_text(value):
            return value
        raise ValueError(f"metadata key {shorten(key)} holds a lone surrogate, which is no text")
    raise ValueError(f"metadata key {shorten(key)} holds {kind_of(value)}; allowed: {ALLOWED}")
