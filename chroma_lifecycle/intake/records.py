"""Stream records: one change of a table item, as DynamoDB Streams, Lambda or EventBridge Pipes write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, TypeAlias, cast

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.json_text import shorten
from chroma_lifecycle.values import Position, value_class

EventName: TypeAlias = Literal["INSERT", "MODIFY", "REMOVE"]

EVENT_NAMES = ("INSERT", "MODIFY", "REMOVE")
OBJECT = (dict, Mapping)
"""What can stand for a JSON object; nearly always it is the first, which is quick to tell."""

REPLICATION = "aws:rep:"
"""Begins the attributes that global tables add; they are nobody's."""

MAX_SEQUENCE_DIGITS = 1_000
"""AWS writes 21 to 40; more than this is no number of a stream."""

_LATEST_SECONDS = 1 << 40
_LABEL = re.compile(r"[!-~]{1,200}")
_SEQUENCE = re.compile(r"[0-9]+")
_LABELS_REMEMBERED = 64
_HINT = "see whether the message is what DynamoDB Streams wrote; it stays in the queue, or goes where failed ones go"


@value_class
class StreamRecord:
    """One change of a table item.

    Attributes:
        source: What the queue or stream wants back if this fails.
        keys: The item's key attributes.
        new_image: The item after the change; ``None`` for REMOVE, and where the stream has no new images.
        old_image: The item before it; ``None`` for INSERT, and where the stream has no old images.
        position: Place in the total order.
        partial: Whether the new image names only some attributes, the others standing as they were.
        collection: The one collection that the message is for; ``None`` for every one.
    """

    source: str
    event_name: EventName
    keys: Image
    new_image: Image | None
    old_image: Image | None
    position: Position
    partial: bool = False
    collection: str | None = None


def is_stream_record(value: object) -> bool:
    """Return whether *value* says that it is a stream record, sound or not."""
    return isinstance(value, OBJECT) and member(value, "dynamodb") is not None


def sequence_text(value: Mapping[str, Any]) -> str | None:
    """Return the SequenceNumber as the stream wrote it, sound or not; ``None`` without one."""
    body = member(value, "dynamodb")
    text = member(body, "SequenceNumber") if isinstance(body, OBJECT) else None
    return text if isinstance(text, str) and text else None


def parse_stream_record(value: Mapping[str, Any], source: str, collection: str | None = None) -> StreamRecord:
    """Return the record; names of fields may begin with a capital or a small letter.

    Raises:
        BadInput: A field is missing or malformed.
    """
    body = member(value, "dynamodb")
    if not isinstance(body, OBJECT):
        raise _malformed("'dynamodb' is no object")
    name = event_name(member(value, "eventName"))
    keys = _image(body, "Keys")
    if not keys:
        raise _malformed("it has no 'Keys'")
    return StreamRecord(
        source=source,
        event_name=name,
        keys=keys,
        new_image=None if name == "REMOVE" else _image(body, "NewImage"),
        old_image=None if name == "INSERT" else _image(body, "OldImage"),
        position=_position(value, body),
        collection=collection,
    )


def member(value: Mapping[str, Any], name: str) -> Any:
    """Return a field of AWS's JSON, whichever case its first letter has; GetRecords and Lambda differ."""
    found = value.get(name)
    return value.get(name[0].swapcase() + name[1:]) if found is None else found


def event_name(value: object) -> EventName:
    """Return *value* as the name of an event.

    Raises:
        BadInput: It is none.
    """
    if value not in EVENT_NAMES:
        raise _malformed(f"its event name is {shorten(value)}; allowed: {', '.join(EVENT_NAMES)}")
    return cast("EventName", value)


def _image(body: Mapping[str, Any], name: str) -> Image | None:
    image = member(body, name)
    if image is None:
        return None
    if not isinstance(image, OBJECT):
        raise _malformed(f"{name!r} is no object")
    try:
        return {attribute: value for attribute, value in image.items() if not attribute.startswith(REPLICATION)}
    except (AttributeError, TypeError):  # what no JSON has: a name that is no text
        raise _malformed(f"{name!r} is no object") from None


def _position(value: Mapping[str, Any], body: Mapping[str, Any]) -> Position:
    sequence = member(body, "SequenceNumber")
    if not isinstance(sequence, str) or not _SEQUENCE.fullmatch(sequence) or len(sequence) > MAX_SEQUENCE_DIGITS:
        raise _malformed(f"its SequenceNumber is {shorten(sequence)}; expected decimal digits")
    arn, created = member(value, "eventSourceARN"), member(body, "ApproximateCreationDateTime")
    label = _known_label(arn) if isinstance(arn, str) else _label(arn)
    return Position.of_stream(label, int(sequence), _seconds(created))


def _label(arn: object) -> str:
    """Return what follows ``/stream/`` in a stream's ARN: it changes whenever the stream is made anew."""
    if arn is None:
        raise BadInput(
            "the stream record has no 'eventSourceARN', without which nothing tells which stream numbered it",
            hint="add the stream's ARN to records that GetRecords returned; Lambda and EventBridge Pipes write it",
        )
    label = arn.partition("/stream/")[2] if isinstance(arn, str) else ""
    if not _LABEL.fullmatch(label):
        raise _malformed(f"its eventSourceARN {shorten(arn)} is not the ARN of a DynamoDB stream")
    return label


# The messages of a batch are mostly of one stream.
_known_label = lru_cache(_LABELS_REMEMBERED)(_label)


def _seconds(created: object) -> int:
    """Return seconds since 1970 of a number, a time, or an ISO 8601 text."""
    if type(created) is int and 0 <= created < _LATEST_SECONDS:
        return created
    moment = datetime_of(created) if isinstance(created, (str, datetime)) else None
    seconds = created if moment is None else moment.timestamp()
    if isinstance(seconds, (int, float, Decimal)) and not isinstance(seconds, bool) and 0 <= seconds < _LATEST_SECONDS:
        return int(seconds)
    raise _malformed(f"its ApproximateCreationDateTime is {shorten(created)}; expected seconds since 1970, or ISO 8601")


def datetime_of(value: str | datetime) -> datetime | None:
    """Return a time in UTC, or ``None`` if the text is not ISO 8601; without an offset it is taken as UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _malformed(problem: str) -> BadInput:
    return BadInput(f"the stream record is malformed: {problem}", hint=_HINT)
