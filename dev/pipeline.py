"""The pipeline, put together: what is written to the table becomes a published version by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.intake.mapping_file import load_mapping
from dev.cloud import REGION, Cloud
from dev.dynamodb_local import dynamodb_local, install
from dev.function import Function
from dev.loops import Loop
from dev.moto import moto_server
from dev.pipe import Pipe
from dev.queue_source import Batching, Invocation, QueueSource, quiet
from dev.queues import Queue
from dev.stream import StreamReader
from dev.stream_source import StreamSource
from dev.table import create_table
from dev.workers import Worker

BUCKET = "store"
STORE = f"s3://{BUCKET}/snapshots"


@dataclass(frozen=True)
class Plan:
    """What pipeline it is to be.

    Attributes:
        mapping: Path of a mapping file, or the name of a shipped mapping.
        home: Directory for workspaces, deltas and logs.
        cache: Directory for what is fetched once.
        table: Name of the table.
        source: ``queue`` or ``stream``.
        workers: Containers of the function.
        receives: After so many a message goes to the dead letters.
        visibility_seconds: How long a message that was received stays out of sight.
        again_seconds: The same, when it has failed.
        retention_seconds: How long a message is kept at all.
        timeout_seconds: The function's.
        settings: More settings of the function, by variable.
    """

    mapping: str
    home: Path
    cache: Path
    table: str = "changes"
    source: str = "queue"
    workers: int = 2
    batching: Batching = field(default_factory=Batching)
    receives: int = 3
    visibility_seconds: int = 360
    again_seconds: int = 1
    retention_seconds: int = 1_209_600
    timeout_seconds: float = 60
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Pipeline:
    """A running pipeline.

    Attributes:
        invocations: All so far, in the order of their ends.
    """

    plan: Plan
    cloud: Cloud
    stream: str
    queue: Queue
    workers: list[Worker]
    invocations: list[Invocation] = field(default_factory=list)
    told: Callable[[Invocation], None] = quiet
    _loops: list[Loop] = field(default_factory=list)
    _source: QueueSource | StreamSource | None = None
    _pipe: Pipe | None = None

    def settings(self) -> dict[str, str]:
        """Return the function's settings; those of a worker have a workspace of its own besides."""
        return {
            "CHROMA_LIFECYCLE_STORE": STORE,
            "CHROMA_LIFECYCLE_MAPPING": self.plan.mapping,
            "CHROMA_LIFECYCLE_TABLE": self.plan.table,
            "CHROMA_LIFECYCLE_DELTAS": f"{self.plan.home / 'deltas'},s3://{BUCKET}/deltas/",
            **self.plan.settings,
        }

    def consume(self, functions: Sequence[Function] | None = None) -> None:
        """Begin to bring the stream to the function: by default to the workers."""
        functions = functions or self.workers
        reader = StreamReader(self.cloud, self.stream)
        if self.plan.source == "stream":
            self._source = StreamSource(reader, functions[0], self.plan.batching, self.plan.receives, self._note)
        else:
            self._pipe = Pipe(reader, self.queue)
            self._source = QueueSource(self.queue, functions, self.plan.batching, self.plan.again_seconds, self._note)
            self._loops.append(Loop("pipe", self._pipe.step))
        self._loops.append(Loop("event source", self._source.step))

    def stop(self) -> None:
        """End in the order of the data: nothing that was begun is broken off."""
        for loop in self._loops:
            loop.stop()
        if isinstance(self._source, QueueSource):
            self._source.close()
        for worker in self.workers:
            worker.close()
        self.raise_problem()

    def wait_for(self, condition: Callable[[], bool], what: str, *, seconds: float = 120) -> None:
        """Wait until *condition* holds.

        Raises:
            TimeoutError: It does not in time.
        """
        # Once true is enough: a condition on what moves may be over when it is asked again.
        held = wait_until(lambda: self.problem is not None or condition(), timeout_seconds=seconds, poll_seconds=0.1)
        self.raise_problem()
        if not held:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")

    def drained(self, records: int) -> bool:
        """Return whether *records* came through the pipe, and the queue has none left."""
        return self._pipe is not None and self._pipe.moved >= records and self.queue.waiting() == 0

    @property
    def moved(self) -> int:
        """Records that came through the pipe."""
        return self._pipe.moved if self._pipe is not None else 0

    @property
    def given_up(self) -> list[str]:
        """Sequence numbers of the records that a stream without a queue has left behind."""
        return self._source.given_up if isinstance(self._source, StreamSource) else []

    @property
    def problem(self) -> BaseException | None:
        """What ended a part that ought not to end."""
        parts: list[Any] = [*self._loops, self._source]
        return next((part.problem for part in parts if getattr(part, "problem", None) is not None), None)

    def raise_problem(self) -> None:
        """Raise it, if there is one."""
        if self.problem is not None:
            raise self.problem

    def _note(self, invocation: Invocation) -> None:
        self.invocations.append(invocation)
        self.told(invocation)


@contextmanager
def services(cache: Path, logs: Path) -> Iterator[Cloud]:
    """Run DynamoDB Local and moto's server, and make the bucket.

    Raises:
        Missing: This machine lacks what they need.
    """
    home = install(cache)
    with dynamodb_local(home, logs / "dynamodb.log") as dynamodb, moto_server(logs / "moto.log") as moto:
        cloud = Cloud(moto, dynamodb)
        cloud.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield cloud


def build(plan: Plan, cloud: Cloud) -> Pipeline:
    """Make table, queue and workers; nothing is consumed yet."""
    stream = create_table(cloud, plan.table, load_mapping(plan.mapping))
    queue = Queue.create(
        cloud,
        plan.table,
        visibility_seconds=plan.visibility_seconds,
        receives=plan.receives,
        retention_seconds=plan.retention_seconds,
    )
    (plan.home / "deltas").mkdir(parents=True, exist_ok=True)
    made = Pipeline(plan, cloud, stream, queue, [])
    for number in range(1, plan.workers + 1):
        workspace = {"CHROMA_LIFECYCLE_WORKSPACE": str(plan.home / f"workspace-{number}")}
        environment = cloud.environment({**made.settings(), **workspace})
        made.workers.append(Worker(environment, plan.home / "logs" / f"worker-{number}.log", plan.timeout_seconds))
    return made
