"""Making a collection anew from its own records.

HNSW never shrinks, and SQLite keeps the pages that it no longer needs. So the records are read
from a copy, written into a fresh directory, and published as one version that is stored whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from chroma_lifecycle.batch.summary import counts_of
from chroma_lifecycle.chroma.client import SPACES, CollectionSettings, ManagedClient, Space
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
from chroma_lifecycle.chroma.stored_settings import stored_settings
from chroma_lifecycle.chroma.tail import settle_tail
from chroma_lifecycle.clock import Clock, Deadline
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved
from chroma_lifecycle.logs import Log
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.plan import Plan, Write
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.mirror import MirrorOutcome
from chroma_lifecycle.publishing.publish import publish
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.relocation import require_settled
from chroma_lifecycle.snapshot.details import ChromaVersion, Details, Summary
from chroma_lifecycle.snapshot.disk import copy_file, disk_errors, require_room
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.hnsw_files import clear_room
from chroma_lifecycle.snapshot.sealed import SealedSnapshot, seal
from chroma_lifecycle.snapshot.soundness import DATABASE
from chroma_lifecycle.snapshot.sqlite_file import vacuum
from chroma_lifecycle.snapshot.workspace import HEADROOM_BYTES
from chroma_lifecycle.upkeep import Site

log = Log(__name__)

_ATTEMPTS = 3
# Beside the copy of the version: what the child opens, the records in a file, and the new directory.
_COPIES = 3
_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Renewal:
    """New vectors.

    Attributes:
        dimension: Of them.
        renewed: Returns the same records with them, given the records, the space and a directory to work in.
    """

    dimension: int
    renewed: Callable[[Delta, str, Path], Delta]

    def more_bytes(self, records: int, dimension: int) -> int:
        """Return what vectors of this dimension need beside those that they replace: their file, and where they go."""
        return _NUMBER_BYTES * records * (self.dimension + max(0, self.dimension - dimension))


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was published.

    Attributes:
        before: Details of the version that was rebuilt.
        bytes_before: Size of its files.
        mirror: What became of the mirror, if there is one.
    """

    before: Details
    bytes_before: int
    published: Published
    mirror: MirrorOutcome | None


def rebuild(
    site: Site,
    *,
    space: str | None = None,
    without: Collection[str] = (),
    action: str = "rebuild",
    tail_budget: int,
    amend: Callable[[Head], Head] = lambda head: head,
    renewal: Renewal | None = None,
) -> Rebuilt:
    """Publish the newest version's records in a directory that was made for them.

    Ids, documents and metadata are the same, and so are vectors: bit for bit, but in a cosine
    space, where Chroma keeps direction and length of a vector apart and gives it back rounded. The
    ledger stays as it is. Versions that others publish meanwhile win, and it begins again.

    Args:
        site: The collection.
        space: Another space; by default the same.
        without: Ids of records that are left out, and whose content the ledger forgets.
        action: One word for the history.
        tail_budget: Vector operations that a reader may have to replay.
        amend: Changes what else the new HEAD decides; it refuses by raising.
        renewal: New vectors, if the records are to have some.

    Raises:
        HeadMoved: Others published each time.
        NoRoom: The disk cannot hold the copies.
        Corrupt: Records and ledger of the version disagree, or a file is not sound.
        LifecycleError: As a restore and a publication.
    """

    def amended(head: Head) -> Head:
        if renewal is not None:
            require_settled(head)  # no fact tells of a new vector, so shards that come would keep the old one
        return amend(head)

    for attempt in range(1, _ATTEMPTS + 1):
        parent = site.restored(Deadline())
        amended(parent.head)
        try:
            published = _publish_anew(site, parent, space, without, action, tail_budget, amended, renewal)
        except HeadMoved as lost:
            if attempt == _ATTEMPTS:
                raise
            log.info("rebuild begins again", collection=site.collection, why=lost.message)
        else:
            manifest = parent.manifest
            return Rebuilt(manifest.details, manifest.size, published, site.mirrored(Deadline()))
    raise AssertionError("an attempt returns or raises")


def _publish_anew(
    site: Site,
    parent: Published,
    space: str | None,
    without: Collection[str],
    action: str,
    tail_budget: int,
    amend: Callable[[Head], Head],
    renewal: Renewal | None,
) -> Published:
    before, workspace = parent.manifest.details, site.workspace
    kept = stored_settings(workspace.pristine.root / CHROMA, site.collection, before.dimension)
    settings = replace(kept, space=_space(space)) if space else kept
    workspace.drop_kept()
    with disk_errors(workspace.root):
        needed = _COPIES * parent.manifest.size + HEADROOM_BYTES
        needed += renewal.more_bytes(before.counts.records, before.dimension) if renewal else 0
        require_room(workspace.root, needed, f"rebuilding {site.collection}")
    with ExitStack() as stack:
        scratch, working = (stack.enter_context(workspace.blank()) for _ in range(2))
        # 1. The records, read in a child from a copy: the pristine files are opened by nobody.
        records = _read_records(site, before.dimension, space, scratch)
        if renewal is not None:
            records = renewal.renewed(records, settings.space, scratch)
            settings = replace(settings, dimension=renewal.dimension)
        # 2. The ledger, without what is left out.
        _copy_ledger(workspace.pristine.root / LEDGER, working / LEDGER, records)
        counts = _forget(working / LEDGER, without, site.clock, parent.manifest.version.number + 1)
        # 3. A fresh directory.
        _write_records(working / CHROMA, site.collection, settings, records, frozenset(without), tail_budget)
        # 4. Proven, and published whole.
        sealed = seal(working, full=True, records=counts["records"])
        details = _details(before, settings, sealed, counts, action, renewed=counts["records"] if renewal else 0)
        return publish(
            sealed,
            parent=parent,
            details=details,
            workspace=workspace,
            store=site.store,
            deadline=Deadline(),
            clock=site.clock,
            writer=site.writer,
            whole=True,
            amend=amend,
        )


def _space(name: str) -> Space:
    if name not in SPACES:
        raise BadInput(f"there is no space {name!r}", hint=f"take one of {', '.join(SPACES)}")
    return SPACES[name]


def _read_records(site: Site, dimension: int, space: str | None, scratch: Path) -> Delta:
    expected = Expectation(site.collection, dimension, None, bool, space)
    source = directory_deltas(site.workspace.pristine.root)
    return open_delta(CHROMA, source, scratch, expected, read_chroma_delta)


def _copy_ledger(source: Path, target: Path, records: Delta) -> None:
    with disk_errors(target):
        copy_file(source, target)
    with Ledger.open(target) as ledger:
        if sorted(records.ids) != list(ledger.record_ids()):
            raise Corrupt(
                f"the collection holds {len(records.ids):,} records, and not those that its ledger has",
                hint="run `chroma-lifecycle verify`, and restore the last sound version",
            )


def _forget(path: Path, without: Collection[str], clock: Clock, version: int) -> dict[str, int]:
    with Ledger.open(path) as ledger:
        ledger.erase(without, received_seconds=int(clock.now().timestamp()), version=version)
        ledger.write_anew()
        return ledger.counts()


def _write_records(
    directory: Path,
    collection: str,
    settings: CollectionSettings,
    records: Delta,
    without: frozenset[str],
    tail_budget: int,
) -> None:
    whole = Plan(writes=(Write(records.address, frozenset(records.ids) - without, existing=frozenset()),))
    with ManagedClient.open(directory, collection, create=settings) as client:
        client.apply(whole, {records.address: records})
    settle_tail(directory, collection, budget=tail_budget)
    vacuum(directory / DATABASE)
    for segment in directory.iterdir():
        if segment.is_dir():
            clear_room(segment)


def _details(
    before: Details,
    settings: CollectionSettings,
    sealed: SealedSnapshot,
    counts: dict[str, int],
    action: str,
    *,
    renewed: int,
) -> Details:
    found = sealed.soundness
    return replace(
        before,
        summary=Summary(action, changed=renewed, removed=before.counts.records - counts["records"]),
        counts=replace(counts_of(counts, found), withheld=before.counts.withheld),
        chroma=ChromaVersion(version("chromadb"), found.migrations),
        dimension=settings.dimension,
        space=settings.space,
        verified=True,
        milliseconds={},
    )
