"""Events as the function receives them: recognised by looking, and opened record by record.

Every record comes out once: as a stream record, or as the error that fails it alone, beside the
identifier that the queue or stream wants back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.flat import is_flat_message, parse_flat_message
from chroma_lifecycle.intake.json_text import kind_of, parse_json, shorten
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.records import (
    OBJECT,
    StreamRecord,
    is_stream_record,
    member,
    parse_stream_record,
    sequence_text,
)
from chroma_lifecycle.values import value_class


class Kind(StrEnum):
    """What an event is, which decides how it is answered."""

    SQS = "sqs"
    STREAM = "stream"
    DIRECT = "direct"


_SOURCES = {Kind.SQS: "aws:sqs", Kind.STREAM: "aws:dynamodb"}
_FORMS = "a queue's event or its messages, a DynamoDB stream's event, or a list of stream records"


@value_class
class Received:
    """One record of an event.

    Attributes:
        source: What the queue or stream wants back if it fails: the messageId, or the original
            text of the SequenceNumber. Two records may have the same.
        record: What it says, or why that cannot be told.
    """

    source: str
    record: StreamRecord | BadInput


@dataclass(frozen=True, slots=True)
class Batch:
    """An event, opened."""

    kind: Kind
    received: tuple[Received, ...]


def decode_event(event: object, mapping: TableMapping) -> Batch:
    """Return the records of *event*; none is left out.

    Raises:
        BadInput: The event is none of the known forms, holds no record, or one of its records has no
            identifier. Such a record could not be reported by itself, and an answer without it would
            have it deleted; so the whole batch fails, and comes again or goes where failed ones go.
    """
    kind, records = _recognise(event)
    return Batch(kind, tuple(_receive(kind, number, record, mapping) for number, record in enumerate(records, 1)))


def require_event(event: object) -> None:
    """Raise what :func:`decode_event` would, for whoever can say where the event comes from."""
    kind, records = _recognise(event)
    for number, record in enumerate(records, 1):
        _identifier(kind, number, record)


def _recognise(event: object) -> tuple[Kind, Sequence[object]]:
    if isinstance(event, list):
        kind, records = Kind.DIRECT, event
    elif isinstance(event, Mapping) and isinstance(event.get("Records"), list):
        records = event["Records"]
        kind = _kind_of(records)
    elif isinstance(event, Mapping) and isinstance(event.get("Messages"), list):
        kind, records = Kind.SQS, [_as_lambda_has_it(message) for message in event["Messages"]]
    else:
        raise _no_event(f"an object with {_names(event)}" if isinstance(event, Mapping) else kind_of(event))
    if not records:
        raise _no_event("without a record")
    return kind, records


def _as_lambda_has_it(message: object) -> object:
    """Return a message that `aws sqs receive-message` printed, a dead letter say, as Lambda would hand it over."""
    if not isinstance(message, OBJECT):
        return message
    names = ("messageId", "body", "messageAttributes")
    return {"eventSource": _SOURCES[Kind.SQS]} | {
        name: found for name in names if (found := member(message, name)) is not None
    }


def _kind_of(records: list[object]) -> Kind:
    sources = [member(record, "eventSource") if isinstance(record, OBJECT) else None for record in records]
    for kind, name in _SOURCES.items():
        if name in sources:
            return kind
    if not records:
        raise _no_event("without a record")
    raise _no_event(_from(records[0]))


def _from(record: object) -> str:
    """Return where a record that nobody knows comes from."""
    if not isinstance(record, OBJECT):
        return f"with {kind_of(record)} as a record"
    source = member(record, "eventSource")
    return "without an eventSource" if source is None else f"of event source {shorten(source)}"


def _no_event(found: str) -> BadInput:
    return BadInput(
        f"this is no event that can be compacted: {found}; expected {_FORMS}",
        hint="see the examples in events/; connect the function to a queue or a stream, not to other sources",
    )


def _receive(kind: Kind, number: int, record: object, mapping: TableMapping) -> Received:
    source = _identifier(kind, number, record)
    try:
        return Received(source, _open(kind, record, source, mapping))
    except BadInput as problem:
        return Received(source, problem)
    except RecursionError:
        return Received(source, _unknown("nested too deeply"))


def _identifier(kind: Kind, number: int, record: object) -> str:
    if isinstance(record, OBJECT):
        found = record.get("messageId") if kind is Kind.SQS else sequence_text(record)
        if isinstance(found, str) and found:
            return found
    if kind is Kind.DIRECT:  # nothing wants it back: the caller gets the error itself
        return f"record {number}"
    name = "messageId" if kind is Kind.SQS else "SequenceNumber"
    raise BadInput(
        f"record {number} of the event has no {name}, so it cannot fail alone",
        hint="the whole batch comes again; see what writes to the queue or calls the function",
    )


def _open(kind: Kind, record: object, source: str, mapping: TableMapping) -> StreamRecord:
    if not isinstance(record, OBJECT):
        raise _unknown(kind_of(record))
    if kind is Kind.DIRECT:
        return _content(record, source, mapping, None)
    if member(record, "eventSource") != _SOURCES[kind]:
        raise _unknown(f"{_from(record)} in a batch of {kind}")
    if kind is Kind.STREAM:
        return _content(record, source, mapping, None)
    body = record.get("body")
    if not isinstance(body, str):
        raise _unknown("without a body")
    try:
        content = parse_json(body, exact=True)
    except ValueError as problem:
        raise BadInput(
            f"the message's body is refused: {problem}", hint="see what writes to the queue; the message fails alone"
        ) from problem
    return _content(content, source, mapping, _attribute(record, "collection"))


def _content(value: object, source: str, mapping: TableMapping, collection: str | None) -> StreamRecord:
    """Return what a message says: a stream record, or a flat message that is made into one."""
    if is_stream_record(value):
        record = cast("Mapping[str, Any]", value)
        if (found := member(record, "eventSource")) not in (None, "aws:dynamodb"):
            raise _unknown(f"of event source {shorten(found)}")
        return parse_stream_record(record, source, collection)
    if is_flat_message(value):
        return parse_flat_message(cast("Mapping[str, Any]", value), source, mapping, collection)
    raise _unknown(f"with {_names(value)}" if isinstance(value, Mapping) else kind_of(value))


def _attribute(message: Mapping[str, Any], name: str) -> str | None:
    """Return a message attribute of text, as Lambda or a queue's own API writes it."""
    attributes = message.get("messageAttributes")
    attribute = attributes.get(name) if isinstance(attributes, OBJECT) else None
    if attribute is None:
        return None
    text = member(attribute, "stringValue") if isinstance(attribute, OBJECT) else None
    if not isinstance(text, str) or not text:
        raise _unknown(f"whose attribute {name!r} is no text")
    return text


def _names(value: Mapping[Any, Any]) -> str:
    return ", ".join(shorten(name) for name in list(value)[:6]) or "nothing in it"


def _unknown(found: str) -> BadInput:
    return BadInput(
        f"unknown form of record: {found}; expected a DynamoDB stream record (with 'dynamodb') or a flat "
        "change message (with 'entity_type')",
        hint="see the examples in events/; EventBridge Pipes must send whole stream records, one a message",
    )
