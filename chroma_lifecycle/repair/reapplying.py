"""Going forward again after a rollback: what is withheld counts again."""

from __future__ import annotations

from collections.abc import Iterable

from chroma_lifecycle.batch.deltas import BatchDeltas
from chroma_lifecycle.batch.portion import Portion
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.cycle import Surroundings
from chroma_lifecycle.intake.changes import Change
from chroma_lifecycle.planning import withheld
from chroma_lifecycle.planning.join import Joined
from chroma_lifecycle.planning.planner import Planned, plan
from chroma_lifecycle.repair.mending import Mending
from chroma_lifecycle.report import CollectionReport
from chroma_lifecycle.snapshot.workspace import Workspace


def reapply(
    around: Surroundings,
    workspace: Workspace,
    collection: str,
    *,
    deadline: Deadline | None = None,
    dry_run: bool = False,
) -> CollectionReport:
    """Publish a version in which every withheld fact of *collection* counts again.

    The records are then those of all changes received, whatever came after the rollback, and the table is told
    of the runs among them. With nothing withheld nothing is published. A run whose item could not be told is an
    outcome ``failed`` of the report; a resync tells it.

    Raises:
        BadInput: The delta of a withheld run cannot be read any more (each is named), or the mapping is
            not the one that the facts were made under.
        LifecycleError: As a cycle; nothing was published, or (OutcomeUnknown) nobody can say.
    """
    return _Reapplying(around, workspace, collection, deadline or Deadline()).run([], dry_run=dry_run).report


class _Reapplying(Mending):
    """A cycle of which the facts come from the ledger itself."""

    action = "reapply"

    def _plan(self, portion: Portion, deltas: BatchDeltas) -> tuple[Joined, Planned]:
        del portion  # it is empty
        mapping, collection = self._around.mapping, self._collection
        with self._ledger() as ledger:
            joined = withheld.reapply(ledger, mapping, collection, deltas.open)
            return joined, plan(ledger, joined, mapping, collection)

    def _to_be_told(self, portion: Portion, joined: Joined) -> Iterable[Change]:
        # A message that comes while its run is withheld writes no status, and nobody sends it again.
        del portion
        return [withheld.begun(run, self._around.mapping, self._collection) for run in joined.runs.values()]
