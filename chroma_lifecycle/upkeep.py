"""Between two batches: what keeps a collection cheap to restore, done when time allows and never in a cycle's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from chroma_lifecycle.clock import Clock, Deadline
from chroma_lifecycle.defects import defect, places
from chroma_lifecycle.errors import Corrupt, LifecycleError
from chroma_lifecycle.logs import Log
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.mirror import MirrorOutcome, update_mirror
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.rebase import rebase
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.publishing.transfer import Progress, no_progress
from chroma_lifecycle.report import CollectionReport
from chroma_lifecycle.snapshot.workspace import Workspace

log = Log(__name__)

_SMALLEST_SECONDS = 1.0
# What a small function hashes, checks, compresses and sends in a second.
_BYTES_PER_SECOND = 20e6


@dataclass(frozen=True, slots=True)
class Site:
    """A collection, where it is published, and where it is worked on."""

    collection: str
    store: Store
    mirror: Store | None
    workspace: Workspace
    clock: Clock
    writer: str

    def restored(self, deadline: Deadline) -> Published:
        """Bring the workspace to the newest version, and return it."""
        published = read_published(self.store, self.collection, local=self.workspace.pristine.version())
        return bring_forward(self.workspace, published, self.store, self.mirror, deadline).published

    def mirrored(self, deadline: Deadline) -> MirrorOutcome | None:
        """Bring the mirror forward, if there is one; return what became of it."""
        if self.mirror is None:
            return None
        return update_mirror(self.store, self.mirror, self.collection, deadline=deadline)


@dataclass(frozen=True, slots=True)
class Rebased:
    """What became of a chain.

    Attributes:
        packs: How many packs the chain had.
        published: The version with the new base; the newest one as it was where there was nothing to do.
        mirror: What became of the mirror, if there is one.
    """

    packs: int
    published: Published
    mirror: MirrorOutcome | None = None


def rebase_now(site: Site, *, deadline: Deadline | None = None, progress: Progress = no_progress) -> Rebased:
    """Give the newest version a new base, whatever the length of its chain; without any pack there is nothing to do.

    Raises:
        LifecycleError: As :func:`chroma_lifecycle.publishing.rebase.rebase`, and as a restore.
    """
    deadline = deadline or Deadline()
    newest = site.restored(deadline)
    packs = len(newest.manifest.chain.packs)
    if not packs:
        return Rebased(0, newest)
    based = rebase(
        site.workspace,
        newest,
        store=site.store,
        deadline=deadline,
        clock=site.clock,
        writer=site.writer,
        progress=progress,
    )
    return Rebased(packs, based, site.mirrored(deadline))


def rebase_when_due(
    open_site: Callable[[], Site], report: CollectionReport, deadline: Deadline, *, reserve_seconds: float
) -> CollectionReport:
    """Give the version that a cycle published a new base, if its chain has become long and time allows.

    Nothing that goes wrong here fails the batch, which is published already. A base that was not
    finished is finished by a later cycle, which finds what was sent.

    Args:
        open_site: May fail as all else here: its workspace may have been given up meanwhile, and the disk be full.

    Returns:
        *report*, with what became of it.
    """
    if not report.published:
        return report
    try:
        site = open_site()
        local = site.workspace.pristine.version()
        if local is None or not local.manifest.chain.wants_rebase:
            return report
        began = site.clock.monotonic()
        in_time = deadline.earlier(reserve_seconds)
        in_time.require(_SMALLEST_SECONDS + local.manifest.size / _BYTES_PER_SECOND, "a new base")
        based = rebase_now(site, deadline=in_time)
    except LifecycleError as problem:
        tell = log.error if isinstance(problem, Corrupt) else log.info
        tell("no new base", collection=report.collection, why=problem.message, hint=problem.hint)
        return replace(report, rebase=f"put off: {problem.message}")
    except Exception as problem:  # noqa: BLE001  a defect of ours does not undo what is published
        told = defect(problem)
        # Not `exception`: it would quote the text.
        log.error("no new base", collection=report.collection, why=told.message, places=places(problem))  # noqa: TRY400
        return replace(report, rebase=f"put off: {told.message}")
    seconds = {**report.seconds, "rebase": round(site.clock.monotonic() - began, 4)}
    number = based.published.manifest.version.number
    return replace(report, rebase=f"version {number} has a new base in place of {based.packs} packs", seconds=seconds)
