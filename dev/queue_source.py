"""Lambda's event source mapping for a queue, played: batches, two invocations at a time, partial failures.

A batch is what comes within the window, but no more than its most messages and bytes. Messages that the
function does not name are deleted; the others come again, until the queue sets them aside. A failed or
misread invocation fails its whole batch. On AWS what failed stays out of sight for what is left of its
visibility time-out; here for a pause, since a person waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, PriorityQueue

from chroma_lifecycle.clock import SYSTEM_CLOCK
from dev.function import Answer, Function, failed_of
from dev.queues import Message, Queue, lambda_event

PAYLOAD_BYTES = 6_000_000
"""Of one invocation, as Lambda limits it."""

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Invocation:
    """One batch, and what it came to.

    Attributes:
        worker: Number of the function's container.
        received: Messages or records of the batch.
        failed: Those of them that come again.
        receives: How often the one that came most often was received.
        error: Why the whole invocation failed, if it did.
    """

    worker: int
    received: int
    failed: int
    receives: int
    error: str | None
    seconds: float


def quiet(_: Invocation) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Batching:
    """How events are gathered; AWS's own names say less.

    Attributes:
        most: Messages in a batch (BatchSize).
        window_seconds: How long a batch is gathered (MaximumBatchingWindowInSeconds).
    """

    most: int = 2_000
    window_seconds: float = 1.0


@dataclass
class QueueSource:
    """Brings the messages of a queue to the containers of a function.

    Attributes:
        functions: The containers; each takes one batch at a time (MaximumConcurrency is their number).
        again_seconds: How long messages that failed stay out of sight.
        told: Called after each invocation, in its thread.
    """

    queue: Queue
    functions: Sequence[Function]
    batching: Batching
    again_seconds: int = 0
    told: Callable[[Invocation], None] = quiet
    problem: BaseException | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)
    _running: set[Future[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._free: PriorityQueue[int] = PriorityQueue()  # the first that is free, so that it stays warm
        for number in range(len(self.functions)):
            self._free.put(number)
        self._pool = ThreadPoolExecutor(len(self.functions), "invocation")

    def step(self) -> bool:
        """Gather a batch for a container that is free, and let it work; return whether there was anything."""
        if self.problem is not None:
            raise self.problem
        try:
            worker = self._free.get(timeout=_PAUSE_SECONDS)
        except Empty:
            return True  # all of them work; look again
        batch = self._gather()
        if not batch:
            self._free.put(worker)
            return False
        self._pool.submit(self._deliver, worker, batch).add_done_callback(self._done)
        return True

    def close(self) -> None:
        """Wait for the invocations that are under way."""
        self._stopping.set()
        self._pool.shutdown(wait=True)

    def _gather(self) -> list[Message]:
        batch: list[Message] = []
        size = 0
        ends_at = SYSTEM_CLOCK.monotonic() + self.batching.window_seconds
        while len(batch) < self.batching.most and size < PAYLOAD_BYTES * 0.9:
            found = self.queue.receive(self.batching.most - len(batch))
            if not batch:
                if not found:
                    return []
                ends_at = SYSTEM_CLOCK.monotonic() + self.batching.window_seconds  # it begins with its first message
            batch += found
            size += sum(len(message["Body"]) for message in found)
            if SYSTEM_CLOCK.monotonic() >= ends_at or (not found and self._stopping.wait(_PAUSE_SECONDS)):
                break
        return batch

    def _deliver(self, worker: int, batch: list[Message]) -> None:
        answer = self.functions[worker].invoke(lambda_event(batch, self.queue.arn))
        failed = failed_of(answer, [message["MessageId"] for message in batch])
        self.queue.delete([message for message in batch if message["MessageId"] not in failed])
        self.queue.hide([message for message in batch if message["MessageId"] in failed], self.again_seconds)
        self.told(_invocation(worker, batch, len(failed), answer))
        self._free.put(worker)

    def _done(self, delivery: Future[None]) -> None:
        self.problem = self.problem or delivery.exception()


def _invocation(worker: int, batch: Sequence[Message], failed: int, answer: Answer) -> Invocation:
    receives = max(int(message["Attributes"]["ApproximateReceiveCount"]) for message in batch)
    return Invocation(worker, len(batch), failed, receives, answer.error, answer.seconds)
