"""Going back: an older version's records as a new version, and what came since withheld.

:func:`rollback` is the way in; :func:`chroma_lifecycle.repair.reapplying.reapply` is the way forward again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved
from chroma_lifecycle.logs import Log
from chroma_lifecycle.planning.ledger import Ledger, Withheld
from chroma_lifecycle.planning.withheld import left_behind
from chroma_lifecycle.publishing.choosing import version_at
from chroma_lifecycle.publishing.history import find_version, verify_version
from chroma_lifecycle.publishing.mirror import MirrorOutcome
from chroma_lifecycle.publishing.publish import publish
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.snapshot.details import Counts, Details, Summary
from chroma_lifecycle.snapshot.disk import disk_errors
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.upkeep import Site
from chroma_lifecycle.values import Version

log = Log(__name__)

ATTEMPTS = 8
"""How often what is withheld is computed when other writers keep moving HEAD."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback published.

    Attributes:
        published: The new version.
        source: The older version whose records it has.
        left: The version that was left behind.
        withheld: How many facts do not count any more.
        runs_again: How many runs count that were withheld before. A message of theirs that came meanwhile was
            answered for without a word to the table; a resync tells it.
        mirror: What became of the mirror, if there is one.
    """

    published: Published
    source: Version
    left: Version
    withheld: int
    runs_again: int
    mirror: MirrorOutcome | None = None


def rollback(site: Site, target: Version | datetime, *, deadline: Deadline | None = None) -> RolledBack:
    """Publish the records of an older version as the newest one; Chroma is not opened.

    Every fact that the version left behind has beyond it becomes withheld: no duplicate and no
    straggler brings back a part of what was undone. A newer change of the same item takes its place.

    Args:
        site: The collection, and where it is worked on.
        target: The version, or the moment whose newest version is meant.
        deadline: When to stop; by default never.

    Raises:
        BadInput: The version is not kept any more, is the newest one, or was made under another mapping.
        Corrupt: An object of it is damaged, or its files are not sound; nothing was published.
        HeadMoved: Other writers were first each time.
        OutcomeUnknown: It may or may not have been published.
    """
    going = _Going(site, target, deadline or Deadline())
    for attempt in range(1, ATTEMPTS):
        try:
            return going.attempt()
        except HeadMoved as lost:
            log.info("rollback lost a swap", collection=site.collection, attempt=attempt, why=lost.message)
    return going.attempt()


class _Going:
    def __init__(self, site: Site, target: Version | datetime, deadline: Deadline) -> None:
        self._site = site
        self._target = target
        self._deadline = deadline
        self._proven: ManifestRef | None = None

    def attempt(self) -> RolledBack:
        site = self._site
        with site.workspace.blank() as scratch:
            # 1. The newest version; of it the ledger alone is wanted.
            newest = site.restored(self._deadline)
            ref, old = self._find(newest)
            now = scratch / LEDGER
            with disk_errors(now):
                shutil.copyfile(site.workspace.pristine.root / LEDGER, now)
            # 2. The old version, every object read from the store, every page checked.
            self._prove(ref, old)
            self._lay_out(newest, old)
            with site.workspace.working(chroma=False) as working:
                # 3. Its ledger, and in it what the newer one has beyond it.
                counts, summary, runs_again = self._withhold(working / LEDGER, now, newest.manifest.version.next())
                # 4. Proven: opened by nobody, but for the ledger.
                files = [file.path for file in old.files if file.path != LEDGER]
                sealed = seal(working, pristine=site.workspace.pristine.root, pristine_files=files)
                # 5. Its chain, and one small pack for the ledger; then HEAD.
                published = publish(
                    sealed,
                    parent=newest,
                    details=_details(old.details, counts, summary),
                    workspace=site.workspace,
                    store=site.store,
                    deadline=self._deadline,
                    clock=site.clock,
                    writer=site.writer,
                    source=(ref, old),
                )
        # 6. The copy that readers look into first.
        mirror = site.mirrored(self._deadline)
        return RolledBack(published, old.version, newest.manifest.version, counts["withheld"], runs_again, mirror)

    def _find(self, newest: Published) -> tuple[ManifestRef, Manifest]:
        """Find the version again in each new HEAD: it may have been condemned meanwhile."""
        store, head, target = self._site.store, newest.head, self._target
        version = target if isinstance(target, Version) else version_at(store, head, target).version
        ref, old = find_version(store, head, version)
        number, name = old.version.number, old.collection
        if old.version == newest.manifest.version:
            raise BadInput(
                f"version {number} of {name} is the newest already: there is nothing to go back from",
                hint="`chroma-lifecycle log` lists the older versions",
            )
        mapping = newest.manifest.details.mapping
        if None not in (old.details.mapping, mapping) and old.details.mapping != mapping:
            raise BadInput(
                f"version {number} of {name} was made under another mapping than version "
                f"{newest.manifest.version.number}, and facts that were made under two mappings do not join",
                hint="go back to a version of the mapping in force; to have the other mapping in force again, run "
                "`chroma-lifecycle resync --apply` with it; `chroma-lifecycle restore --version` makes a plain "
                "directory of any version",
            )
        return ref, old

    def _prove(self, ref: ManifestRef, old: Manifest) -> None:
        if ref == self._proven:
            return
        found = verify_version(old, self._site.store, deadline=self._deadline)
        if found.damage:
            name, problem = next(iter(found.damage.items()))
            raise Corrupt(
                f"version {old.version.number} of {old.collection} is damaged: {name}: {problem}",
                hint="go back to another version; `chroma-lifecycle verify --all` names all damage",
            )
        self._proven = ref

    def _lay_out(self, newest: Published, old: Manifest) -> None:
        """Bring the workspace to the old version."""
        site, wanted = self._site, Published(newest.seen, old)
        there = bring_forward(site.workspace, wanted, site.store, site.mirror, self._deadline).published.manifest
        if there != old:
            raise HeadMoved(
                f"version {old.version.number} of {old.collection} was swept while it was read",
                hint="`chroma-lifecycle log` lists the versions that are left",
            )
        seal(site.workspace.pristine.root, full=True)

    def _withhold(self, path: Path, now: Path, made: Version) -> tuple[dict[str, int], Summary, int]:
        with Ledger.open(path) as old, Ledger.open(now) as newer:
            withheld = left_behind(old, newer)
            summary = _differences(old, newer, withheld)
            runs_again = sum(old.run(*key) is not None for key in newer.withheld(()).runs)
            seconds = int(self._site.clock.now().timestamp())
            old.withhold(withheld, received_seconds=seconds, version=made.number)
            old.mappings.remember_those_of(newer.mappings)
            return old.counts(), summary, runs_again


def _differences(old: Ledger, newer: Ledger, withheld: Withheld) -> Summary:
    """Return how many records come back, change (to the vector of another run, or in a field), and go."""
    then, now = dict(old.record_runs()), dict(newer.record_runs())
    changed = {record_id for record_id, run in then.items() if now.get(record_id, run) != run}
    for below in old.records_below({reach for reach, _ in withheld.fields}).values():
        changed |= below.keys() & now.keys()
    return Summary("rollback", len(then.keys() - now.keys()), len(changed), len(now.keys() - then.keys()))


def _details(old: Details, counts: dict[str, int], summary: Summary) -> Details:
    held = Counts(counts["records"], counts["facts"], counts["withheld"], tail=old.counts.tail)
    return Details(summary, held, old.chroma, old.dimension, old.space, old.mapping, verified=True)
