"""The status of runs: a run is merged when every shard has merged its portion."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from chroma_lifecycle.errors import NoTime
from chroma_lifecycle.intake.changes import Change, MergeDelta
from chroma_lifecycle.planning.facts import RunFact
from chroma_lifecycle.planning.join import Joined
from chroma_lifecycle.planning.ledger import RunKey


def joined_of_all(changes: Iterable[Change], ends: Collection[tuple[Sequence[Change], Joined | None]]) -> Joined:
    """Return what became of the runs among *changes* in all shards together, to be told to the table.

    Args:
        changes: Of one collection, as they came.
        ends: For each shard that was concerned, its changes, and what became of them; ``None`` if its
            cycle failed.
    """
    told = Joined()
    by_runs = [
        ({_run_of(each) for each in portion if isinstance(each, MergeDelta)}, joined) for portion, joined in ends
    ]
    for change in changes:
        if isinstance(change, MergeDelta):
            _tell(told, change, [joined for runs, joined in by_runs if _run_of(change) in runs])
    return told


def _run_of(change: MergeDelta) -> RunKey:
    return change.origin.item, change.address


def _tell(told: Joined, change: MergeDelta, concerned: Sequence[Joined | None]) -> None:
    """Note that the run of *change* is merged, or why not; nothing if some shard has yet to say so."""
    run = _run_of(change)
    known = [joined for joined in concerned if joined is not None]
    if len(known) < len(concerned):
        return
    problems = [joined.problems.get(change.origin.source) for joined in known]
    if any(isinstance(problem, NoTime) for problem in problems):
        return
    if unmerged := next((joined.unmerged[run] for joined in known if run in joined.unmerged), None):
        told.unmerged[run] = unmerged
    elif all(run in joined.merged for joined in known):
        told.merged[run] = _sum([joined.merged[run] for joined in known])


def _sum(portions: Sequence[RunFact]) -> RunFact:
    return replace(portions[0], records=sum(portion.records for portion in portions))
