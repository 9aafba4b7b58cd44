"""The task for one shard that comes: it is made what the shards in force hold of it now.

The first time all of it is written; later what differs. Nothing is remembered between two times: what
differs is told by the ledgers, the one that is published in the new shard, and the one that it should have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from chroma_lifecycle.batch.summary import counts_of, record_counts
from chroma_lifecycle.bulk.brought import Brought, brought_of, find_brought, held, owner, require_shard, sources
from chroma_lifecycle.bulk.vectors import FindVectors, reembedded
from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta, read_proven
from chroma_lifecycle.chroma.stored_settings import stored_settings
from chroma_lifecycle.chroma.tail import settle_tail
from chroma_lifecycle.clock import Clock, Deadline
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.plan import Plan, Write
from chroma_lifecycle.planning.portions import Moved, add_portion, become
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.beside import RESHARD
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.layout import Layout
from chroma_lifecycle.publishing.publish import initialise, publish
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.snapshot.details import ChromaVersion, Details, Summary
from chroma_lifecycle.snapshot.disk import copy_file, disk_errors, require_room
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.sealed import SealedSnapshot, seal
from chroma_lifecycle.snapshot.workspace import HEADROOM_BYTES, Workspace
from chroma_lifecycle.upkeep import Site
from chroma_lifecycle.values import Digest

_FEW = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a shard that comes is made.

    Attributes:
        root: Directory of the task, below which each lineage has its workspace; what is in it spares reading.
        vectors: Finds new vectors, where the layout says that there are some.
    """

    store: Store
    root: Path
    clock: Clock
    writer: str
    vectors: FindVectors | None = None

    @contextmanager
    def site(self, name: str) -> Iterator[Site]:
        """Own the workspace of a lineage."""
        with Workspace.open(self.root / name, clock=self.clock) as workspace:
            yield Site(name, self.store, None, workspace, self.clock, self.writer)


def bring(
    layout: Layout, shard: Shard, place: Place, *, tail_budget: int, tell: Callable[[int], None] = lambda _: None
) -> Brought:
    """Make *shard*, which comes in *layout*, hold what the shards in force hold of it now.

    Args:
        layout: In force.
        shard: One of those that come.
        place: Where it is worked on.
        tail_budget: Vector operations that a reader may have to replay.
        tell: Is told how many records were written, after each call of Chroma.

    Raises:
        NotInitialised, Corrupt: A shard is missing, or is not the one that the layout names; or it is damaged.
        BadInput: The shards in force differ in dimension, space or mapping; or there is another shard of this name.
        HeadMoved: Somebody else brings it too.
        NoRoom, StoreUnavailable: It can be tried again.
    """
    before, whole = find_brought(place.store, layout, shard)
    if before is not None and whole:
        return brought_of(before)
    with ExitStack() as stack:
        old = {each: stack.enter_context(place.site(each.name)) for each in sources(layout, shard)}
        new = stack.enter_context(place.site(shard.name))
        scratch = stack.enter_context(new.workspace.blank())
        return _Bringing(layout, shard, old, new, scratch, tail_budget, tell, place.vectors).run(before)


def _restored(site: Site, shard: Shard) -> Published:
    require_shard(site.store, shard)
    published = site.restored(Deadline())
    published.head.require_lineage(shard.lineage)
    return published


def _common(details: Sequence[Details], collection: str) -> Details:
    """Return the details of one of the shards in force, of what must be the same in all."""
    mappings = {each.mapping for each in details if each.mapping is not None}
    if len(mappings) > 1 or len({(each.dimension, each.space) for each in details}) > 1:
        raise BadInput(
            f"the shards of {collection} differ in their dimension, space or mapping",
            hint="`chroma-lifecycle status` shows each; bring them to the same (resync, rebuild), then run it again. "
            "Where some are closed already, give it up before: `chroma-lifecycle bulk reshard --undo`",
        )
    return replace(details[0], mapping=next(iter(mappings), None))


def _require_same_form(made: Published, wanted: Details) -> None:
    """Refuse to bring forward what was made in another form: no fact tells of that.

    Raises:
        BadInput: The shards in force were rebuilt meanwhile, with another space or dimension.
    """
    found = made.manifest.details
    if (found.dimension, found.space) != (wanted.dimension, wanted.space):
        raise BadInput(
            f"{made.collection} was made with {found.dimension} dimensions and {found.space}, and what it is made of "
            f"has {wanted.dimension} and {wanted.space} now",
            hint="begin anew: `chroma-lifecycle bulk reshard --undo`, and then the same again",
        )


@dataclass(frozen=True, slots=True)
class _Bringing:
    layout: Layout
    shard: Shard
    old: Mapping[Shard, Site]
    new: Site
    scratch: Path
    tail_budget: int
    tell: Callable[[int], None]
    vectors: FindVectors | None

    def run(self, before: Published | None) -> Brought:
        # 1. The shards in force, as they are now.
        versions = [_restored(site, each) for each, site in self.old.items()]
        details = _common([each.manifest.details for each in versions], self.layout.collection)
        dimension = details.dimension
        if self.layout.vectors:
            details = replace(details, dimension=self.layout.vectors.dimension)
        # 2. The ledger that the new shard must have, and what differs: in facts, and in records.
        if before is not None:
            before = self.new.restored(Deadline())
            _require_same_form(before, details)
        moved = self._make_ledger(before)
        if before is None or moved:
            # 3. The records that differ, as the shards in force have them.
            deltas = self._with_new_vectors(self._read(moved.written, dimension), details.space)
            # 4. Written, proven, published.
            before = self._publish(before, details, moved, deltas)
        # 5. HEAD says what it holds.
        before = self._mark(before, held(versions))
        return brought_of(before, len(moved.written) + len(moved.removed), already=False)

    def _make_ledger(self, before: Published | None) -> Moved:
        """Make the new ledger in the scratch directory; return what it moves."""
        wanted, made = self.scratch / "wanted", self.scratch / LEDGER
        with Ledger.create(wanted) as ledger:
            for site in self.old.values():
                add_portion(ledger, site.workspace.pristine.root / LEDGER, owner(self.layout, self.shard))
        if before is None:
            Ledger.create(made).close()
        else:
            with disk_errors(made):
                copy_file(self.new.workspace.pristine.root / LEDGER, made)
        with Ledger.open(made) as ledger:
            return become(ledger, wanted)

    def _read(self, ids: Collection[str], dimension: int) -> dict[str, Delta]:
        """Return the records of *ids*, those of each shard in force below its name; Chroma opens a copy of it.

        A child does, whose memory is given back; but for a few records it would be most of what writers wait for.
        """
        portions: dict[Shard, list[str]] = {}
        for record_id in sorted(ids):
            portions.setdefault(self.layout.shard_of(record_id), []).append(record_id)
        found = {}
        for shard, portion in portions.items():
            source = directory_deltas(self.old[shard].workspace.pristine.root)
            expected = Expectation(shard.name, dimension, None, bool)
            read = read_proven if len(portion) <= _FEW else read_chroma_delta
            delta = open_delta(CHROMA, source, self.scratch, expected, partial(read, ids=portion))
            if sorted(delta.ids) != portion:
                raise Corrupt(
                    f"{shard.name} holds {len(delta.ids):,} of {len(portion):,} records that its ledger has",
                    hint=f"run `chroma-lifecycle verify --collection {shard.name}`, and restore its last sound version",
                )
            found[shard.name] = replace(delta, address=shard.name)
        return found

    def _with_new_vectors(self, deltas: dict[str, Delta], space: str) -> dict[str, Delta]:
        """Return the same records, with the vectors that the layout asks for."""
        ids = [record_id for delta in deltas.values() for record_id in delta.ids]
        if self.layout.vectors is None or not ids:
            return deltas
        assert self.vectors is not None  # whoever reads the layout gives what finds them
        found, dimension = self.vectors(ids, space, self.scratch), self.layout.vectors.dimension
        return {name: reembedded(each, found, dimension) for name, each in deltas.items()}

    def _publish(
        self, before: Published | None, details: Details, moved: Moved, deltas: Mapping[str, Delta]
    ) -> Published:
        workspace, name, plan = self.new.workspace, self.shard.name, self._plan(before, moved, deltas)
        opened = before is None or bool(plan)
        with workspace.working(chroma=opened) if before else workspace.blank() as working:
            if opened:
                needed = sum(delta.path.stat().st_size for delta in deltas.values()) + HEADROOM_BYTES
                records = sum(len(delta.ids) for delta in deltas.values())
                require_room(working, needed, f"bringing {records:,} records to {name}")
                with ManagedClient.open(working / CHROMA, name, create=None if before else self._settings()) as client:
                    client.apply(plan, deltas, self.tell)
                settle_tail(working / CHROMA, name, budget=self.tail_budget)
            with disk_errors(working):
                (working / LEDGER).unlink(missing_ok=True)
                copy_file(self.scratch / LEDGER, working / LEDGER)
            with Ledger.open(working / LEDGER, read_only=True) as ledger:
                counts = ledger.counts()
            sealed = self._seal(working, before, counts, opened=opened)
            made = replace(
                details,
                summary=Summary(RESHARD, **record_counts(plan)),
                counts=counts_of(counts, sealed.soundness),
                chroma=ChromaVersion(version("chromadb"), sealed.soundness.migrations),
                verified=sealed.soundness.full,
                milliseconds={},
            )
            return self._swap(sealed, before, made)

    def _plan(self, before: Published | None, moved: Moved, deltas: Mapping[str, Delta]) -> Plan:
        known: frozenset[str] = frozenset()
        if before is not None:
            with Ledger.open(self.new.workspace.pristine.root / LEDGER, read_only=True) as ledger:
                known = frozenset(ledger.writers(moved.written))
        writes = (
            Write(name, frozenset(delta.ids), existing=known.intersection(delta.ids)) for name, delta in deltas.items()
        )
        return Plan(tuple(sorted(moved.removed)), tuple(writes))

    def _settings(self) -> CollectionSettings:
        """Return what the new collection is made with: what the first of the old ones is like."""
        shard, site = next(iter(self.old.items()))
        local = site.workspace.pristine.version()
        assert local is not None  # it was restored
        kept = stored_settings(site.workspace.pristine.root / CHROMA, shard.name, local.manifest.details.dimension)
        return replace(kept, dimension=self.layout.vectors.dimension) if self.layout.vectors else kept

    def _seal(
        self, working: Path, before: Published | None, counts: Mapping[str, int], *, opened: bool
    ) -> SealedSnapshot:
        if before is None:
            return seal(working, full=True, records=counts["records"])
        unopened = [] if opened else [file.path for file in before.manifest.files if file.path != LEDGER]
        pristine = self.new.workspace.pristine.root
        return seal(working, pristine=pristine, pristine_files=unopened, records=counts["records"])

    def _swap(self, sealed: SealedSnapshot, before: Published | None, details: Details) -> Published:
        new, shard = self.new, self.shard
        if before is None:
            return initialise(
                sealed,
                collection=shard.name,
                details=details,
                workspace=new.workspace,
                store=new.store,
                deadline=Deadline(),
                clock=new.clock,
                writer=new.writer,
                lineage=shard.lineage,
            )
        return publish(
            sealed,
            parent=before,
            details=details,
            workspace=new.workspace,
            store=new.store,
            deadline=Deadline(),
            clock=new.clock,
            writer=new.writer,
        )

    def _mark(self, published: Published, holds: Digest) -> Published:
        """Let HEAD say what the version holds."""

        def amend(head: Head) -> Head | None:
            if head.manifest != published.head.manifest:
                raise HeadMoved(
                    f"somebody else brings {head.collection} too: version {head.version.number} is there",
                    hint="let one of them come to its end; then run the same again",
                )
            # Older versions were in force for nobody: no rollback may lead to one.
            return None if head.holds == holds else replace(head, holds=holds, floor=head.version)

        return Published(amend_head(self.new.store, self.shard.name, amend, writer=self.new.writer), published.manifest)
