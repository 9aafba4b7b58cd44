"""What a compaction did, as values: the one source of the log line, the metrics, the output and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.envelopes import Kind
from chroma_lifecycle.planning.join import Outcome
from chroma_lifecycle.publishing.mirror import MirrorOutcome
from chroma_lifecycle.values import ItemKey


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that failed.

    Attributes:
        source: What the queue or stream wants back.
        collection: Where it failed; ``None`` if before it was known whom it concerns.
        error: Why; its text holds no content of records.
        rule: The mapping's rule that took its item; ``None`` if none did.
        item: Key of the item that it is about, likewise.
    """

    source: str
    collection: str | None
    error: LifecycleError
    rule: str | None = None
    item: ItemKey | None = None

    @property
    def subject(self) -> str:
        """Rule and item in words; empty if they are not known."""
        return f"rule {self.rule}, item {' / '.join(filter(None, self.item))}" if self.item else ""


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """One cycle of one collection.

    Attributes:
        version: The newest version when the cycle ended.
        published: Whether this cycle published it.
        attempts: How often the changes were planned: one more for each lost swap.
        outcomes: How many messages came to each outcome here.
        records: How many records the plan ``added``, ``changed`` and ``removed``.
        bytes_written: How many bytes of content the version that was published brought to the store.
        mirror: What became of the mirror, if there is one.
        rebase: What became of the new base that was due, in words; "none" while none is due.
        mirror_behind: Whether the mirror lacks what was published; ``None`` if it was not looked at.
        lag_seconds: How old the oldest change was when the cycle ended.
        tail: Vector operations that every reader of the version replays.
        withheld: Facts that a rollback withholds.
        seconds: Seconds by phase of the cycle.
    """

    collection: str
    version: int
    published: bool
    attempts: int
    outcomes: Mapping[str, int]
    records: Mapping[str, int] = field(default_factory=dict)
    bytes_written: int = 0
    mirror: MirrorOutcome | None = None
    rebase: str = "none"
    mirror_behind: bool | None = None
    lag_seconds: float = 0.0
    tail: int = 0
    withheld: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LostCycle:
    """A cycle that failed as a whole: every message of it comes again.

    Attributes:
        messages: How many.
        swaps_lost: How often another writer was first.
        lag_seconds: How old the oldest change is.
    """

    collection: str
    messages: int
    error: LifecycleError
    swaps_lost: int = 0
    lag_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """One batch; ``applied + no_op + failed + ignored == received``, in messages.

    Attributes:
        kind: What the event was: of a queue, of a stream, or a direct call.
        outcomes: Of every message that was not ignored, by its source, in order of arrival.
        lost: The cycles that failed as a whole.
    """

    kind: Kind
    received: int
    outcomes: Mapping[str, str]
    ignored: int
    failures: tuple[Failure, ...] = ()
    collections: tuple[CollectionReport, ...] = ()
    lost: tuple[LostCycle, ...] = ()

    @property
    def applied(self) -> int:
        return self._count(Outcome.APPLIED)

    @property
    def no_op(self) -> int:
        return self._count(Outcome.NO_OP)

    @property
    def failed(self) -> int:
        return self._count(Outcome.FAILED)

    def failed_sources(self) -> tuple[str, ...]:
        """Return what the queue or stream is to send again, each once, in order of arrival."""
        return tuple(source for source, outcome in self.outcomes.items() if outcome == Outcome.FAILED)

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "kind": str(self.kind),
            "received": self.received,
            "applied": self.applied,
            "no_op": self.no_op,
            "ignored": self.ignored,
            "failed": self.failed,
            "failures": [
                {
                    "source": failure.source,
                    "collection": failure.collection,
                    "rule": failure.rule,
                    "item": failure.item and failure.item._asdict(),
                    "kind": type(failure.error).__name__,
                    "error": failure.error.message,
                    "hint": failure.error.hint,
                }
                for failure in self.failures
            ],
            "collections": [_as_json(each) for each in self.collections],
        }

    def _count(self, outcome: Outcome) -> int:
        return sum(1 for each in self.outcomes.values() if each == outcome)


def _as_json(cycle: CollectionReport) -> dict[str, Any]:
    return {**asdict(cycle), "mirror": cycle.mirror.as_json() if cycle.mirror else None}
