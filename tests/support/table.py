"""A table in memory that writes the stream records DynamoDB would write."""

from __future__ import annotations

import json
from typing import Any

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/receipts/stream/2026-01-01T00:00:00.000"
CREATED = 1_767_225_600


def attribute(value: Any) -> dict[str, Any]:
    """Return *value* in DynamoDB's own JSON."""
    match value:
        case bool():
            return {"BOOL": value}
        case None:
            return {"NULL": True}
        case int() | float():
            return {"N": str(value)}
        case set() | frozenset():
            return {"SS": sorted(value)}
        case list():
            return {"L": [attribute(each) for each in value]}
        case _:
            return {"S": value}


class Table:
    """Items by key; every write returns the record that the stream would carry.

    Attributes:
        idle: How many seconds passed in which nothing was written.
    """

    def __init__(self, partition_key: str = "PK", sort_key: str | None = "SK", arn: str = ARN) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self._names = (partition_key, sort_key)
        self._arn = arn
        self._sequence = 100_000_000_000_000_000_000
        self.idle = 0

    @property
    def sequence(self) -> int:
        """That of the newest write."""
        return self._sequence

    @property
    def now(self) -> int:
        """When the newest write was, and what is idle since, in seconds of the Unix epoch."""
        return CREATED + self._sequence % 1000 + self.idle

    def put(self, pk: str, sk: str = "", **attributes: Any) -> dict[str, Any]:
        """Write a whole item."""
        old = self.items.get((pk, sk))
        self.items[pk, sk] = attributes
        return self._record("MODIFY" if old is not None else "INSERT", pk, sk, attributes, old)

    def update(self, pk: str, sk: str = "", **attributes: Any) -> dict[str, Any]:
        """Change some attributes of an item."""
        return self.put(pk, sk, **{**self.items.get((pk, sk), {}), **attributes})

    def remove(self, pk: str, sk: str = "") -> dict[str, Any]:
        """Remove an item that is there."""
        old = self.items.pop((pk, sk))
        return self._record("REMOVE", pk, sk, None, old)

    def _record(self, name: str, pk: str, sk: str, new: dict | None, old: dict | None) -> dict[str, Any]:
        self._sequence += 1
        keys = {self._names[0]: {"S": pk}}
        if self._names[1]:
            keys[self._names[1]] = {"S": sk}
        body: dict[str, Any] = {
            "ApproximateCreationDateTime": self.now,
            "Keys": keys,
            "SequenceNumber": str(self._sequence),
            "SizeBytes": 100,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
        if new is not None:
            body["NewImage"] = keys | {name_: attribute(value) for name_, value in new.items()}
        if old is not None:
            body["OldImage"] = keys | {name_: attribute(value) for name_, value in old.items()}
        return {
            "eventID": f"{self._sequence:032x}",
            "eventName": name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "dynamodb": body,
            "eventSourceARN": self._arn,
        }


def in_stream(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the event that Lambda gets from a stream."""
    return {"Records": records}


def in_sqs(records: list[Any], prefix: str = "message") -> dict[str, Any]:
    """Return the event that Lambda gets from a queue that EventBridge Pipes fills; text goes in as it is."""
    return {
        "Records": [
            {
                "messageId": f"{prefix}-{number}",
                "receiptHandle": "handle",
                "body": record if isinstance(record, str) else json.dumps(record),
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"},
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:changes",
                "awsRegion": "eu-west-1",
            }
            for number, record in enumerate(records)
        ]
    }
