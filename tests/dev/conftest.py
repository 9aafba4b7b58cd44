"""Queues on moto's server, and functions that do as they are told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dev.cloud import Cloud
from dev.function import Answer
from dev.queues import Queue
from tests.support.s3 import moto_url


@dataclass
class Scripted:
    """A function that fails the records that a rule names, and remembers what it was given.

    Attributes:
        fails: Whether a record fails, by its text.
        raises: Whether a whole event does, by the texts of its records.
    """

    fails: Callable[[str], bool] = lambda text: False
    raises: Callable[[list[str]], bool] = lambda texts: False
    batches: list[list[str]] = field(default_factory=list)

    def invoke(self, event: Mapping[str, Any]) -> Answer:
        names = [record.get("messageId") or record["dynamodb"]["SequenceNumber"] for record in event["Records"]]
        texts = [record.get("body") or record["dynamodb"]["SequenceNumber"] for record in event["Records"]]
        self.batches.append(texts)
        if self.raises(texts):
            return Answer(None, "ValueError: as scripted", 0)
        failed = [{"itemIdentifier": name} for name, text in zip(names, texts, strict=True) if self.fails(text)]
        return Answer({"batchItemFailures": failed}, None, 0)


@pytest.fixture
def queue() -> Queue:
    """A queue whose messages are visible again at once."""
    return new_queue(visibility_seconds=0)


def new_queue(*, visibility_seconds: int) -> Queue:
    """Make a queue whose messages are dead after three receives."""
    cloud = Cloud(moto_url(), moto_url())
    return Queue.create(cloud, f"q-{uuid.uuid4()}", visibility_seconds=visibility_seconds, receives=3)
