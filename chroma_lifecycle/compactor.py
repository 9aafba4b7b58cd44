"""A batch, end to end: which messages concern which collections, a cycle for each, and one report."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from chroma_lifecycle.batch.pace import Pace
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.cycle import ATTEMPTS, Cycle, Surroundings
from chroma_lifecycle.defects import defect, places
from chroma_lifecycle.errors import HeadMoved, LifecycleError, NoRoom, Sharded
from chroma_lifecycle.intake.changes import Change, Origin
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.envelopes import Batch, Kind, decode_event
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.logs import Log
from chroma_lifecycle.planning.join import Joined, Outcome
from chroma_lifecycle.publishing.shard import whole_of
from chroma_lifecycle.report import CollectionReport, Failure, LostCycle, Report
from chroma_lifecycle.run_status import write_statuses
from chroma_lifecycle.sharding.statuses import joined_of_all
from chroma_lifecycle.sharding.works import Shards, Work
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.telling import log_report
from chroma_lifecycle.upkeep import Site, rebase_when_due

log = Log(__name__)


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
        self._shards = Shards(around)

    def compact(
        self,
        event: object,
        deadline: Deadline | None = None,
        *,
        dry_run: bool = False,
        told: Callable[[Report], None] = log_report,
    ) -> Report:
        """Bring every change of *event* into a published version, or name its message as failed.

        Args:
            event: What Lambda received: an SQS batch, a stream batch, or a list of stream records.
            deadline: When the invocation ends; without one, never.
            dry_run: Read and plan only.
            told: Is given the report before this answers or raises; it must not raise itself.

        Raises:
            BadInput: It is no event that this knows.
            LifecycleError: No collection that is concerned could be compacted: nothing is answered for.
        """
        with uncollected():
            return self._compact(event, deadline or Deadline(), dry_run=dry_run, told=told)

    def _compact(self, event: object, deadline: Deadline, *, dry_run: bool, told: Callable[[Report], None]) -> Report:
        routed = route(decode_event(event, self._around.mapping), self._around.mapping)
        ends = _Ends(routed)
        # The least first: what has little to do does not wait for what has much, or get no time behind it.
        for collection, changes in sorted(routed.changes.items(), key=lambda each: (len(each[1]), each[0])):
            self._run_collection(collection, changes, deadline, ends, dry_run=dry_run)
        report = ends.report()
        # When every collection has its version: what time is left for.
        report = replace(report, collections=tuple(self._keep_up(each, deadline) for each in report.collections))
        told(report)
        ends.require_answer()
        if any(each.published for each in report.collections):
            set_aside()
        return report

    def _run_collection(
        self, collection: str, changes: Sequence[Change], deadline: Deadline, ends: _Ends, *, dry_run: bool
    ) -> None:
        """Run what *changes* ask of a collection, in one piece or in shards: the store says which it is.

        Mostly it is what it was, so that a collection in one piece costs no look at a layout.
        """
        if not self._shards.expects(collection):
            try:
                work = Work(collection, self._around, changes)
                self._run(work, deadline, ends, dry_run=dry_run, or_shards=True)
            except Sharded:
                self._shards.expect(collection)
            else:
                return
        self._run_shards(collection, changes, deadline, ends, dry_run=dry_run)

    def _run(
        self, work: Work, deadline: Deadline, ends: _Ends, *, dry_run: bool, or_shards: bool = False
    ) -> Joined | None:
        """Run the cycle of one lineage; return what became of its changes, or ``None`` if it failed.

        Raises:
            Sharded: With *or_shards*: there is a layout in its place, and nothing was done.
        """
        lag = partial(self._lag_seconds, work.changes)
        try:
            cycle = Cycle(work.around, self._workspace(work.name), work.name, deadline, self._pace(work.name))
            end = cycle.run(work.changes, dry_run=dry_run)
        except NoRoom as problem:
            if self._give_up_a_shard(besides=work.name):
                return self._run(work, deadline, ends, dry_run=dry_run, or_shards=or_shards)
            ends.lost(work.name, work.changes, problem, lag())
        except Exception as problem:  # a defect of ours is the loss of one collection
            if or_shards and isinstance(problem, Sharded):
                raise
            ends.lost(work.name, work.changes, _told(work.name, problem), lag())
        else:
            ends.ended(work.name, end.joined.outcomes, end.joined.problems, replace(end.report, lag_seconds=lag()))
            return end.joined
        return None

    def _run_shards(
        self, collection: str, changes: Sequence[Change], deadline: Deadline, ends: _Ends, *, dry_run: bool
    ) -> None:
        """Run a cycle of each shard that *changes* concern; then tell the table of the runs that all have merged.

        Where the mapping says shards and the collection is in one piece still, it is one cycle.
        """
        try:
            works = self._shards.works(collection, changes)
        except Exception as problem:  # noqa: BLE001  likewise
            ends.lost(collection, changes, _told(collection, problem), self._lag_seconds(changes))
            return
        if works is None:
            self._run(Work(collection, self._around, changes), deadline, ends, dry_run=dry_run)
            return
        joined = joined_of_all(
            changes, [(work.changes, self._run(work, deadline, ends, dry_run=dry_run)) for work in works]
        )
        if not dry_run:
            self._tell_of_shards(collection, changes, joined, deadline, ends)

    def _tell_of_shards(
        self, collection: str, changes: Sequence[Change], joined: Joined, deadline: Deadline, ends: _Ends
    ) -> None:
        """Tell the mirror which shards there are, and the table which runs all of them have merged."""
        around = self._around
        try:
            self._shards.mirror(collection)
            if around.status is not None:
                write_statuses(around.status, around.mapping, changes, joined, around.clock.now(), deadline)
        except Exception as problem:  # noqa: BLE001  what is published stays; all come again, and move nothing
            ends.untold(collection, dict.fromkeys((each.origin.source for each in changes), _told(collection, problem)))
        else:
            ends.untold(collection, joined.problems)

    def _give_up_a_shard(self, *, besides: str) -> bool:
        """Remove the local copy of a shard, the one longest unused; return whether there was one.

        A shard is small enough for this disk, and all of them need not be. What a collection was before it was cut
        into shards, nobody needs.
        """
        opened = [name for name in self._workspaces if self._is_spare(name)]
        found = {path.name for path in self._root.iterdir() if self._is_spare(path.name)}
        for name in [*sorted(found.difference(opened)), *opened]:
            if name != besides and self._discard(name):
                log.info("gave up a local copy for its room", collection=name)
                return True
        return False

    def _is_spare(self, name: str) -> bool:
        collections = self._around.mapping.collections
        if name in collections:
            return self._shards.are_in_force(name)
        return whole_of(name) in collections

    def _discard(self, name: str) -> bool:
        """Remove a workspace; return ``False`` if another process has it, it holds nothing, or the disk refuses.

        Even owning one writes its lock, for which a full disk may lack the room.
        """
        try:
            held = self._workspace(name).pristine.version() is not None
            self._workspaces.pop(name).discard()
        except LifecycleError as problem:
            log.info("a local copy stays", collection=name, why=problem.message)
            return False
        return held

    def _keep_up(self, report: CollectionReport, deadline: Deadline) -> CollectionReport:
        def site() -> Site:
            around, workspace = self._around, self._workspace(report.collection)
            return Site(report.collection, around.store, around.mirror, workspace, around.clock, around.writer)

        return rebase_when_due(site, report, deadline, reserve_seconds=self._pace(report.collection).reserve_seconds)

    def _lag_seconds(self, changes: Sequence[Change]) -> float:
        """Return how old the oldest of *changes* is; never below 0, since clocks differ."""
        oldest = min(change.origin.position.created_seconds for change in changes)
        return max(0.0, round(self._around.clock.now().timestamp() - oldest, 1))

    def close(self) -> None:
        """Give the workspaces up, each whatever becomes of the others."""
        with ExitStack() as closing:
            while self._workspaces:
                closing.callback(self._workspaces.popitem()[1].close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pace(self, collection: str) -> Pace:
        return self._paces.setdefault(collection, Pace(self._around.reserve_seconds))

    def _workspace(self, collection: str) -> Workspace:
        known = self._workspaces.pop(collection, None) or Workspace.open(
            self._root / collection, clock=self._around.clock
        )
        self._workspaces[collection] = known  # the last one: used last
        return known


def _told(collection: str, problem: Exception) -> LifecycleError:
    """Return what messages fail with: *problem*, or a defect in its place, and where it showed itself in the log."""
    if isinstance(problem, LifecycleError):
        return problem
    told = defect(problem)
    log.error("a defect ended a cycle", collection=collection, why=told.message, places=places(problem))
    return told


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking, while a batch is worked on, through what the batch makes.

    It would do so some forty times for 1,000 messages, and nearly all of it is there to stay until the end.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@cache
def set_aside() -> None:
    """Take what is loaded out of the garbage collector's sight, once in a process.

    It is there to stay. A batch makes enough objects for the collector to look through all of them,
    chromadb's too, and that takes as long as a small cycle.
    """
    gc.collect()
    gc.freeze()


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
        self._lost: list[LostCycle] = []

    def ended(
        self,
        collection: str,
        outcomes: Mapping[str, Outcome],
        problems: Mapping[str, LifecycleError],
        report: CollectionReport,
    ) -> None:
        self._reports.append(report)
        self._failures += [self._failure(source, collection, problem) for source, problem in problems.items()]
        for source, outcome in outcomes.items():
            before = self._outcomes.get(source)
            self._outcomes[source] = outcome if before is None else _worse(before, outcome)

    def lost(self, collection: str, changes: Sequence[Change], problem: LifecycleError, lag: float) -> None:
        """A whole cycle failed: every message of it comes again."""
        sources = dict.fromkeys(change.origin.source for change in changes)
        swaps_lost = ATTEMPTS if isinstance(problem, HeadMoved) else 0
        self._lost.append(LostCycle(collection, len(sources), problem, swaps_lost, lag))
        for source in sources:
            self._failures.append(self._failure(source, collection, problem))
            self._outcomes[source] = Outcome.FAILED

    def untold(self, collection: str, problems: Mapping[str, LifecycleError]) -> None:
        """The table could not be told of some runs: their messages come again."""
        for source, problem in problems.items():
            self._failures.append(self._failure(source, collection, problem))
            self._outcomes[source] = Outcome.FAILED

    def _failure(self, source: str, collection: str, problem: LifecycleError) -> Failure:
        origin = self._origins[source]
        return Failure(source, collection, problem, origin.rule, origin.item)

    @cached_property
    def _origins(self) -> Mapping[str, Origin]:
        """Where each message comes from; looked for when the first one fails."""
        changes = chain.from_iterable(self._routed.changes.values())
        return {change.origin.source: change.origin for change in changes}

    def require_answer(self) -> None:
        """Refuse to answer for a batch of which no cycle came to an end.

        Raises:
            LifecycleError: Every cycle failed. To answer would tell the queue to forget what
                other messages asked for.
        """
        if self._lost and not self._reports:
            raise self._lost[0].error

    def report(self) -> Report:
        """Return what became of every message."""
        ignored = sum(1 for source in self._routed.sources if source not in self._outcomes)
        ordered = {source: self._outcomes[source] for source in self._routed.sources if source in self._outcomes}
        return Report(
            self._routed.kind,
            len(self._routed.sources),
            ordered,
            ignored,
            tuple(self._failures),
            tuple(self._reports),
            tuple(self._lost),
        )


def _worse(one: Outcome, other: Outcome) -> Outcome:
    """Return what a message came to, of what it came to in two collections."""
    return next(each for each in (Outcome.FAILED, Outcome.APPLIED, Outcome.NO_OP) if each in (one, other))
