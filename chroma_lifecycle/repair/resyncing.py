"""In step with the table again: what a scan of it says is compared with what is published, and mended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from chroma_lifecycle.batch.deltas import BatchDeltas
from chroma_lifecycle.batch.portion import Portion
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.cycle import Surroundings
from chroma_lifecycle.errors import BadInput, LifecycleError, Retryable
from chroma_lifecycle.intake.changes import Change
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.meaning import differences
from chroma_lifecycle.intake.remembered import recall
from chroma_lifecycle.intake.scanned import TableScan
from chroma_lifecycle.intake.sharded import ShardMapping
from chroma_lifecycle.planning.facts import RunFact
from chroma_lifecycle.planning.join import Joined
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.planner import Planned, plan
from chroma_lifecycle.planning.reading import Compared, Differences, Reading, compare
from chroma_lifecycle.planning.remapping import remap, require_remappable
from chroma_lifecycle.planning.withheld import begun
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.shard import whole_of
from chroma_lifecycle.repair.mending import Mending
from chroma_lifecycle.report import CollectionReport
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Digest, ItemKey, Scalar, Version


@dataclass(frozen=True, slots=True)
class Resynced:
    """What a resync found, and what came of it.

    Attributes:
        items: How many items of the table were read.
        taken: How many of them a rule takes.
        differences: What was not as the table says.
        mapping: How the mapping differs from the one that was in force, a line for each change; none if it is the same.
        unread: Runs whose deltas cannot be read any more, of records with keys that no rule sets any longer: those
            keys are gone.
        report: Of the version that mends it, or that would.
        problems: Why runs could not be merged, or their items not be told.
    """

    items: int
    taken: int
    differences: Differences
    mapping: tuple[str, ...]
    unread: tuple[ItemKey, ...]
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

    Under another mapping than the one in force every field fact is made anew, and the new one is in force then.

    Args:
        backfill: Whether runs that were never merged are older than all that is published.
        dry_run: Say only what differs.
        progress: Told how many items were read so far.

    Raises:
        BadInput: The table holds no item of the mapping, or has other keys; or the records cannot be brought
            to another mapping.
        Retryable: The mapping is another one, and somebody published under the old one meanwhile.
        LifecycleError: As a cycle; nothing was published, or (OutcomeUnknown) nobody can say.
    """
    # What stands in the way is told before a long scan.
    looking = _Resyncing(around, workspace, collection, deadline or Deadline())
    reading = Reading(around.mapping, collection, looking.look().number)
    for page in scan.pages():
        reading.take(page)
        progress(reading.items)
    if not looking.is_only_begun:
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
    return Resynced(
        reading.items,
        reading.taken,
        cycle.compared.differences,
        cycle.mapping_differences(),
        tuple(cycle.unread),
        end.report,
        problems,
    )


class _Resyncing(Mending):
    """A cycle of which the facts come from the table itself.

    Attributes:
        reading: Of the table; the same for every attempt, since it tells its own time.
        compared: What came of it in the last attempt.
        is_changed: Whether another mapping is in force.
        is_only_begun: Whether another mapping is in force and no fact was ever made under it.
        old: The mapping in force, if it is another one and facts were made under it.
        unread: Runs whose deltas should have been read again, and cannot be.
    """

    action = "resync"
    reading: Reading
    backfill: bool
    compared: Compared
    is_changed = False
    is_only_begun = False
    old: TableMapping | None = None

    def look(self) -> Version:
        """Return the newest version; refuse one that cannot be brought to the mapping."""
        local = self._workspace.pristine.version()
        published = read_published(self._around.store, self._collection, local=local)
        return self._restore(published).manifest.version

    def mapping_differences(self) -> tuple[str, ...]:
        """Return how the mapping differs from the one in force, a line for each change."""
        new = self._around.mapping
        if self.old is not None:
            return tuple(differences(self.old.meaning, new.meaning))
        return (f"it is {new.digest[:12]}, and nothing was noted of the other",) if self.is_changed else ()

    def _check_mapping(self, published: Published) -> None:
        known, mapping = published.manifest.details.mapping, self._around.mapping
        self.old, self.is_changed, self.is_only_begun = None, known not in (None, mapping.digest), False
        if known is None or not self.is_changed:
            return
        with self._ledger() as ledger:
            if (meaning := ledger.mappings.meaning_of(known)) is not None:
                self.old = recall(meaning, known)
                if isinstance(mapping, ShardMapping):
                    self.old = mapping.as_it_sees(self.old, whole_of(published.collection) or published.collection)
                require_remappable(ledger, self.old, mapping, published.collection)
                return
            self.is_only_begun = ledger.origins() <= {"adopted"}
        if not self.is_only_begun:
            raise _unknown(published, known)

    def _plan(self, portion: Portion, deltas: BatchDeltas) -> tuple[Joined, Planned]:
        del portion  # it is empty
        mapping, old, self.unread = self._around.mapping, self.old, list[ItemKey]()
        with self._ledger() as ledger:
            self.compared = compare(ledger, self.reading, deltas.open, backfill=self.backfill, old=old)
            joined = self.compared.joined
            joined.anew = self.is_changed
            if old is None:
                return joined, plan(ledger, joined, mapping, self._collection)

            def read_metadata(run: RunFact, ids: Collection[str]) -> Mapping[str, Mapping[str, Scalar]] | None:
                return self._read_again(run, ids, old, deltas)

            return joined, remap(ledger, joined, old, mapping, self._collection, read_metadata)

    def _read_again(
        self, run: RunFact, ids: Collection[str], old: TableMapping, deltas: BatchDeltas
    ) -> dict[str, dict[str, Scalar]] | None:
        """Return what the delta of *run* says of some of its records; ``None`` if it is not there as it was."""
        try:
            delta = deltas.open(begun(run, old, self._collection))
        except LifecycleError as problem:
            if isinstance(problem, Retryable):
                raise
            delta = None
        if delta is None or delta.digest != run.digest:
            self.unread.append(run.item)
            return None
        rows = ((id_, said) for each in delta.batches() for id_, said in zip(each.ids, each.metadatas, strict=True))
        return {id_: said for id_, said in rows if id_ in ids}

    def _remember_mapping(self, ledger: Ledger) -> None:
        mapping = self._around.mapping
        ledger.mappings.remember(mapping.digest, mapping.meaning, as_of=self.reading.began if self.is_changed else 0)

    def _to_be_told(self, portion: Portion, joined: Joined) -> Iterable[Change]:
        del portion, joined  # the table says which of its items do not say so
        return self.compared.told


def _unknown(published: Published, known: Digest) -> BadInput:
    return BadInput(
        f"version {published.manifest.version.number} of {published.collection} was made under the mapping "
        f"{known[:12]}, and its ledger does not say what that is",
        hint="run a batch under that mapping first, or begin the collection anew with init",
    )
