"""Every form in which stream records reach the function, and what each record is called there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.model.flat import flat_messages
from tests.support.table import in_sqs, in_stream

Body = dict[str, Any] | str
"""A stream record, or the text of a message that is none."""


Packed = tuple[Any, list[tuple[str, Body]]]
"""An event, and each thing in it with what it is called there."""


def queue(bodies: Sequence[Body]) -> Packed:
    """As messages of a queue that EventBridge Pipes fills; a record that comes twice keeps its messageId."""
    event = in_sqs(list(bodies))
    names = [body["eventID"] if isinstance(body, dict) else f"text-{number}" for number, body in enumerate(bodies)]
    for message, name in zip(event["Records"], names, strict=True):
        message["messageId"] = name
    return event, list(zip(names, bodies, strict=True))


def sent_twice(bodies: Sequence[Body]) -> Packed:
    """As messages of a queue, where a record that comes twice is two messages."""
    event = in_sqs(list(bodies))
    return event, [(message["messageId"], body) for message, body in zip(event["Records"], bodies, strict=True)]


def stream(bodies: Sequence[Body]) -> Packed:
    """As Lambda reads them from the stream itself."""
    return in_stream(_records(bodies)), _numbered(bodies)


def direct(bodies: Sequence[Body]) -> Packed:
    """As the argument of a direct call."""
    return _records(bodies), _numbered(bodies)


def get_records(bodies: Sequence[Body]) -> Packed:
    """As GetRecords of another SDK gives them: names begin with the other case."""
    return [_swapped(record) for record in _records(bodies)], _numbered(bodies)


ENVELOPES: dict[str, Callable[[Sequence[Body]], Packed]] = {
    "queue": queue,
    "sent twice": sent_twice,
    "stream": stream,
    "direct": direct,
    "GetRecords": get_records,
}


def flat(bodies: Sequence[Body]) -> Packed:
    """As messages of a queue that an older producer fills; what it tells nothing of is left out.

    Each is called by its record and its collection, and stands for the record in that collection.
    """
    packed: list[tuple[str, Any, Body]] = []
    for number, body in enumerate(bodies):
        if isinstance(body, str):
            packed.append((f"text-{number}", body, body))
        elif body["dynamodb"]["Keys"]["PK"]["S"].startswith("IMAGE"):
            for message in flat_messages(body, whole=True):
                only = {"collection": message["collection"]} if "collection" in message else {}
                name = f"{body['eventID']}-{only.get('collection', '')}"
                packed.append((name, message, {**body, **only, "flat": True}))
    event = in_sqs([sent if isinstance(sent, str) else json.dumps(sent) for _, sent, _ in packed])
    for message, (name, _, _) in zip(event["Records"], packed, strict=True):
        message["messageId"] = name
    return event, [(name, body) for name, _, body in packed]


def _records(bodies: Sequence[Body]) -> list[dict[str, Any]]:
    return [body for body in bodies if isinstance(body, dict)]


def _numbered(bodies: Sequence[Body]) -> list[tuple[str, Body]]:
    return [(record["dynamodb"]["SequenceNumber"], record) for record in _records(bodies)]


def _swapped(record: dict[str, Any]) -> dict[str, Any]:
    """Return *record* with the other case in the fields that AWS names; items keep theirs."""
    body = {name[0].swapcase() + name[1:]: value for name, value in record["dynamodb"].items()}
    return {name[0].swapcase() + name[1:]: value for name, value in record.items() if name != "dynamodb"} | {
        "Dynamodb": body
    }
