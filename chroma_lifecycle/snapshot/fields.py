"""Strict reading of the JSON in stored files: what is not exactly as specified is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from chroma_lifecycle.errors import PAST_DAMAGE, Corrupt

_T = TypeVar("_T")


def canonical(value: object) -> bytes:
    """Return *value* as JSON of one spelling: ASCII, no spaces, keys in the order that they have."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def parse_json(data: bytes, where: str) -> object:
    """Return the value that *data* spells.

    Raises:
        Corrupt: It is no JSON, a key occurs twice, or it holds a number that is no integer.
    """
    try:
        return json.loads(
            data.decode("ascii"), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as problem:
        raise Corrupt(f"{where} is no sound JSON ({type(problem).__name__})", hint=PAST_DAMAGE) from problem


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_number(text: str) -> object:
    raise ValueError(f"not an integer: {text}")


def parse_time(text: object) -> datetime:
    """Return a time in UTC with microseconds, as :func:`spell_time` writes it."""
    if isinstance(text, str):
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None and spell_time(time) == text:
            return time
    raise ValueError(f"a time must be like 2026-01-31T12:00:00.000000Z, got {text!r}")


def spell_time(time: datetime) -> str:
    """Return *time* in UTC with microseconds."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class Fields:
    """One JSON object of a stored file; each method takes one field, and `done` refuses the rest.

    Every refusal is ``Corrupt`` and names the file and the field.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise Corrupt(f"{where} is no JSON object", hint=PAST_DAMAGE)
        self._left = dict(value)
        self._where = where

    def _take(self, name: str) -> object:
        if name not in self._left:
            raise self._refused(name, "it is missing")
        return self._left.pop(name)

    def _refused(self, name: str, problem: str) -> Corrupt:
        return Corrupt(f"{self._where}, field {name}: {problem}", hint=PAST_DAMAGE)

    def integer(self, name: str, lowest: int, highest: int) -> int:
        """Take a whole number within bounds, both included."""
        value = self._take(name)
        if type(value) is not int or not lowest <= value <= highest:
            raise self._refused(name, f"not a whole number from {lowest} to {highest}")
        return value

    def flag(self, name: str) -> bool:
        """Take true or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._refused(name, "neither true nor false")
        return value

    def text(self, name: str, *, longest: int) -> str:
        """Take a text."""
        value = self._take(name)
        if not isinstance(value, str) or len(value) > longest:
            raise self._refused(name, f"not a text of at most {longest} characters")
        return value

    def parsed(self, name: str, parse: Callable[[object], _T]) -> _T:
        """Take what *parse* makes of the field; its ``ValueError`` is the refusal."""
        value = self._take(name)
        try:
            return parse(value)
        except ValueError as problem:
            raise self._refused(name, str(problem)[:200]) from problem

    def items(self, name: str, *, limit: int) -> list[object]:
        """Take a list of at most *limit* values."""
        value = self._take(name)
        if not isinstance(value, list) or len(value) > limit:
            raise self._refused(name, f"not a list of at most {limit}")
        return value

    def object(self, name: str) -> Fields:
        """Take an object."""
        return Fields(self._take(name), f"{self._where}, field {name}")

    def numbers(self, name: str, highest: int, *, limit: int) -> dict[str, int]:
        """Take an object of at most *limit* whole numbers from 0 on, each under a name of its own."""
        value = self._take(name)
        if not isinstance(value, dict) or len(value) > limit:
            raise self._refused(name, f"not an object of at most {limit}")
        numbers = Fields(value, f"{self._where}, field {name}")
        return {key: numbers.integer(key, 0, highest) for key in value}

    def optional(self, name: str) -> Fields | None:
        """Take an object, or ``None`` for null."""
        value = self._take(name)
        return None if value is None else Fields(value, f"{self._where}, field {name}")

    def objects(self, name: str, *, limit: int) -> list[Fields]:
        """Take a list of at most *limit* objects."""
        return [Fields(value, f"{self._where}, field {name}") for value in self.items(name, limit=limit)]

    def done(self) -> None:
        """Refuse the fields that nobody took: this version of the format does not have them."""
        if self._left:
            raise self._refused(min(self._left)[:40], "no such field in this version of the format")
