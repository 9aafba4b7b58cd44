"""A table, its stream, a queue with a dead-letter queue, and the function, on the moto server.

It plays EventBridge Pipes (one message for each stream record, the record itself as the body) and
the event source mapping (receives a batch, calls the function, deletes what it does not name).
"""

from __future__ import annotations

import importlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import handler.app
from dev.queues import lambda_event
from dev.stream import lambda_record
from tests.support.s3 import client

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:changes"


@dataclass
class Context:
    """What the function asks of Lambda: how much time is left."""

    remaining_milliseconds: int = 120_000
    function_name: str = "compactor"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_milliseconds


@dataclass
class Pipeline:
    """Everything between a write to the table and a published version."""

    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:12]}")
    receives: int = 3
    invocations: int = 0

    def __post_init__(self) -> None:
        self.dynamodb, self.sqs, self.s3 = client("dynamodb"), client("sqs"), client("s3")
        self.streams = client("dynamodbstreams")
        keys = ("PK", "HASH"), ("SK", "RANGE")
        table = self.dynamodb.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.stream = table["TableDescription"]["LatestStreamArn"]
        shard = self.streams.describe_stream(StreamArn=self.stream)["StreamDescription"]["Shards"][0]
        self.iterator = self.streams.get_shard_iterator(
            StreamArn=self.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        self.dead = self.sqs.create_queue(QueueName=f"{self.name}-dead")["QueueUrl"]
        dead_arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]
        redrive = {"deadLetterTargetArn": dead_arn["QueueArn"], "maxReceiveCount": self.receives}
        self.queue = self.sqs.create_queue(
            QueueName=self.name, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": json.dumps(redrive)}
        )["QueueUrl"]
        self.s3.create_bucket(
            Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": self.s3.meta.region_name}
        )

    def settings(self, workspace: Path, mapping: str) -> dict[str, str]:
        """Return the environment of the function."""
        return {
            "CHROMA_LIFECYCLE_STORE": f"s3://{self.name}/snapshots",
            "CHROMA_LIFECYCLE_DELTAS": f"s3://{self.name}/deltas/",
            "CHROMA_LIFECYCLE_TABLE": self.name,
            "CHROMA_LIFECYCLE_MAPPING": mapping,
            "CHROMA_LIFECYCLE_WORKSPACE": str(workspace),
        }

    def put(self, pk: str, sk: str, **attributes: str) -> None:
        item = {name: {"S": value} for name, value in {"PK": pk, "SK": sk, **attributes}.items()}
        self.dynamodb.put_item(TableName=self.name, Item=item)

    def item(self, pk: str, sk: str) -> dict[str, str]:
        """Return the attributes of an item."""
        key = {"PK": {"S": pk}, "SK": {"S": sk}}
        found = self.dynamodb.get_item(TableName=self.name, Key=key, ConsistentRead=True)
        return {name: next(iter(value.values())) for name, value in found["Item"].items()}

    def pipe(self) -> int:
        """Move what the stream holds into the queue; return how many records those were."""
        answer = self.streams.get_records(ShardIterator=self.iterator)
        self.iterator = answer["NextShardIterator"]
        for record in answer["Records"]:
            self.send(json.dumps(lambda_record(record, self.stream)))
        return len(answer["Records"])

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def receive(self) -> list[dict[str, Any]]:
        """Return what the queue hands out now, at most ten messages."""
        return list(
            self.sqs.receive_message(
                QueueUrl=self.queue, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
            ).get("Messages", [])
        )

    def invoke(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Call the function with *messages*, and delete those that it does not name."""
        self.invocations += 1
        answer: dict[str, Any] = handler.app.lambda_handler(lambda_event(messages, QUEUE), Context())  # type: ignore[arg-type]
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for message in messages:
            if message["MessageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return answer

    def drain(self, most: int = 40) -> None:
        """Let pipe and function work until stream and queue are empty."""
        for _ in range(most):
            moved = self.pipe()
            if messages := self.receive():
                self.invoke(messages)
            elif not moved:
                return
        raise AssertionError(f"the queue is not empty after {most} rounds")

    def dead_letters(self) -> list[str]:
        """Return the bodies in the dead-letter queue."""
        answer = self.sqs.receive_message(QueueUrl=self.dead, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]


def cold() -> None:
    """Forget what the container built: the next invocation reads the settings again."""
    built = handler.app._compactor
    if built.cache_info().currsize:
        built().close()
    built.cache_clear()
    handler.app._telemetry.cache_clear()
    importlib.invalidate_caches()
