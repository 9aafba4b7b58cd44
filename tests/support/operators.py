"""Other people at a collection under test, who pin, expire, sweep, go back and forward, give a new base, resync."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.retention import expire
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.publishing.sweep import sweep
from chroma_lifecycle.repair.reapplying import reapply
from chroma_lifecycle.repair.resyncing import Resynced
from chroma_lifecycle.repair.rollback import rollback
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site, rebase_now
from chroma_lifecycle.values import Version
from tests.model.expected import COLLECTIONS, StreamRecord, begins, is_refused, item_of
from tests.model.histories import IMAGES, RECEIPTS
from tests.model.reference import Reference, typed
from tests.support.faults import Fault
from tests.support.scanned import resync_with
from tests.support.watching import Crash

if TYPE_CHECKING:
    from tests.support.promise import Promise


class Operators:
    """Each act moves HEAD or the store, and tells the promise what is to be expected from then on."""

    def __init__(self, promise: Promise) -> None:
        self._promise = promise
        self._world = promise.world

    def pin(self, collection: str) -> None:
        """The newest version is pinned: HEAD moves, the content does not."""

        def amend(head: Any) -> Any:
            return replace(head, pins={**head.pins, f"pin-{head.serial}": head.manifest})

        amend_head(self._world.store, collection, amend, writer="test")

    def rebase(self, collection: str) -> None:
        """The chain gets a new base."""
        before = self._world.version(collection)
        packs = []

        def act(site: Site) -> None:
            packs.append(rebase_now(site).packs)

        self._mend(collection, act, Fault())
        assert before + bool(packs[0]) == self._world.version(collection)

    def expire(self, collection: str, keep: int) -> None:
        """Old versions may go."""
        if expire(self._world.store, collection, keep=keep, writer="test").changed:
            self._promise.seen["expired"] += 1

    def sweep(self, collection: str) -> None:
        """What nobody needs is deleted, without any grace: correctness asks for none."""
        done = sweep(self._world.store, collection, grace=timedelta(0), delete=True, writer="test")
        self._promise.seen["swept"] += bool(done.judged.condemned)
        if not self._promise.is_delivering:  # nobody uploads meanwhile
            live = self._promise.look_at_history(collection)
            stored = {row.name for row in self._world.store.list(f"{collection}/")}
            left = {name for name in stored - live if "/objects/" in name or "/manifests/" in name}
            assert not left, f"a sweep left {left}"

    def rollback(self, collection: str, number: int, fault: Fault | None = None) -> None:
        """One of the versions that are there, but for the newest, is gone back to."""
        promise, expected = self._promise, self._promise.expected[collection]
        head = self._world.published(collection).head
        there = [each for each in sorted(expected.moments) if head.floor.number <= each < head.version.number]
        if not there or promise.flat:
            return
        version = there[number % len(there)]

        def act(site: Site) -> None:
            rollback(site, Version(version))

        if self._mend(collection, act, fault or Fault()):
            expected.rollback(version)
            promise.seen["rolled back"] += 1
            promise.seen["withheld"] += expected.withheld_facts

    def reapply(self, collection: str, fault: Fault | None = None) -> None:
        """Everything counts again."""
        promise, expected, fault = self._promise, self._promise.expected[collection], fault or Fault()

        def act(site: Site) -> None:
            with self._world.compactor("unused") as machine:
                around = replace(machine._around, store=site.store, status=promise.told)
                reapply(around, site.workspace, collection)

        try:
            moved = self._mend(collection, act, fault)
        except BadInput:
            assert self._unreadable(collection), "nothing stood in the way of reapplying"
            promise.seen["reapply refused"] += 1
            return
        if moved:
            expected.reapply()
            promise.seen["reapplied"] += 1
            promise.untold = promise.untold or promise.told.away or type(fault) is not Fault
        elif type(fault) is Fault:
            assert not expected.withheld_facts, "nothing was reapplied"

    def _unreadable(self, collection: str) -> set[str]:
        """Return the addresses of withheld runs whose deltas are not there, or spoiled."""
        found = {begins(record, collection) for record in self._promise.expected[collection].withheld.taken.values()}
        return {each for each in found if each is not None and self._promise.conditions.get(each) != "sound"}

    def _mend(self, collection: str, act: Callable[[Site], None], fault: Fault) -> bool:
        """Let somebody with a workspace of their own act; return whether the collection has a new version."""
        world, before = self._world, self._world.version(collection)
        local = Workspace.open(world.home / "mending" / collection)
        self._promise.is_mending = True
        try:
            with fault.around():
                act(Site(collection, fault.store(world.store), world.mirror, local, SYSTEM_CLOCK, "test"))
        except Crash:
            self._promise.seen["died mending"] += 1
            os.close(local._lock)
        except BaseException:
            local.close()
            raise
        else:
            local.close()
        finally:
            self._promise.is_mending = False
        return world.version(collection) != before

    # In step with the table

    def resync(self) -> None:
        """What the stream forgot is read from the table; then nothing differs, and the statuses are written."""
        promise = self._promise
        promise.stop_all()
        for collection in COLLECTIONS:
            self._resync(collection)
        known = [record for record in promise.history if not is_refused(record) and not self._is_unheard_of(record)]
        replayed = Reference(promise.pool).replay([*self._never_there(), *known])
        assert typed(replayed) == typed(self._world.everything())
        for collection in COLLECTIONS:
            found = self._resync(collection).differences
            differ = found.missing, found.stale, found.withdrawn, found.withheld, found.missed, found.orphaned
            assert ([],) * 6 == differ, f"{collection} still differs from the table"
        promise.seen["resynced"] += 1

    def _resync(self, collection: str) -> Resynced:
        return resync_with(self._world, self._promise.table, collection, status=self._promise.told)

    def _is_unheard_of(self, record: StreamRecord) -> bool:
        """Return whether nothing tells of a lost *record*: neither other records of its item, nor what the item is."""
        promise, item = self._promise, item_of(record)
        about = [each for each in promise.history if item_of(each) == item]
        if record["eventID"] in promise.lost and is_refused(about[-1]):
            return True  # what cannot be taken hides what was there before
        gone = item not in promise.table.items
        return gone and all(each["eventID"] in promise.lost for each in about)

    def _never_there(self) -> Iterator[StreamRecord]:
        """Yield, for each place that ids of records name and the table lacks, that it is gone: so says a resync."""
        for image, receipt in product(IMAGES, RECEIPTS):
            if (image, f"{receipt}#PLACE") not in self._promise.table.items:
                keys = {"PK": {"S": image}, "SK": {"S": f"{receipt}#PLACE"}}
                yield {"eventName": "REMOVE", "dynamodb": {"Keys": keys, "SequenceNumber": "1"}}
