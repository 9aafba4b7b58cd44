"""In step with the table again: what a scan of it says is compared with what is published, and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chroma_lifecycle.batch.deltas import BatchDeltas
from chroma_lifecycle.batch.portion import Portion
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.cycle import Surroundings
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.changes import Change
from chroma_lifecycle.intake.scanned import TableScan
from chroma_lifecycle.planning.join import Joined
from chroma_lifecycle.planning.planner import Planned, plan
from chroma_lifecycle.planning.reading import Compared, Differences, Reading, compare
from chroma_lifecycle.repair.mending import Mending
from chroma_lifecycle.report import CollectionReport
from chroma_lifecycle.snapshot.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Resynced:
    """What a resync found, and what came of it.

    Attributes:
        items: How many items of the table were read.
        taken: How many of them a rule takes.
        differences: What was not as the table says.
        report: Of the version that mends it, or that would.
        problems: Why runs could not be merged, or their items not be told.
    """

    items: int
    taken: int
    differences: Differences
    report: CollectionReport
    problems: tuple[LifecycleError, ...]


def resync(
    around: Surroundings,
    workspace: Workspace,
    collection: str,
    scan: TableScan,
    *,
    backfill: bool = False,
    deadline: Deadline | None = None,
    dry_run: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> Resynced:
    """Compare *collection* with the table, and publish what brings it in step.

    Args:
        backfill: Whether runs that were never merged are older than all that is published.
        dry_run: Say only what differs.
        progress: Told how many items were read so far.

    Raises:
        BadInput: The table holds no item of the mapping, or has other keys.
        LifecycleError: As a cycle; nothing was published, or (OutcomeUnknown) nobody can say.
    """
    reading = Reading(around.mapping, collection)
    for page in scan.pages():
        reading.take(page)
        progress(reading.items)
    reading.require_any()
    return mend(around, workspace, reading, backfill=backfill, deadline=deadline, dry_run=dry_run)


def mend(
    around: Surroundings,
    workspace: Workspace,
    reading: Reading,
    *,
    backfill: bool = False,
    deadline: Deadline | None = None,
    dry_run: bool = True,
) -> Resynced:
    """Compare a collection with what was read of the table, and publish what brings it in step; see :func:`resync`."""
    cycle = _Resyncing(around, workspace, reading.collection, deadline or Deadline())
    cycle.reading, cycle.backfill = reading, backfill
    end = cycle.run([], dry_run=dry_run)
    problems = tuple(end.joined.problems.values())
    return Resynced(reading.items, reading.taken, cycle.compared.differences, end.report, problems)


class _Resyncing(Mending):
    """A cycle of which the facts come from the table itself.

    Attributes:
        reading: Of the table; the same for every attempt, since it tells its own time.
        compared: What came of it in the last attempt.
    """

    action = "resync"
    reading: Reading
    backfill: bool
    compared: Compared

    def _plan(self, portion: Portion, deltas: BatchDeltas) -> tuple[Joined, Planned]:
        del portion  # it is empty
        with self._ledger() as ledger:
            self.compared = compare(ledger, self.reading, deltas.open, backfill=self.backfill)
            joined = self.compared.joined
            return joined, plan(ledger, joined, self._around.mapping, self._collection)

    def _to_be_told(self, portion: Portion, joined: Joined) -> Iterable[Change]:
        del portion, joined  # the table says which of its items do not say so
        return self.compared.told
