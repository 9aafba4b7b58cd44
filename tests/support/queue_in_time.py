"""A queue on the moto server with a template's own numbers, whose time a test passes: nobody waits for it.

Visibility time-outs, receive counts and the dead-letter queue are the server's. Lambda's part is played: batches are
gathered and taken ahead of a busy function, and what the function does not name is deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import moto.sqs.models
import pytest

from dev.queues import Message, Queue, lambda_event
from tests.support.cloudformation import Stack
from tests.support.s3 import client

Function = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes an event, and returns the answer to it."""


@dataclass
class QueueInTime:
    """A queue, the mapping between it and a function, and what they came to.

    Attributes:
        seconds: The time on the server's clock.
        most: Messages in a batch.
        window_seconds: How long a batch is gathered.
        receives: How often each message was received at most, by its body.
        invocations: When each one began.
    """

    queue: Queue
    most: int
    window_seconds: int
    seconds: float = 1_800_000_000.0
    receives: Counter[str] = field(default_factory=Counter)
    invocations: list[float] = field(default_factory=list)
    _batch: list[Message] = field(default_factory=list)
    _began: float = 0.0

    def receive(self, most: int) -> list[Message]:
        """Return what is visible now."""
        found: list[Message] = []
        while len(found) < most and (more := self.queue.receive(most - len(found))):
            found += more
        for message in found:
            count = int(message["Attributes"]["ApproximateReceiveCount"])
            self.receives[message["Body"]] = max(count, self.receives[message["Body"]])
        return found

    def batches(self, most: int) -> list[list[Message]]:
        """Return so many batches that are taken together, as by a poller that is ahead of the function."""
        return [batch for _ in range(most) if (batch := self.receive(self.most))]

    def invoke(self, function: Function, batch: list[Message]) -> None:
        """Let the function work; what it does not name is done. One that raises is done with nothing."""
        self.invocations.append(self.seconds)
        try:
            answer = function(lambda_event(batch, self.queue.arn))
        except Exception:
            return
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        self.queue.delete([message for message in batch if message["MessageId"] not in failed])

    def second(self, function: Function) -> None:
        """Let a second go by: a batch is gathered from its first message on, and given when its window ends."""
        self.seconds += 1
        found = self.receive(self.most - len(self._batch))
        if found and not self._batch:
            self._began = self.seconds
        self._batch += found
        if self._batch and (self.seconds - self._began >= self.window_seconds or len(self._batch) >= self.most):
            batch, self._batch = self._batch, []
            self.invoke(function, batch)


@contextmanager
def queue_in_time(stack: Stack, *, scale: int = 1) -> Iterator[QueueInTime]:
    """Make the queue of a stack; batches have a *scale*-th of the messages that the template's have."""
    made, dead = stack.properties("Queue"), stack.properties("DeadLetters")
    [mapping] = stack.of_type("AWS::Lambda::EventSourceMapping").values()
    cloud: Any = SimpleNamespace(client=client)
    queue = Queue.create(
        cloud,
        f"t{uuid4().hex[:12]}",
        visibility_seconds=made["VisibilityTimeout"],
        receives=made["RedrivePolicy"]["maxReceiveCount"],
        retention_seconds=dead["MessageRetentionPeriod"],
    )
    passing = QueueInTime(queue, mapping["BatchSize"] // scale, mapping["MaximumBatchingWindowInSeconds"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moto.sqs.models, "unix_time", lambda: passing.seconds)
        patch.setattr(moto.sqs.models, "unix_time_millis", lambda: passing.seconds * 1_000)
        yield passing
