"""The cycle: how the changes of one batch become a published version of one collection.

Read :meth:`Cycle._attempt`: its numbered steps are the product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
from chroma_lifecycle.chroma.tail import settle_tail
from chroma_lifecycle.clock import Clock, Deadline
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import BadInput, HeadMoved
from chroma_lifecycle.intake.changes import Change, MergeDelta
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.meaning import differences
from chroma_lifecycle.planning.join import Joined, Outcome, join
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.planning.planner import Planned, plan
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.mirror import MirrorState, update_mirror
from chroma_lifecycle.publishing.publish import publish
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.publishing.status import RunStatus
from chroma_lifecycle.report import CollectionReport
from chroma_lifecycle.run_status import write_statuses
from chroma_lifecycle.snapshot.details import ChromaVersion, Counts, Details, Summary
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.sealed import SealedSnapshot, seal
from chroma_lifecycle.snapshot.workspace import Workspace

log = structlog.get_logger(__name__)

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
    """One collection, one batch."""

    def __init__(self, around: Surroundings, workspace: Workspace, collection: str, deadline: Deadline) -> None:
        self._around = around
        self._workspace = workspace
        self._collection = collection
        self._deadline = deadline
        self._seconds: dict[str, float] = {}
        self._missed: list[str] = []

    def run(self, changes: Sequence[Change], *, dry_run: bool = False) -> CycleEnd:
        """Apply *changes* and publish what they move; begin again when another writer was first.

        Raises:
            HeadMoved: Others were first each time.
            LifecycleError: Nothing was published, or (OutcomeUnknown) nobody can say.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return self._attempt(changes, attempt, dry_run=dry_run)
            except HeadMoved as lost:
                log.info("swap lost", collection=self._collection, attempt=attempt, why=lost.message)
        return self._attempt(changes, ATTEMPTS, dry_run=dry_run)

    def _attempt(self, changes: Sequence[Change], attempt: int, *, dry_run: bool) -> CycleEnd:
        around = self._around
        with self._workspace.blank() as scratch:
            # 1. The newest version, on the local disk.
            with self._phase("restore"):
                parent = self._restore()
            # 2. Which facts move, and what follows for the records. Deltas are read and checked.
            deltas = _Deltas(around, parent.manifest.details.dimension, scratch, self._deadline)
            with self._phase("plan"), self._ledger() as ledger:
                joined = join(ledger, changes, deltas.open)
                planned = plan(ledger, joined, around.mapping, self._collection)
            if dry_run:
                return CycleEnd(joined, self._report(parent, joined, planned.plan, attempt, published=False))
            if not joined.moved():
                self._tell_runs(changes, joined)
                return CycleEnd(joined, self._report(parent, joined, planned.plan, attempt, published=False))
            self._deadline.require(around.reserve_seconds, f"a cycle of {self._collection}")
            with self._workspace.working(chroma=bool(planned.plan)) as working:
                # 3. The records and the ledger, in a working copy; Chroma is closed when this ends.
                with self._phase("apply"):
                    counts = self._apply(planned, deltas.opened, working)
                # 4. Proven closed and whole: from here on it can be published.
                with self._phase("seal"):
                    sealed = self._seal(parent, working)
                # 5. Objects, manifest, HEAD.
                with self._phase("publish"):
                    details = _details(parent.manifest.details, sealed, planned.plan, joined, counts, around.mapping)
                    details = replace(details, milliseconds=self._milliseconds())
                    child = self._publish(parent, sealed, details)
        # 6. The copy that readers look into first.
        with self._phase("mirror"):
            mirror = self._mirror()
        # 7. The table: a run's message is done when its item says so.
        self._tell_runs(changes, joined)
        return CycleEnd(joined, self._report(child, joined, planned.plan, attempt, published=True, mirror=mirror))

    def _restore(self) -> Published:
        around = self._around
        published = read_published(around.store, self._collection, local=self._workspace.pristine.version())
        restored = bring_forward(self._workspace, published, around.store, around.mirror, self._deadline)
        self._missed += restored.missed
        with self._ledger() as ledger:
            _check_mapping(restored.published, around.mapping, ledger)
        return restored.published

    def _ledger(self) -> Ledger:
        return Ledger.open(self._workspace.pristine.root / LEDGER, read_only=True)

    def _apply(self, planned: Planned, deltas: Mapping[str, Delta], working: Path) -> dict[str, int]:
        """Bring records and ledger to the plan; return what the ledger then counts."""
        if planned.plan:
            with ManagedClient.open(working / CHROMA, self._collection) as client:
                client.apply(planned.plan, deltas)
            settle_tail(working / CHROMA, self._collection, budget=self._around.tail_budget)
        with Ledger.open(working / LEDGER) as ledger:
            ledger.remember_mapping(self._around.mapping.digest, self._around.mapping.meaning)
            ledger.store(planned.changes, received_seconds=int(self._around.clock.now().timestamp()))
            return ledger.counts()

    def _seal(self, parent: Published, working: Path) -> SealedSnapshot:
        unopened = [] if (working / CHROMA).exists() else [f.path for f in parent.manifest.files if f.path != LEDGER]
        full = (parent.manifest.version.number + 1) % FULL_CHECK_VERSIONS == 0
        return seal(working, pristine=self._workspace.pristine.root, pristine_files=unopened, full=full)

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

    def _mirror(self) -> str:
        around = self._around
        if around.mirror is None:
            return "none"
        outcome = update_mirror(
            around.store, around.mirror, self._collection, deadline=self._deadline, missed=self._missed
        )
        if outcome.state in (MirrorState.FAILED, MirrorState.FOREIGN):
            log.warning("mirror is behind", collection=self._collection, state=outcome.state, why=outcome.text)
        return f"{outcome.state}: {outcome.text}"

    def _tell_runs(self, changes: Sequence[Change], joined: Joined) -> None:
        around = self._around
        if around.status is not None:
            with self._phase("status"):
                write_statuses(around.status, around.mapping, changes, joined, around.clock.now())

    def _report(
        self, at: Published, joined: Joined, todo: Plan, attempt: int, *, published: bool, mirror: str = "none"
    ) -> CollectionReport:
        return CollectionReport(
            collection=self._collection,
            version=at.manifest.version.number,
            published=published,
            attempts=attempt,
            outcomes=dict(Counter(map(str, joined.outcomes.values()))),
            records=_records(todo),
            bytes_written=at.manifest.stored_bytes if published else 0,
            mirror=mirror,
            seconds={name: round(seconds, 4) for name, seconds in self._seconds.items()},
        )

    def _milliseconds(self) -> dict[str, int]:
        return {name: round(seconds * 1_000) for name, seconds in self._seconds.items()}

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        clock = self._around.clock
        began = clock.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + clock.monotonic() - began


class _Deltas:
    """The deltas of a batch, each read once, however many runs name it."""

    def __init__(self, around: Surroundings, dimension: int, scratch: Path, deadline: Deadline) -> None:
        self.opened: dict[str, Delta] = {}
        self._around = around
        self._dimension = dimension
        self._scratch = scratch
        self._deadline = deadline

    def open(self, change: MergeDelta) -> Delta:
        """Return the delta that *change* names, every record of it checked for its run."""
        collection, address = change.origin.collection, change.address
        mapping = self._around.mapping
        expected = Expectation(
            collection, self._dimension, change.below, lambda record_id: mapping.fits(collection, record_id)
        )
        reader = partial(read_chroma_delta, deadline=self._deadline)
        delta = open_delta(address, self._around.deltas, self._scratch, expected, reader)
        return self.opened.setdefault(address, delta)


def _check_mapping(published: Published, mapping: TableMapping, ledger: Ledger) -> None:
    """Refuse a mapping under which the published facts were not made: facts of two mappings do not join."""
    known = published.manifest.details.mapping
    if known is None or known == mapping.digest:
        return
    meaning = ledger.meaning_of(known)
    changed = f": {'; '.join(differences(meaning, mapping.meaning))}" if meaning else ""
    raise BadInput(
        f"version {published.manifest.version.number} of {published.collection} was made under the mapping "
        f"{known[:12]}, and this is {mapping.digest[:12]}{changed}; "
        "facts that were made under two mappings do not join",
        hint="go back to the mapping that it was made under, or begin the collection anew with init",
    )


def _records(todo: Plan) -> dict[str, int]:
    existing = sum(len(write.existing) for write in todo.writes)
    return {
        "added": sum(len(write.ids) for write in todo.writes) - existing,
        "changed": existing + len(todo.updates),
        "removed": len(todo.deletes),
    }


def _details(
    before: Details,
    sealed: SealedSnapshot,
    todo: Plan,
    joined: Joined,
    counts: Mapping[str, int],
    mapping: TableMapping,
) -> Details:
    applied = sum(1 for outcome in joined.outcomes.values() if outcome is Outcome.APPLIED)
    found = sealed.soundness
    return Details(
        summary=Summary("compact", applied=applied, **_records(todo)),
        counts=Counts(records=counts["records"], facts=counts["facts"], tail=found.tail),
        chroma=ChromaVersion(version("chromadb"), found.migrations) if todo else before.chroma,
        dimension=before.dimension,
        space=before.space,
        mapping=mapping.digest,
        verified=found.full,
    )
