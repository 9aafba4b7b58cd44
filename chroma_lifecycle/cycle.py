"""The cycle: how the changes of one batch become a published version of one collection.

Read :meth:`Cycle._attempt`: its numbered steps are the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from pathlib import Path

from chroma_lifecycle.batch.deltas import BatchDeltas
from chroma_lifecycle.batch.isolation import Refused, isolate, refusals
from chroma_lifecycle.batch.pace import Pace
from chroma_lifecycle.batch.phases import Phases, Trace, untraced
from chroma_lifecycle.batch.portion import Portion
from chroma_lifecycle.batch.summary import details_of, record_counts
from chroma_lifecycle.clock import Clock, Deadline, jitter, wait_until
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, LifecycleError
from chroma_lifecycle.intake.changes import Change
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.meaning import differences
from chroma_lifecycle.logs import Log
from chroma_lifecycle.planning.join import Joined, join
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.planning.planner import Planned, plan
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.mirror import MirrorOutcome, MirrorState, update_mirror
from chroma_lifecycle.publishing.publish import publish
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.publishing.status import RunStatus
from chroma_lifecycle.publishing.transfer import meanwhile
from chroma_lifecycle.report import CollectionReport
from chroma_lifecycle.run_status import write_statuses
from chroma_lifecycle.snapshot.details import Details
from chroma_lifecycle.snapshot.disk import disk_errors
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.pristine import LocalVersion
from chroma_lifecycle.snapshot.sealed import SealedSnapshot, seal
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Version

log = Log(__name__)

ATTEMPTS = 8
"""How often the same changes are planned when other writers keep moving HEAD."""

FULL_CHECK_VERSIONS = 50
"""Every so many versions every page is checked, and not only what the light checks look at."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every cycle needs beside its changes.

    Attributes:
        mirror: Receives what was published, if there is one.
        deltas: Where deltas may lie.
        status: Tells the table how runs ended, if there is one to be told.
        reserve_seconds: What must be left of an invocation when Chroma is opened.
        tail_budget: Vector operations that a reader may have to replay.
        writer: Who publishes, for people.
        lineage: What HEAD must be of, if a layout says so.
        trace: Surrounds each phase of a cycle.
    """

    mapping: TableMapping
    store: Store
    mirror: Store | None
    deltas: RootedDeltas
    status: RunStatus | None
    clock: Clock
    reserve_seconds: float
    tail_budget: int
    writer: str
    trace: Trace = untraced
    lineage: str | None = None


@dataclass(frozen=True, slots=True)
class CycleEnd:
    """How a cycle ended.

    Attributes:
        joined: What moved, and what became of each message.
        report: The same in numbers.
    """

    joined: Joined
    report: CollectionReport


class Cycle:
    """One collection, one batch.

    Attributes:
        action: What `log` calls the version that it makes.
    """

    action = "compact"

    def __init__(
        self, around: Surroundings, workspace: Workspace, collection: str, deadline: Deadline, pace: Pace | None = None
    ) -> None:
        self._around = around
        self._pace = pace or Pace(around.reserve_seconds)
        self._workspace = workspace
        self._collection = collection
        self._deadline = deadline
        self._phases = Phases(around.clock, around.trace, collection)
        self._missed: list[str] = []
        self._was_damaged = False

    def run(self, changes: Sequence[Change], *, dry_run: bool = False) -> CycleEnd:
        """Apply *changes* and publish what they move; begin again when another writer was first.

        Raises:
            HeadMoved: Others were first each time.
            LifecycleError: Nothing was published, or (OutcomeUnknown) nobody can say.
        """
        portion = Portion(changes)
        for attempt in count(1):
            began = self._around.clock.monotonic()
            try:
                with disk_errors(self._workspace.root):  # what no step has expected of the disk
                    return self._attempt(portion, attempt, dry_run=dry_run)
            except HeadMoved as lost:
                log.info("swap lost", collection=self._collection, attempt=attempt, why=lost.message)
                if attempt == ATTEMPTS:
                    raise
                with self._phase("give_way"):
                    self._give_way(attempt, self._around.clock.monotonic() - began)
            except Refused as refusal:
                if self._is_damaged(refusal.problem):
                    continue
                if attempt == ATTEMPTS:
                    raise refusal.problem from refusal
                with self._phase("isolate"):
                    self._isolate(portion, refusal.problem)
            except Exception as problem:
                if not self._is_damaged(problem):
                    raise
        raise AssertionError("counting has no end")

    def _is_damaged(self, problem: Exception) -> bool:
        """Return whether it is the local copy that *problem* came of: then the next attempt restores it whole.

        It is read through once in a cycle, and only after what no sound copy explains.
        """
        known = isinstance(problem, LifecycleError) and not isinstance(problem, Corrupt)
        if known or self._was_damaged:
            return False
        self._was_damaged = self._workspace.is_damaged(self._collection)
        return self._was_damaged

    def _give_way(self, attempt: int, seconds: float) -> None:
        """Let others go first for a random while, longer after each lost swap; less when time gets short.

        Args:
            attempt: How many swaps were lost.
            seconds: What the last attempt took, which is about what the next one and everybody else's takes.
        """

        def is_short_of_time() -> bool:
            return self._deadline.remaining_seconds() < self._pace.reserve_seconds + 2 * seconds

        pause_seconds = jitter(attempt * seconds)
        wait_until(is_short_of_time, timeout_seconds=pause_seconds, poll_seconds=max(pause_seconds / 8, 0.001))

    def _attempt(self, portion: Portion, attempt: int, *, dry_run: bool) -> CycleEnd:
        around, pace = self._around, self._pace
        with self._scratch() as scratch:
            # 1. The newest version, on the local disk. Mostly it is the one that is there already: so its facts
            #    are looked at while the store is asked.
            local = self._workspace.pristine.version()
            ask = partial(read_published, around.store, self._collection, local=local)
            with self._phase("restore"), meanwhile(ask) as newest:
                with self._phases.counted_as("plan", within="restore"):
                    early = self._plan_early(portion, local, scratch)
                parent = self._restore(newest())
            # 2. Which facts move, and what follows for the records. Deltas are read and checked.
            with self._phase("plan"):
                deltas = self._deltas(parent.manifest, scratch)
                is_early = early is not None and local is not None and parent.manifest is local.manifest
                joined, planned = early if early and is_early else self._plan(portion, deltas)
                if not dry_run and self._cut(portion, joined, planned.plan):
                    joined, planned = self._plan(portion, deltas)
            if dry_run:
                return CycleEnd(joined, self._report(parent, joined, planned.plan, attempt, published=False))
            if not joined.moved():
                self._tell_runs(portion, joined)
                return CycleEnd(joined, self._report(parent, joined, planned.plan, attempt, published=False))
            self._deadline.require(pace.reserve_seconds, f"a cycle of {self._collection}")
            with self._workspace.working(chroma=bool(planned.plan)) as working:
                # 3. The records and the ledger, in a working copy; Chroma is closed when this ends.
                with self._phase("apply"):
                    counts = self._apply(planned, deltas.opened, working, parent.manifest)
                # 4. Proven closed and whole: from here on it can be published.
                with self._phase("seal"):
                    sealed = self._seal(parent, working, planned.plan, counts)
                # 5. Objects, manifest, HEAD.
                with self._phase("publish"):
                    details = details_of(parent.manifest.details, sealed, planned.plan, joined, counts, around.mapping)
                    summary = replace(details.summary, action=self.action)
                    details = replace(details, summary=summary, milliseconds=self._phases.milliseconds)
                    child = self._publish(parent, sealed, details)
        pace.note(self._phases.seconds, planned.plan.size)
        # 6. The copy that readers look into first.
        with self._phase("mirror"):
            mirror, behind = self._mirror()
        # 7. The table: a run's message is done when its item says so.
        self._tell_runs(portion, joined)
        report = self._report(child, joined, planned.plan, attempt, published=True)
        return CycleEnd(joined, replace(report, mirror=mirror, mirror_behind=behind))

    @contextmanager
    def _scratch(self) -> Iterator[Callable[[], Path]]:
        """Give what makes a directory for deltas when it is first asked; the directory is removed at the end.

        A batch without a delta does without: making and removing one waits for the disk.
        """
        with ExitStack() as rooms:
            yield cache(lambda: rooms.enter_context(self._workspace.blank()))

    def _deltas(self, parent: Manifest, scratch: Callable[[], Path]) -> BatchDeltas:
        around, details = self._around, parent.details
        return BatchDeltas(
            around.mapping, around.deltas, details.dimension, details.space, scratch, self._deadline, self._pace
        )

    def _plan(self, portion: Portion, deltas: BatchDeltas) -> tuple[Joined, Planned]:
        with self._ledger() as ledger:
            deltas.read_ahead(portion.changes, ledger)
            while True:
                joined = join(ledger, portion.changes, deltas.open)
                planned = plan(ledger, joined, self._around.mapping, self._collection)
                if not portion.refuse_unordered(planned.unordered):
                    break
        portion.tell(joined)
        return joined, planned

    def _plan_early(
        self, portion: Portion, local: LocalVersion | None, scratch: Callable[[], Path]
    ) -> tuple[Joined, Planned] | None:
        """Plan on the version that is here, if that takes no more than a look into its ledger.

        Whether it is the newest, nobody has said yet. What is wrong with it is told when it is planned again.
        """
        if local is None or not self._fits_mapping(local.manifest) or not portion.is_of_fields:
            return None
        with suppress(LifecycleError):
            return self._plan(portion.copy(), self._deltas(local.manifest, scratch))
        return None

    def _cut(self, portion: Portion, joined: Joined, todo: Plan) -> bool:
        """Hand the newest messages back where there is not the time for all; return whether that was so."""
        left = self._deadline.remaining_seconds()
        share = self._pace.share(todo.size, left)
        return share < 1 and portion.cut(share, joined, f"{todo.size:,} records in {left:.0f} s are too many")

    def _isolate(self, portion: Portion, problem: LifecycleError) -> None:
        """Find the messages that Chroma refuses, and set them aside.

        Raises:
            LifecycleError: It is not the messages: the engine takes none of them.
        """
        apply_seconds = self._phases.seconds.get("apply", 0.0)

        def attempt(sources: Sequence[str]) -> LifecycleError | None:
            self._deadline.require(self._pace.reserve_seconds + apply_seconds, "another trial")
            return self._try(Portion(portion.of(sources)))

        found = isolate(portion.sources(), problem, attempt)
        counts = {"sound": len(found.sound), "refused": len(found.refused), "untried": len(found.untried)}
        log.warning("chroma refused a batch", collection=self._collection, why=problem.message, **counts)
        if not found.sound and not isinstance(problem, BadInput):
            raise problem
        portion.refuse(found)

    def _try(self, portion: Portion) -> LifecycleError | None:
        """Let Chroma do what some messages ask for, in a working copy that is thrown away; return what it refuses."""
        with self._scratch() as scratch:
            local = self._workspace.pristine.version()
            assert local is not None  # what the batch was planned on; nothing was written to it since
            deltas = self._deltas(local.manifest, scratch)
            _, planned = self._plan(portion, deltas)
            with self._workspace.working(chroma=True) as working:
                try:
                    self._apply(planned, deltas.opened, working, local.manifest)
                except Refused as refusal:
                    return refusal.problem
        return None

    def _restore(self, published: Published) -> Published:
        around = self._around
        published.head.require_lineage(around.lineage)
        published.head.require_open()
        restored = bring_forward(self._workspace, published, around.store, around.mirror, self._deadline)
        self._missed += restored.missed
        self._check_mapping(restored.published)
        return restored.published

    def _fits_mapping(self, manifest: Manifest) -> bool:
        return manifest.details.mapping in (None, self._around.mapping.digest)

    def _check_mapping(self, published: Published) -> None:
        """Refuse a mapping under which the published facts were not made: facts of two mappings do not join."""
        known, mapping = published.manifest.details.mapping, self._around.mapping
        if known is None or self._fits_mapping(published.manifest):
            return
        with self._ledger() as ledger:
            meaning = ledger.mappings.meaning_of(known)
        changed = f": {'; '.join(differences(meaning, mapping.meaning))}" if meaning else ""
        raise BadInput(
            f"version {published.manifest.version.number} of {published.collection} was made under the mapping "
            f"{known[:12]}, and this is {mapping.digest[:12]}{changed}; "
            "facts that were made under two mappings do not join",
            hint="go back to the mapping that it was made under, or bring the collection to this one: "
            "`chroma-lifecycle resync` with it says what would change, and with --apply changes it",
        )

    def _ledger(self) -> Ledger:
        return Ledger.open(self._workspace.pristine.root / LEDGER, read_only=True)

    def _apply(self, planned: Planned, deltas: Mapping[str, Delta], working: Path, before: Manifest) -> dict[str, int]:
        """Bring records and ledger of the version *before* to the plan; return what the ledger then counts."""
        if planned.plan:
            # Here, because chromadb takes longer to import than a batch that moves no record takes in all.
            from chroma_lifecycle.chroma.client import ManagedClient
            from chroma_lifecycle.chroma.kept_memory import kept_memory
            from chroma_lifecycle.chroma.one_processor import beside
            from chroma_lifecycle.chroma.tail import settle_tail

            # Nobody else knows of this directory, and before it is published the seal looks at every process.
            opening = partial(ManagedClient.open, working / CHROMA, self._collection, everywhere=False)
            with kept_memory(working / CHROMA, planned.plan, before.details.counts.tail):
                with beside(planned.plan), opening() as client, refusals():
                    client.apply(planned.plan, deltas)
                    found = client.close().soundness
                settle_tail(working / CHROMA, self._collection, budget=self._around.tail_budget, found=found)
        with Ledger.open(working / LEDGER) as ledger:
            pruned = self._write_facts(ledger, planned, before.version.next())
            counts = before.details.counts
            # Counted where they may be others: counting takes as long as there are records, or facts.
            records = None if planned.plan.deletes or planned.plan.writes else counts.records
            # What is withheld may count again, and facts that are made anew may be fewer.
            if counts.withheld or planned.changes.anew or self._is_full(before):
                return ledger.counts(records=records)
            facts = counts.facts + planned.changes.fresh - pruned
            return ledger.counts(records=records, facts=facts)

    def _write_facts(self, ledger: Ledger, planned: Planned, version: Version) -> int:
        """Write what the plan moves; return how many facts were old enough to go."""
        now_seconds = int(self._around.clock.now().timestamp())
        self._remember_mapping(ledger)
        ledger.store(planned.changes, received_seconds=now_seconds, version=version.number)
        return ledger.prune(now_seconds=now_seconds)

    def _is_full(self, before: Manifest) -> bool:
        """Return whether the version after *before* is one of those of which everything is looked at."""
        return (before.version.number + 1) % FULL_CHECK_VERSIONS == 0

    def _remember_mapping(self, ledger: Ledger) -> None:
        ledger.mappings.remember(self._around.mapping.digest, self._around.mapping.meaning)

    def _seal(self, parent: Published, working: Path, done: Plan, counts: Mapping[str, int]) -> SealedSnapshot:
        unopened = [] if (working / CHROMA).exists() else [f.path for f in parent.manifest.files if f.path != LEDGER]
        full = self._is_full(parent.manifest)
        records = counts["records"] if done.deletes or done.writes else None
        pristine = self._workspace.pristine.root
        return seal(working, pristine=pristine, pristine_files=unopened, full=full, records=records)

    def _publish(self, parent: Published, sealed: SealedSnapshot, details: Details) -> Published:
        return publish(
            sealed,
            parent=parent,
            details=details,
            workspace=self._workspace,
            store=self._around.store,
            deadline=self._deadline,
            clock=self._around.clock,
            writer=self._around.writer,
        )

    def _mirror(self) -> tuple[MirrorOutcome | None, bool | None]:
        """Bring the mirror forward; return what became of it, and whether it is behind."""
        around = self._around
        if around.mirror is None:
            return None, None
        outcome = update_mirror(
            around.store, around.mirror, self._collection, deadline=self._deadline, missed=self._missed
        )
        behind = outcome.state in (MirrorState.FAILED, MirrorState.FOREIGN)
        if behind:
            log.warning("mirror is behind", collection=self._collection, state=outcome.state, why=outcome.text)
        return outcome, behind

    def _tell_runs(self, portion: Portion, joined: Joined) -> None:
        around = self._around
        if around.status is not None:
            with self._phase("status"):
                changes = self._to_be_told(portion, joined)
                write_statuses(around.status, around.mapping, changes, joined, around.clock.now(), self._deadline)

    def _to_be_told(self, portion: Portion, joined: Joined) -> Iterable[Change]:
        """Return the changes whose runs the table is told of."""
        return portion.answered(joined)

    def _report(self, at: Published, joined: Joined, todo: Plan, attempt: int, *, published: bool) -> CollectionReport:
        counts = at.manifest.details.counts
        return CollectionReport(
            collection=self._collection,
            version=at.manifest.version.number,
            published=published,
            attempts=attempt,
            outcomes=dict(Counter(map(str, joined.outcomes.values()))),
            records=record_counts(todo),
            bytes_written=at.manifest.stored_bytes if published else 0,
            tail=counts.tail,
            withheld=counts.withheld,
            seconds={name: round(seconds, 4) for name, seconds in self._phases.seconds.items()},
        )

    def _phase(self, name: str) -> AbstractContextManager[None]:
        return self._phases.of(name)
