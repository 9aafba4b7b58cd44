"""Other people at a collection under test, who pin, expire, sweep, go back and forward, give a new base, resync."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import BadInput, LifecycleError
from chroma_lifecycle.publishing.retention import expire
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.publishing.sweep import sweep
from chroma_lifecycle.repair.reapplying import reapply
from chroma_lifecycle.repair.resyncing import Resynced, resync
from chroma_lifecycle.repair.resyncing_shards import resync_shards
from chroma_lifecycle.repair.rollback import rollback
from chroma_lifecycle.sharding.works import lineage_surroundings
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site, rebase_now
from chroma_lifecycle.values import Version
from tests.model.expected import COLLECTIONS, begins, is_field
from tests.support.differences import require_same
from tests.support.faults import Fault
from tests.support.scanned import Scan, images
from tests.support.watching import Crash

if TYPE_CHECKING:
    from tests.support.promise import Promise


class Operators:
    """Each act moves HEAD or the store, and tells the promise what is to be expected from then on."""

    def __init__(self, promise: Promise) -> None:
        self._promise = promise
        self._world = promise.world

    def pin(self, lineage: str) -> None:
        """The newest version is pinned: HEAD moves, the content does not."""

        def amend(head: Any) -> Any:
            return replace(head, pins={**head.pins, f"pin-{head.serial}": head.manifest})

        amend_head(self._world.store, lineage, amend, writer="test")

    def rebase(self, lineage: str) -> bool:
        """The chain gets a new base, if it needs one; return whether it did."""
        before = self._world.version(lineage)
        packs = []
        if lineage in self._promise.closed():
            return False

        def act(site: Site) -> None:
            packs.append(rebase_now(site).packs)

        self._mend(lineage, act, Fault())
        assert before + bool(packs[0]) == self._world.version(lineage)
        return bool(packs[0])

    def expire(self, lineage: str, keep: int) -> None:
        """Old versions may go."""
        if expire(self._world.store, lineage, keep=keep, writer="test").changed:
            self._promise.seen["expired"] += 1

    def sweep(self, lineage: str, keep: int) -> None:
        """What nobody needs is deleted, without any grace: correctness asks for none. So many versions are left."""
        done = sweep(self._world.store, lineage, grace=timedelta(0), delete=True, writer="test")
        self._promise.seen["swept"] += bool(done.judged.condemned)
        if not self._promise.is_delivering:  # nobody uploads meanwhile
            head = self._world.published(lineage).head
            # Where pins keep all that has expired there is nothing to delete, and then no fence raises the floor.
            assert head.version.number - head.shown_from.number < keep, f"a sweep left more than {keep} versions"
            live = self._promise.look_at_history(lineage)
            stored = {row.name for row in self._world.store.list(f"{lineage}/")}
            left = {name for name in stored - live if "/objects/" in name or "/manifests/" in name}
            assert not left, f"a sweep left {left}"

    def rollback(self, lineage: str, number: int, fault: Fault | None = None) -> None:
        """One of the versions that are there, but for the newest, is gone back to."""
        promise, expected, fault = self._promise, self._promise.expected[lineage], fault or Fault()
        head = self._world.published(lineage).head
        there = [each for each in sorted(expected.moments) if head.floor.number <= each < head.version.number]
        if not there or promise.flat or lineage in promise.closed():
            return
        version = there[number % len(there)]

        def act(site: Site) -> None:
            rollback(site, Version(version))

        try:
            moved = self._mend(lineage, act, fault)
        except BadInput as problem:
            if "made under another mapping" not in problem.message or expected.moments[version][2] == expected.mapping:
                raise
            promise.seen["rollback refused"] += 1
            return
        if moved:
            withheld = {key for key in expected.withheld.known if key[0] == "run"} - expected.counts.known.keys()
            expected.rollback(version)
            # A message that came while its run was withheld wrote no status.
            promise.untold = promise.untold or bool(withheld & expected.counts.known.keys())
            promise.seen["rolled back"] += 1
            promise.seen["withheld"] += expected.withheld_facts

    def reapply(self, lineage: str, fault: Fault | None = None) -> None:
        """Everything counts again."""
        promise, expected, fault = self._promise, self._promise.expected[lineage], fault or Fault()
        if lineage in promise.closed():
            return

        def act(site: Site) -> None:
            with self._world.compactor("unused") as machine:
                mapping = promise.mappings[expected.mapping]
                around = replace(machine._around, store=site.store, mapping=mapping, status=promise.told)
                reapply(lineage_surroundings(around, lineage), site.workspace, lineage)

        try:
            moved = self._mend(lineage, act, fault)
        except BadInput:
            if not self._unreadable(lineage):
                raise
            promise.seen["reapply refused"] += 1
            return
        if moved:
            expected.reapply()
            promise.seen["reapplied"] += 1
            promise.untold = promise.untold or promise.told.away or type(fault) is not Fault
        elif type(fault) is Fault:
            assert not expected.withheld_facts, "nothing was reapplied"

    def _unreadable(self, lineage: str) -> set[str]:
        """Return the addresses of withheld runs whose deltas are not there, or spoiled."""
        expected = self._promise.expected[lineage]
        found = {begins(record, expected.collection) for record in expected.withheld.taken.values()}
        return {each for each in found if each is not None and self._promise.conditions.get(each) != "sound"}

    def _mend(self, lineage: str, act: Callable[[Site], None], fault: Fault) -> bool:
        """Let somebody with a workspace of their own act; return whether the lineage has a new version."""
        world, before = self._world, self._world.version(lineage)
        with suppress(Crash), self._mending(fault), self._own(lineage) as local:
            act(Site(lineage, fault.store(world.store), world.mirror, local, SYSTEM_CLOCK, "test"))
        return world.version(lineage) != before

    @contextmanager
    def _mending(self, fault: Fault) -> Iterator[None]:
        self._promise.is_mending = True
        try:
            with fault.around():
                yield
        except Crash:
            self._promise.seen["died mending"] += 1
            raise
        finally:
            self._promise.is_mending = False

    @contextmanager
    def _own(self, lineage: str) -> Iterator[Workspace]:
        """Own a workspace until somebody is done with it, or dies."""
        local = Workspace.open(self._world.home / "mending" / lineage)
        try:
            yield local
        except Crash:
            os.close(local._lock)  # nothing is cleaned up
            raise
        except BaseException:
            local.close()
            raise
        local.close()

    # In step with the table

    def change_mapping(self, mapping: str, fault: Fault | None = None) -> None:
        """Another mapping comes into force by a resync of each collection; or what was begun of it goes on.

        Runs and removals are delivered first, as far as they can be: of those the ledger alone tells what was done.
        And the deltas of merged runs are there: they say what keys hold that are no rule's any more.
        """
        promise, fault = self._promise, fault or Fault()
        if promise.flat or promise.closed() or promise.is_delivering:
            return
        old = [name for name, each in promise.expected.items() if each.mapping != mapping]
        if not old:
            self._deploy(mapping)
            return
        self._get_ready(mapping)
        withheld = any(promise.expected[name].withheld_facts for name in old)
        try:
            for collection in dict.fromkeys(promise.expected[name].collection for name in old):
                with self._mending(fault):
                    self._resync(collection, mapping, fault)
        except Crash:
            promise.seen["died changing the mapping"] += 1
        except LifecycleError as problem:
            if type(fault) is Fault and not (withheld and "a rollback withholds" in problem.message):
                raise
            promise.seen["mapping refused"] += 1
        if all(each.mapping == mapping for each in promise.expected.values()):
            self._deploy(mapping)
        promise.look()

    def _get_ready(self, mapping: str) -> None:
        promise = self._promise
        for each in promise.expected.values():
            for key in each.counts.known:
                if key[0] == "run" and promise.conditions.get(key[3], "sound") != "sound":
                    promise.put_delta(key[3], "sound")
        promise.deliver([record for record in promise.owed.values() if not is_field(record)])
        with promise.under(mapping):  # where it stopped half-way
            promise.deliver([record for record in promise.owed.values() if not is_field(record)], container="w4")

    def _deploy(self, mapping: str) -> None:
        """The function gets the mapping; one container is still to hear of it."""
        if self._promise.mapping != mapping:
            self._promise.mapping = mapping
            self._promise.seen[f"mapping {mapping}"] += 1
            self._promise.stop_all(but="w2")

    def resync(self) -> None:
        """What the stream forgot is read from the table; then nothing differs, and the statuses are written."""
        promise = self._promise
        for collection in COLLECTIONS:
            self._resync(collection, promise.mapping, Fault())
        promise.look()
        require_same(promise.expected_records(), self._world.everything())
        for collection in COLLECTIONS:
            for done in self._resync(collection, promise.mapping, Fault()):
                found = done.differences
                differ = found.missing, found.stale, found.withdrawn, found.withheld, found.missed, found.orphaned
                assert ([],) * 6 == differ, f"{collection} still differs from the table"
        promise.seen["resynced"] += 1

    def _resync(self, collection: str, mapping: str, fault: Fault) -> list[Resynced]:
        """Bring what is of a collection to a reading of the table; note what was published, whatever befell."""
        promise, world = self._promise, self._world
        promise.table.idle += 10
        promise.table.put("READ", "nobody's")  # the model knows a reading by the newest write before it
        newest, items = promise.table.sequence, dict(promise.table.items)
        scan = Scan(images(promise.table), promise.table.now)
        before = {name: world.version(name) for name, each in promise.expected.items() if each.collection == collection}
        try:
            with world.compactor("unused", store=fault.store(world.store)) as machine:
                around = replace(machine._around, mapping=promise.mappings[mapping], status=promise.told)
                if [collection] != world.lineages(collection):
                    return [done for _, done in resync_shards(around, self._own, collection, scan, dry_run=False)]
                with self._own(collection) as local:
                    return [resync(around, local, collection, scan, dry_run=False)]
        finally:
            for name, version in before.items():
                if world.version(name) != version:
                    promise.expected[name].resync(items, newest, mapping, promise.pool)
            promise.table.idle += 10
