"""Lambda's event source mapping for a stream, played: in order, and from the lowest failed record on again.

After an error of the whole function it comes again with half of the batch (BisectBatchOnFunctionError). A record
that fails *attempts* times is given up alone; AWS does that by its age. What is there goes at once, without a window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dev.function import Function, failed_of
from dev.queue_source import Batching, Invocation, quiet
from dev.stream import Record, StreamReader


@dataclass
class StreamSource:
    """Brings the records of a stream to one container of a function.

    Attributes:
        attempts: After how many invocations with it in front a record is given up; ``None`` for never.
        given_up: Sequence numbers of such records.
    """

    reader: StreamReader
    function: Function
    batching: Batching
    attempts: int | None = None
    told: Callable[[Invocation], None] = quiet
    given_up: list[str] = field(default_factory=list)
    _waiting: list[Record] = field(default_factory=list)
    _front: tuple[str, int] = ("", 0)
    _most: int = 0

    def step(self) -> bool:
        """Deliver one batch; return whether to go on at once: there was one, and nothing of it failed."""
        if len(self._waiting) < self.batching.most:
            self._waiting += self.reader.read()
        batch = self._waiting[: self._most or self.batching.most]
        if not batch:
            return False
        sequences = [_sequence(record) for record in batch]
        answer = self.function.invoke({"Records": batch})
        failed = failed_of(answer, sequences)
        done = next((place for place, sequence in enumerate(sequences) if sequence in failed), len(batch))
        self._most = max(1, len(batch) // 2) if answer.error is not None else 0
        del self._waiting[:done]
        times = self._count(sequences[done]) if failed else 1
        self.told(Invocation(0, len(batch), len(batch) - done, times, answer.error, answer.seconds))
        return not failed

    def _count(self, sequence: str) -> int:
        """Return how often *sequence* has failed in front of a batch by now, and give it up in the end."""
        times = self._front[1] + 1 if self._front[0] == sequence else 1
        self._front = (sequence, times)
        if times == self.attempts:
            self.given_up.append(sequence)
            del self._waiting[0]
            self._front, self._most = ("", 0), 0
        return times


def _sequence(record: Record) -> str:
    return str(record["dynamodb"]["SequenceNumber"])
