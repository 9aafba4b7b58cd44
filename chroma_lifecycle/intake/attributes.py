"""Attribute values in DynamoDB's own JSON, and what the metadata of a record takes of them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypeAlias

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.values import Scalar

Value: TypeAlias = (
    "str | Decimal | bool | bytes | frozenset[str] | frozenset[Decimal] | frozenset[bytes]"
    " | list[Value] | dict[str, Value] | None"
)
"""A decoded attribute; ``None`` is DynamoDB's NULL."""

_WORDS = {
    "S": "text",
    "N": "a number",
    "BOOL": "a boolean",
    "NULL": "null",
    "B": "binary",
    "SS": "a set of text",
    "NS": "a set of numbers",
    "BS": "a set of binaries",
    "L": "a list",
    "M": "a map",
}
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_LARGEST_EXPONENT, _SMALLEST_EXPONENT = 125, -130  # of DynamoDB's numbers
_DEEPEST = 32  # levels that DynamoDB nests lists and maps

INTEGERS = range(-(1 << 63), 1 << 63)
"""The whole numbers that Chroma keeps as they are."""


def decode(name: str, attribute: object) -> Value:
    """Return the value of an attribute: ``{"S": "x"}`` is ``"x"``, numbers are Decimal.

    Args:
        name: Of the attribute, for messages.
        attribute: In DynamoDB's JSON; binary as base64 or as bytes.

    Raises:
        BadInput: It is not what DynamoDB writes.
    """
    # Nearly every attribute that a mapping reads is plain text, and each is decoded more than once.
    if type(attribute) is dict and len(attribute) == 1 and type(text := attribute.get("S")) is str and text.isascii():
        return text
    return _decode(name, attribute, _DEEPEST)


def metadata_value(name: str, attribute: object) -> Scalar | None:
    """Return what a record's metadata takes of an attribute; ``None`` for NULL.

    A number becomes an integer if it is whole, and a float otherwise.

    Raises:
        BadInput: It is binary, a set, a list, a map, a whole number beyond 64 bits, or malformed.
    """
    value = decode(name, attribute)
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Decimal):
        return _metadata_number(name, value)
    assert isinstance(attribute, Mapping)
    raise BadInput(
        f"attribute {name!r} is {_WORDS[next(iter(attribute))]}, which no record can hold",
        hint="metadata takes text, booleans and numbers; of a set or list of text the mapping can take 'members'",
    )


def is_text(text: str) -> bool:
    """Return whether *text* can be written as UTF-8: half a surrogate pair cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_number(value: Decimal) -> str:
    """Return a number as DynamoDB spells it in keys: plain decimal, no exponent, no needless zeros."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _metadata_number(name: str, value: Decimal) -> int | float:
    whole = int(value)
    if whole != value:
        return float(value)
    if whole not in INTEGERS:
        raise BadInput(
            f"attribute {name!r} is a whole number beyond 64 bits, which Chroma would change",
            hint="store it as text, or leave it out of the mapping",
        )
    return whole


def _decode(name: str, attribute: object, levels: int) -> Value:
    if not isinstance(attribute, (dict, Mapping)) or len(attribute) != 1:
        raise _malformed(name, "one type and its value, like {'S': 'text'}")
    ((kind, raw),) = attribute.items()
    if kind == "L" or kind == "M":
        return _nested(name, kind, raw, levels - 1)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise _malformed(name, f"one of the types {', '.join(_WORDS)}")
    return decoder(name, raw)


def _nested(name: str, kind: str, raw: object, levels: int) -> Value:
    if levels < 0:
        raise _malformed(name, f"at most {_DEEPEST} levels of lists and maps")
    if kind == "L" and isinstance(raw, list):
        return [_decode(name, each, levels) for each in raw]
    if kind == "M" and isinstance(raw, Mapping):
        return {_text(name, key): _decode(name, each, levels) for key, each in raw.items()}
    raise _malformed(name, f"{_WORDS[kind]} as the value of {kind!r}")


def _text(name: str, raw: object) -> str:
    if not isinstance(raw, str):
        raise _malformed(name, "text as the value of 'S'")
    if not is_text(raw):
        raise _malformed(name, "text without lone surrogates")
    return raw


def _number(name: str, raw: object) -> Decimal:
    if not isinstance(raw, str) or not _NUMBER.fullmatch(raw):
        raise _malformed(name, "a number, written as text, as the value of 'N'")
    value = Decimal(raw)
    if value and not _SMALLEST_EXPONENT <= value.adjusted() <= _LARGEST_EXPONENT:
        raise _malformed(name, f"a number between 1E{_SMALLEST_EXPONENT} and 1E{_LARGEST_EXPONENT + 1}")
    return value or Decimal(0)


def _boolean(name: str, raw: object) -> bool:
    if not isinstance(raw, bool):
        raise _malformed(name, "true or false as the value of 'BOOL'")
    return raw


def _null(name: str, raw: object) -> None:
    if raw is not True:
        raise _malformed(name, "true as the value of 'NULL'")


def _binary(name: str, raw: object) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        if isinstance(raw, str):
            return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise _malformed(name, "base64 as the value of 'B'") from problem
    raise _malformed(name, "base64 as the value of 'B'")


def _set_of(kind: str, decoder: Callable[[str, object], Value]) -> Callable[[str, object], Value]:
    def decode_set(name: str, raw: object) -> Value:
        if not isinstance(raw, (list, set, frozenset)):
            raise _malformed(name, f"{_WORDS[kind]} as the value of {kind!r}")
        return frozenset(decoder(name, each) for each in raw)  # type: ignore[return-value]

    return decode_set


_DECODERS: Mapping[object, Callable[[str, object], Value]] = {
    "S": _text,
    "N": _number,
    "BOOL": _boolean,
    "NULL": _null,
    "B": _binary,
    "SS": _set_of("SS", _text),
    "NS": _set_of("NS", _number),
    "BS": _set_of("BS", _binary),
}


def _malformed(name: str, expected: str) -> BadInput:
    return BadInput(
        f"attribute {name!r} is not in DynamoDB's JSON: expected {expected}",
        hint="see whether the message is what DynamoDB Streams or the producer wrote",
    )
