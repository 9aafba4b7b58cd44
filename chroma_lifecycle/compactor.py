"""A batch, end to end: which messages concern which collections, a cycle for each, and one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from chroma_lifecycle.batch.pace import Pace
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.cycle import Cycle, Surroundings
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.changes import Change
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.envelopes import Batch, Kind, decode_event
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.join import Outcome
from chroma_lifecycle.report import CollectionReport, Failure, Report
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site, rebase_when_due

log = structlog.get_logger(__name__)


class Compactor:
    """Compacts batch after batch; it owns the workspaces until it is closed.

    Args:
        around: What every cycle needs.
        workspaces: Directory below which each collection has its workspace.
    """

    def __init__(self, around: Surroundings, workspaces: Path) -> None:
        self._around = around
        self._root = workspaces
        self._workspaces: dict[str, Workspace] = {}
        self._paces: dict[str, Pace] = {}

    def compact(self, event: object, deadline: Deadline | None = None, *, dry_run: bool = False) -> Report:
        """Bring every change of *event* into a published version, or name its message as failed.

        Args:
            event: What Lambda received: an SQS batch, a stream batch, or a list of stream records.
            deadline: When the invocation ends; without one, never.
            dry_run: Read and plan only.

        Raises:
            BadInput: It is no event that this knows.
            LifecycleError: No collection that is concerned could be compacted: nothing is answered for.
        """
        routed, deadline = (
            route(decode_event(event, self._around.mapping), self._around.mapping),
            deadline or Deadline(),
        )
        ends = _Ends(routed)
        for collection, changes in sorted(routed.changes.items()):
            try:
                workspace, pace = self._workspace(collection), self._pace(collection)
                cycle = Cycle(self._around, workspace, collection, deadline, pace)
                end = cycle.run(changes, dry_run=dry_run)
            except LifecycleError as problem:
                ends.lost(collection, changes, problem)
            else:
                ends.ended(collection, end.joined.outcomes, end.joined.problems, end.report)
        report = ends.report()
        # When every collection has its version: what time is left for.
        report = replace(report, collections=tuple(self._keep_up(each, deadline) for each in report.collections))
        _log(report)
        return report

    def _keep_up(self, report: CollectionReport, deadline: Deadline) -> CollectionReport:
        around, workspace = self._around, self._workspace(report.collection)
        site = Site(report.collection, around.store, around.mirror, workspace, around.clock, around.writer)
        return rebase_when_due(site, report, deadline, reserve_seconds=self._pace(report.collection).reserve_seconds)

    def close(self) -> None:
        """Give the workspaces up."""
        while self._workspaces:
            self._workspaces.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pace(self, collection: str) -> Pace:
        return self._paces.setdefault(collection, Pace(self._around.reserve_seconds))

    def _workspace(self, collection: str) -> Workspace:
        if collection not in self._workspaces:
            self._workspaces[collection] = Workspace.open(self._root / collection, clock=self._around.clock)
        return self._workspaces[collection]


@dataclass(frozen=True, slots=True)
class Routed:
    """A decoded batch.

    Attributes:
        kind: What the event was.
        sources: What the queue or stream calls each message, in order of arrival.
        changes: By collection.
        failures: Messages that cannot be read.
    """

    kind: Kind
    sources: tuple[str, ...]
    changes: Mapping[str, Sequence[Change]]
    failures: tuple[Failure, ...]


def route(batch: Batch, mapping: TableMapping) -> Routed:
    """Return the changes of *batch* by collection; a message that cannot be read fails alone."""
    changes: dict[str, list[Change]] = {}
    failures = []
    for received in batch.received:
        try:
            if isinstance(received.record, LifecycleError):
                raise received.record
            for change in changes_of(received.record, mapping):
                changes.setdefault(change.origin.collection, []).append(change)
        except LifecycleError as problem:
            failures.append(Failure(received.source, None, problem))
    # A queue can hand out a message twice in one batch; it is answered for once.
    sources = tuple(dict.fromkeys(received.source for received in batch.received))
    return Routed(batch.kind, sources, changes, tuple(failures))


class _Ends:
    """How the messages ended: failed if any collection says so, applied if any moved a fact for them."""

    def __init__(self, routed: Routed) -> None:
        self._routed = routed
        self._failures = list(routed.failures)
        self._outcomes: dict[str, Outcome] = {failure.source: Outcome.FAILED for failure in routed.failures}
        self._reports: list[CollectionReport] = []
        self._infrastructure: list[LifecycleError] = []

    def ended(
        self,
        collection: str,
        outcomes: Mapping[str, Outcome],
        problems: Mapping[str, LifecycleError],
        report: CollectionReport,
    ) -> None:
        self._reports.append(report)
        self._failures += [Failure(source, collection, problem) for source, problem in problems.items()]
        for source, outcome in outcomes.items():
            self._outcomes[source] = _worse(self._outcomes.get(source, Outcome.NO_OP), outcome)

    def lost(self, collection: str, changes: Sequence[Change], problem: LifecycleError) -> None:
        """A whole cycle failed: every message of it comes again."""
        self._infrastructure.append(problem)
        for source in dict.fromkeys(change.origin.source for change in changes):
            self._failures.append(Failure(source, collection, problem))
            self._outcomes[source] = Outcome.FAILED

    def report(self) -> Report:
        """Return what became of every message.

        Raises:
            LifecycleError: Every cycle failed. To answer would tell the queue to forget what
                other messages asked for.
        """
        if self._infrastructure and not self._reports:
            raise self._infrastructure[0]
        ignored = sum(1 for source in self._routed.sources if source not in self._outcomes)
        ordered = {source: self._outcomes[source] for source in self._routed.sources if source in self._outcomes}
        return Report(
            self._routed.kind, len(self._routed.sources), ordered, ignored, tuple(self._failures), tuple(self._reports)
        )


def _worse(one: Outcome, other: Outcome) -> Outcome:
    """Return what a message came to, of what it came to in two collections."""
    return next(each for each in (Outcome.FAILED, Outcome.APPLIED, Outcome.NO_OP) if each in (one, other))


def _log(report: Report) -> None:
    log.info(
        "batch",
        received=report.received,
        applied=report.applied,
        no_op=report.no_op,
        ignored=report.ignored,
        failed=report.failed,
        collections={each.collection: each.version for each in report.collections},
    )
    for failure in report.failures:
        log.warning(
            "message failed",
            source=failure.source,
            collection=failure.collection,
            kind=type(failure.error).__name__,
            error=failure.error.message,
            hint=failure.error.hint,
        )
