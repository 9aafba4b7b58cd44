"""The queue of changes and its dead-letter queue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dev.cloud import Cloud

MOST = 10
"""Messages in one request of SQS."""

_MOST_BYTES = 1_000_000

Message = dict[str, Any]


@dataclass(frozen=True)
class Queue:
    """A queue with a dead-letter queue.

    Attributes:
        url: Of the queue.
        dead: URL of the other one.
        arn: What the function is told of where its messages come from.
    """

    client: Any
    url: str
    dead: str
    arn: str

    @classmethod
    def create(
        cls, cloud: Cloud, name: str, *, visibility_seconds: int, receives: int, retention_seconds: int = 1_209_600
    ) -> Queue:
        """Make both; a message that was received *receives* times and comes again goes to the dead letters."""
        client = cloud.client("sqs")
        dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": _arn(client, dead), "maxReceiveCount": receives}
        attributes = {
            "VisibilityTimeout": str(visibility_seconds),
            "MessageRetentionPeriod": str(retention_seconds),
            "RedrivePolicy": json.dumps(redrive),
        }
        url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return cls(client, url, dead, _arn(client, url))

    def send(self, bodies: Sequence[str]) -> None:
        """Send messages, at most ten and a megabyte in one request."""
        for batch in _batches(bodies):
            self._in_batches(self.client.send_message_batch, [{"MessageBody": body} for body in batch])

    def receive(self, most: int) -> list[Message]:
        """Return at most *most* messages, ten at the most, that are visible now."""
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=min(MOST, most),
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def delete(self, messages: Sequence[Message]) -> None:
        """Forget messages that are done."""
        self._in_batches(self.client.delete_message_batch, [_handle(message) for message in messages])

    def hide(self, messages: Sequence[Message], seconds: int) -> None:
        """Let messages that were received be visible again after *seconds*."""
        entries = [{**_handle(message), "VisibilityTimeout": seconds} for message in messages]
        self._in_batches(self.client.change_message_visibility_batch, entries)

    def waiting(self) -> int:
        """Return how many messages the queue holds, those in work and those that failed included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)

    def _in_batches(self, call: Callable[..., Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]) -> None:
        for first in range(0, len(entries), MOST):
            numbered = [{"Id": str(number), **entry} for number, entry in enumerate(entries[first : first + MOST])]
            if failed := call(QueueUrl=self.url, Entries=numbered).get("Failed"):
                raise RuntimeError(f"the queue refuses {len(failed)} of {len(numbered)} messages: {failed[0]}")

    def dead_letters(self) -> list[str]:
        """Return the bodies of the dead letters; they stay where they are, out of sight for a while."""
        bodies: list[str] = []
        while found := self.client.receive_message(QueueUrl=self.dead, MaxNumberOfMessages=MOST).get("Messages"):
            bodies += [message["Body"] for message in found]
        return bodies


def lambda_event(messages: Sequence[Message], arn: str) -> dict[str, Any]:
    """Return the event that Lambda makes of messages of a queue."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message.get("Attributes", {}),
                "messageAttributes": {
                    name: {field[0].lower() + field[1:]: value for field, value in attribute.items()}
                    for name, attribute in message.get("MessageAttributes", {}).items()
                },
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": arn.split(":")[3],
            }
            for message in messages
        ]
    }


def _handle(message: Message) -> dict[str, Any]:
    return {"ReceiptHandle": message["ReceiptHandle"]}


def _arn(client: Any, url: str) -> str:
    return str(client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


def _batches(bodies: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == MOST or size + length > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch
