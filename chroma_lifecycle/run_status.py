"""After a cycle: tell the table how its runs ended.

A run's message is done when its records are in a published version *and* its item says so: a
write of the status that fails sends the message back, and its redelivery, which moves nothing,
writes the status again. So does one that there was no time for: of a table that does not answer, each
write takes long, and what is published has to be answered for before the function ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import NoTime, StoreUnavailable
from chroma_lifecycle.intake.changes import Change, MergeDelta
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.logs import Log
from chroma_lifecycle.planning.join import Joined, Outcome
from chroma_lifecycle.publishing.status import RunStatus

log = Log(__name__)


def write_statuses(
    status: RunStatus,
    mapping: TableMapping,
    changes: Iterable[Change],
    joined: Joined,
    at: datetime,
    deadline: Deadline,
) -> None:
    """Write the status of every run among *changes* once; a message whose write failed becomes a failed one.

    Args:
        status: Writes into the table.
        mapping: Knows the attributes of the run items.
        changes: Of one collection, as they were joined.
        joined: What became of them; its outcomes are changed where a write fails.
        at: The time that is written for runs that were completed.
        deadline: When as much time as the longest write took is not left, no other is begun.
    """
    told, unwritten, longest_seconds = set(), list[StoreUnavailable | NoTime](), 0.0
    for change in changes:
        if isinstance(change, MergeDelta) and (run := (change.origin.item, change.address)) not in told:
            told.add(run)
            began = deadline.clock.monotonic()
            try:
                deadline.require(longest_seconds, "telling the table of another run")
                _write(status, mapping, change, joined, at)
            except (StoreUnavailable, NoTime) as problem:
                unwritten.append(problem)
                joined.outcomes[change.origin.source] = Outcome.FAILED
                joined.problems.setdefault(change.origin.source, problem)
            longest_seconds = max(longest_seconds, deadline.clock.monotonic() - began)
    if unwritten:  # one line, however many runs the table could not be told of
        log.warning("run status not written", runs=len(unwritten), why=unwritten[0].message)


def _write(status: RunStatus, mapping: TableMapping, change: MergeDelta, joined: Joined, at: datetime) -> None:
    origin, run = change.origin, (change.origin.item, change.address)
    target = mapping.rules[origin.rule].merges[origin.collection]
    if problem := joined.unmerged.get(run):
        status.failed(origin.item, target, change.address, str(problem))
    elif merged := joined.merged.get(run):
        status.completed(origin.item, target, change.address, merged.records, at)
