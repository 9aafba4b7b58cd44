"""The promise of the product under test: what is delivered in whatever way, and what must then be true.

It knows what every batch must come to (`tests.model.expected`), notes what was really published by
looking at HEAD, and compares records, ledger, history and answers with the models after each step.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.rules import MergeTarget
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.mirror import repair_mirror
from chroma_lifecycle.publishing.published import read_manifest
from chroma_lifecycle.publishing.shard import whole_of
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.report import Report
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import ItemKey
from tests.model.changed import NARROWER
from tests.model.cut import shard_of, sources
from tests.model.expected import (
    COLLECTIONS,
    Joined,
    Key,
    StreamRecord,
    begins,
    is_field,
    is_refused,
    sequence,
    worst,
)
from tests.model.flat import flat_messages
from tests.model.lineage import Expected
from tests.model.reference import Record
from tests.support.cutting import Cutting, tag_of
from tests.support.deltas import write_parquet
from tests.support.differences import require_same
from tests.support.effects import Effects
from tests.support.envelopes import ENVELOPES, Body, flat
from tests.support.faults import ComesAtSwap, Death, Fault, SomebodyComes
from tests.support.operators import Operators
from tests.support.table import Table
from tests.support.telling import ToldTable
from tests.support.watching import Crash
from tests.support.world import World, records_of, vector

MISSING = "no delta lies here"
CONDITIONS = ("sound", "missing", "corrupt", "other dimension")
"""What may be found at the address of a delta."""
MAPPINGS = {"receipts": None, "changed": NARROWER}
"""The rules of each mapping that may come into force."""


@dataclass
class Delivery:
    """A batch on its way.

    Attributes:
        messages: What the queue calls each, and the record; those that are no records are left out.
        mapping: Under which it is compacted.
        versions: Of each lineage that is not known to have taken the batch, when it set out.
        refusing: Lineages that take nothing of it: they are under another mapping, or closed.
        joined: What the batch comes to in each lineage, as far as we know.
    """

    messages: list[tuple[str, StreamRecord]]
    mapping: str
    versions: dict[str, int]
    refusing: set[str] = field(default_factory=set)
    joined: dict[str, Joined] = field(default_factory=dict)


@dataclass
class Promise:
    """A table, its stream, and containers that compact it; everything below `world`.

    Attributes:
        pool: What each delta holds, by address; none changes, ever.
        history: Every record of the stream, in order.
        owed: Records that were not answered for, by eventID; the queue holds them.
        lost: Records that the stream forgot before anybody read them, by eventID.
        untold: Whether runs count again whose items nobody but a resync tells how they ended.
        flat: Whether the table's changes come as an older producer tells them.
        mapping: The one that a new container is given.
        expected: What each lineage in force must be: a collection, or a shard of one.
        seen: What really happened, counted.
    """

    world: World
    pool: dict[str, dict[str, Record]]
    table: Table = field(default_factory=Table)
    history: list[StreamRecord] = field(default_factory=list)
    owed: dict[str, StreamRecord] = field(default_factory=dict)
    lost: dict[str, StreamRecord] = field(default_factory=dict)
    untold: bool = False
    flat: bool = False
    mapping: str = "receipts"
    expected: dict[str, Expected] = field(default_factory=dict)
    conditions: dict[str, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.told = ToldTable(self.table, on_completed=self._expect_published)
        self.effects = Effects(self.pool, self.seen)
        self._machines: dict[str, Compactor] = {}
        self._looked_at: dict[str, str] = {}
        self.mappings = {name: self.world.mapping_of(rules) for name, rules in MAPPINGS.items()}
        self.cuttings = {name: Cutting(self, name) for name in COLLECTIONS if self.world.lineages(name) != [name]}
        self._generations = dict.fromkeys(COLLECTIONS, 1)
        for collection in COLLECTIONS:
            names = self.world.lineages(collection)
            self.expected |= {
                name: Expected(collection, _owner(number, len(names))) for number, name in enumerate(names)
            }
        for address in self.pool:
            self.put_delta(address, "sound")

    # The table and the deltas

    def write(self, *records: StreamRecord) -> None:
        """Something was written to the table; the stream has it, and the queue."""
        for record in records:
            self.history.append(record)
            if not self.flat or flat_messages(record, whole=True):
                self.owed[record["eventID"]] = record

    def unheard(self) -> list[StreamRecord]:
        """Return what no version has of labels and places: all that a reading of the table can tell later."""
        taken = {id_ for each in self.expected.values() for id_ in (*each.counts.taken, *each.withheld.taken)}
        return [record for id_, record in self.owed.items() if id_ not in taken and is_field(record)]

    def concerned(self) -> list[str]:
        """Return the lineages to which something is owed that they can take now."""
        refusing = self._refusing(self.mapping)
        return [name for name, each in self.expected.items() if name not in refusing and self._can_take(each)]

    def _can_take(self, expected: Expected) -> bool:
        can = (each for each in self.owed.values() if not self.fails(each, expected.collection))
        return any(not expected.holds(each) for each in can)

    def is_withheld(self, record: StreamRecord) -> bool:
        """Return whether *record* was received, and a rollback took it back."""
        return any(record["eventID"] in each.withheld.taken for each in self.expected.values())

    def forget(self, records: Iterable[StreamRecord]) -> None:
        """The stream's day is over: nobody will ever see these."""
        for record in records:
            self.lost[record["eventID"]] = self.owed.pop(record["eventID"])
            self.seen["forgotten"] += 1

    def put_delta(self, address: str, condition: str) -> None:
        """Let there be at *address* what a producer wrote, or nothing, or what is no delta any more."""
        path = self.world.home / "deltas" / address / "part.parquet"
        rows = [
            {"id": id_, "embedding": vector(tag), "document": document, "metadata": metadata}
            for id_, (tag, document, metadata) in self.pool[address].items()
        ]
        shutil.rmtree(path.parent, ignore_errors=True)
        if condition != "missing":
            if condition == "other dimension":
                rows = rows or [{"id": "IMAGE#a#RECEIPT#00001#LINE#00001", "document": None, "metadata": {}}]
                rows = [row | {"embedding": [1.0, 2.0]} for row in rows]
            write_parquet(path, rows)
            if condition == "corrupt":
                path.write_bytes(path.read_bytes()[:-9])
        self.conditions[address] = condition

    def fails(self, record: StreamRecord, collection: str) -> bool:
        """Return whether *record* cannot become a fact of *collection* as things are now."""
        if is_refused(record):
            return True
        address = begins(record, collection)
        return address is not None and self.conditions.get(address, "missing") != "sound"

    # Deliveries

    def deliver(
        self,
        bodies: Sequence[Body],
        *,
        envelope: str = "queue",
        fault: Fault | None = None,
        container: str = "workspace",
    ) -> Report | None:
        """Hand a batch to a container and settle what came of it; ``None`` if the container died or raised."""
        fault = fault or Fault()
        envelope = "flat" if self.flat else envelope
        event, packed = (flat if self.flat else ENVELOPES[envelope])(bodies)
        if not packed:
            return None
        messages = [(name, body) for name, body in packed if isinstance(body, dict)]
        if late := self._is_late(messages):
            self.seen["late"] += late
        self.seen[f"envelope {envelope}"] += 1
        mapping = self._mapping_of(container)
        delivery = Delivery(messages, mapping, {name: self.world.version(name) for name in self.expected})
        delivery.refusing = self._refusing(mapping)
        self._under_way.append(delivery)
        report = None
        try:
            report = self._compact(event, fault, container)
        finally:
            self._under_way.pop()
            self._settle(delivery)
        if mapping != self.mapping:
            self.seen["old mapping"] += 1
            self.stop(container)
        exact = type(fault) is Fault and not self.told.away
        self._answered(delivery, {name for name, _ in packed}, report, exact=exact)
        self.look()
        return report

    _under_way: list[Delivery] = field(default_factory=list)
    is_mending: bool = False

    def _compact(self, event: Any, fault: Fault, container: str) -> Report | None:
        kind = type(fault).__name__
        try:
            with fault.around():
                machine = self._machine(container, fault)
                report = machine.compact(event)
        except Crash:
            assert isinstance(fault, Death)
            self.seen[f"died {kind}"] += 1
            self.seen[f"died {kind}, {'after' if fault.after else 'before'}"] += 1
            self._bury(container)
            return None
        except LifecycleError as problem:
            self.seen[f"raised {type(problem).__name__}"] += 1
            return None
        else:
            self.seen["answered"] += 1
            if isinstance(fault, SomebodyComes | ComesAtSwap) and any(each.attempts > 1 for each in report.collections):
                self.seen["swap lost"] += 1
            self.effects.mirrored(report.collections)
            if {failure.collection for failure in report.failures} - {None} and report.collections:
                failed = {f.collection for f in report.failures if f.collection}
                if len(failed) == 1 and failed.isdisjoint(each.collection for each in report.collections):
                    self.seen["one collection failed"] += 1
            return report
        finally:
            self.seen[f"came to pass: {kind}"] += fault.struck

    def _machine(self, container: str, fault: Fault) -> Compactor:
        machine = self._machines.get(container)
        if machine is None:
            self.seen["restarted"] += any(self.world.home.glob(f"{container}/*"))
            machine = self._machines[container] = self.world.compactor(container)
            machine._around = replace(machine._around, mapping=self.mappings[self.mapping])
            self.seen["cold"] += 1
        else:
            self.seen["warm"] += 1
        machine._around = replace(machine._around, store=fault.store(self.world.store), status=self.told)
        machine._shards._around = machine._around
        return machine

    def _mapping_of(self, container: str) -> str:
        """Return the mapping of a container: that of its start."""
        if (machine := self._machines.get(container)) is None:
            return self.mapping
        return next(name for name, each in self.mappings.items() if each.digest == machine._around.mapping.digest)

    def _refusing(self, mapping: str) -> set[str]:
        return {name for name, each in self.expected.items() if each.mapping != mapping} | self.closed()

    @contextmanager
    def under(self, mapping: str) -> Iterator[None]:
        """Let containers that start meanwhile have another mapping."""
        before, self.mapping = self.mapping, mapping
        try:
            yield
        finally:
            self.mapping = before

    def closed(self) -> set[str]:
        """Return the lineages that take nothing: those that come are about to be put in force."""
        return {name for name in self.expected if self._head(name).closed_for is not None}

    def _bury(self, container: str) -> None:
        """The container's process is gone, and the system has given up its locks."""
        machine = self._machines.pop(container, None)
        for workspace in machine._workspaces.values() if machine else ():
            os.close(workspace._lock)

    def stop(self, container: str) -> None:
        """The container ends in peace."""
        if machine := self._machines.pop(container, None):
            machine.close()

    def stop_all(self, *, but: str | None = None) -> None:
        for container in list(self._machines):
            if container != but:
                self.stop(container)

    @property
    def is_delivering(self) -> bool:
        """Whether a container is at work, in whose middle somebody else acts."""
        return bool(self._under_way)

    # What came of it

    def _settle(self, delivery: Delivery) -> None:
        """Look at HEAD: what was published counts from now on."""
        for name, before in list(delivery.versions.items()):
            expected = self.expected[name]
            if name in delivery.refusing:
                found = expected.refuse(delivery.messages, delivery.mapping)
            else:
                found = expected.join(delivery.messages, self.fails)
            delivery.joined[name] = found
            if self.world.version(name) != before:
                assert found.moved, f"version {before + 1} of {name} was published for a batch that moves no fact"
                if any(key[0] == "run" for key in found.moved):
                    self.effects.merging(name, found.moved, expected.rows(self.pool))
                expected.keep(found)
                del delivery.versions[name]

    def somebody_else(self, what: str, act: Callable[[], object]) -> None:
        """Run *act* in the middle of a delivery, and keep apart what each of both published."""
        for delivery in self._under_way:
            self._settle(delivery)
        before = self._heads()
        act()
        # A step of a reshard moves HEADs that are not in force yet.
        self.seen[f"other writer: {what}"] += what == "cut" or before != self._heads()
        for delivery in self._under_way:
            left = [name for name in self.expected if name in delivery.versions or name not in delivery.joined]
            delivery.versions = {name: self.world.version(name) for name in left}
            delivery.refusing = self._refusing(delivery.mapping)

    def _heads(self) -> dict[str, str]:
        """Return what tells of each HEAD in force whether it was moved."""
        return {name: self._head(name).swap_id for name in self.expected}

    def _head(self, lineage: str) -> Head:
        return read_head(self.world.store, lineage).head

    def follow(self) -> bool:
        """Look which shards are in force: what each collection must be is theirs now; return whether they are new."""
        is_new = False
        for collection, known in self._generations.items():
            if (layout := self.world.layout_of(collection)) is None or layout.generation == known:
                continue
            before = [self.expected.pop(name) for name in list(self.expected) if whole_of(name) == collection]
            for number, shard in enumerate(layout.shards):
                owns = _owner(number, len(layout.shards))
                old = (before[each] for each in sources(number, len(layout.shards), len(before)))
                self.expected[shard.name] = reduce(Expected.and_also, (each.portion(owns) for each in old))
                if layout.vectors:
                    self.expected[shard.name].embed(tag_of(layout.vectors), self.pool)
            self._generations[collection] = layout.generation
            self.seen[f"shards of {collection}: {len(layout.shards)}"] += 1
            self.seen["reembedded" if layout.vectors else "resharded"] += 1
            is_new = True
        return is_new

    def _answered(
        self,
        delivery: Delivery,
        names: set[str],
        report: Report | None,
        *,
        exact: bool,
    ) -> None:
        for record in self.told.written:
            self.seen["status write"] += 1
            self.write(record)
        self.told.written.clear()
        if report is None:
            return
        assert len(names) == report.received
        assert report.received == report.applied + report.no_op + report.ignored + report.failed, "D6"
        failed = set(report.failed_sources())
        assert names - {name for name, _ in delivery.messages} <= failed, "what cannot be read was answered for"
        outcomes = {
            name: worst("ignored", *(each.outcomes.get(name) for each in delivery.joined.values()))
            for name, _ in delivery.messages
        }
        told = {name: str(report.outcomes.get(name, "ignored")) for name, _ in delivery.messages}
        self.effects.answered(delivery.messages, told, self._is_overtaken)
        kept = {record["eventID"] for name, record in delivery.messages if name in failed}
        for name, record in delivery.messages:
            if name not in failed:
                for lineage, expected in self.expected.items():
                    assert expected.holds(record), f"{name} was answered for early in {lineage}"
                if record["eventID"] not in kept:
                    self.owed.pop(record["eventID"], None)
        if again := kept - self.owed.keys():  # a duplicate that fails is handed out again like any other message
            self.owed |= {each["eventID"]: each for each in self.history if each["eventID"] in again}
        if exact:
            differ = {name: (outcomes[name], told[name]) for name in told if outcomes[name] != told[name]}
            assert not differ, f"expected, and told: {differ}"
            for collection, found in delivery.joined.items():
                assert (collection in delivery.versions) != bool(found.moved), f"{collection}: {found.moved}"
            self.seen.update(f"outcome {outcome}" for outcome in told.values())
            self._note_failures([record for name, record in delivery.messages if told[name] == "failed"])

    def _note_failures(self, records: Iterable[StreamRecord]) -> None:
        """What failed did so for what its delta or its place was."""
        for record in records:
            self.seen["refused value"] += is_refused(record)
            for expected in self.expected.values():
                address = expected.moves(record) and begins(record, expected.collection)
                if address is not None and (condition := self.conditions.get(address, "missing")) != "sound":
                    self.seen[f"delta {condition}"] += 1

    def _is_overtaken(self, record: StreamRecord) -> bool:
        """Return whether something newer counts of what *record* tells of."""
        keys = ((each, each.moves(record)) for each in self.expected.values())
        return any(key is not None and each.counts.known.get(key, 0) > sequence(record) for each, key in keys)

    def _is_late(self, messages: list[tuple[str, StreamRecord]]) -> int:
        """Count the runs that come after a removal or a label of their own partition that is newer."""
        return sum(
            1
            for _, record in messages
            for expected in self.expected.values()
            if begins(record, expected.collection)
            and any(
                key[1] == record["dynamodb"]["Keys"]["PK"]["S"] and position > int(record["dynamodb"]["SequenceNumber"])
                for key, position in expected.counts.known.items()
            )
            and not expected.holds(record)
        )

    # What must be true

    def look(self) -> None:
        """Compare each lineage that has a new version with the models."""
        for lineage, expected in self.expected.items():
            head = self._head(lineage)
            if self._looked_at.get(lineage) == head.swap_id:
                continue
            self._looked_at[lineage] = head.swap_id
            self._compare(lineage)
            expected.note(head.version.number)
            self.look_at_history(lineage)

    def _compare(self, lineage: str) -> None:
        store = self.world.store
        expected = self.expected[lineage]
        manifest = self.world.published(lineage).manifest
        assert self.mappings[expected.mapping].digest == (manifest.details.mapping or self.mappings["receipts"].digest)
        with files_of(manifest, Stores(store)) as files:
            records = records_of(manifest, files, lineage)
            with Ledger.open(files / "ledger.sqlite3", read_only=True) as ledger:
                assert sorted(records) == list(ledger.record_ids()), "ledger and records disagree"
                counts = ledger.counts()
                assert expected.facts == counts["facts"], "the ledger holds other facts"
                assert (counts["withheld"], expected.barred) == _withheld(ledger), "other facts are withheld"
                told = manifest.details.counts
                assert counts == {"records": told.records, "facts": told.facts, "withheld": told.withheld}
        require_same({lineage: expected.records(self.pool)}, {lineage: records})
        self.effects.published(lineage, partial(expected.rows, self.pool), records)
        self.seen["compared"] += 1

    def look_at_history(self, lineage: str) -> set[str]:
        """HEAD's chain is unbroken, and nothing that it reaches is gone; return what that is."""
        store, head = self.world.store, self.world.published(lineage).head
        history = list(walk(store, head))
        numbers = [ref.version.number for ref, _ in history]
        assert list(range(head.version.number, head.floor.number - 1, -1)) == numbers
        named = {ref.name for ref, _ in history}
        beside = [read_manifest(store, ref) for ref in head.beside]
        named |= {ref.name for ref in head.beside}
        for manifest in (*beside, *(manifest for _, manifest in history)):
            named |= {part.object for part in manifest.chain.base.parts}
            named |= {pack.carrier for pack in manifest.chain.packs}
        assert named == store.present(named), "something that is retained is gone"
        return named

    # The end

    def drain(self) -> None:
        """The queue hands out what is owed until nothing is left but what can never succeed."""
        for _ in range(6):
            before = set(self.owed)
            if not before:
                break
            self.deliver(list(self.owed.values()))
            if before == set(self.owed):
                break
        for record in self.owed.values():
            ends = [each.moves(record) and self.fails(record, each.collection) for each in self.expected.values()]
            assert any(ends), "it should have ended"

    def end(self) -> None:
        """Everything is delivered and counts: records equal those of the model that replays the stream."""
        everybody = Operators(self)
        self.told.away = False
        for address, condition in list(self.conditions.items()):
            if condition != "sound":
                self.put_delta(address, "sound")
        shut = {self.expected[name].collection for name in self.closed()}
        # What is closed first, since it takes no mapping; the others' shards are brought to one before they are cut.
        for name in sorted(self.cuttings, key=lambda each: each not in shut):
            if not self.closed():
                self._settle_mapping(everybody)
            elif len({each.mapping for each in self.expected.values() if each.collection == name}) > 1:
                # As the refusal says: closed shards of two mappings take neither.
                self.cuttings[name].give_up()
            self.cuttings[name].end()
        self._settle_mapping(everybody)
        self.drain()
        for lineage in self.expected:
            everybody.reapply(lineage)
        self.look()
        heard = [record for record in self.history if record["eventID"] not in self.lost and not is_refused(record)]
        require_same(self.expected_records(heard), self.world.everything())
        if self.lost or self.untold:
            everybody.resync()
        self._expect_statuses()
        self._expect_mirror()
        self.stop_all()
        for place in self.world.home.glob("w*/*"):
            Workspace.open(place).close()  # whoever needs it next makes room
            left = [path for path in place.glob("*-*") if not path.name.startswith("manifest")]
            assert not left, f"left in a workspace: {left}"

    def _settle_mapping(self, everybody: Operators) -> None:
        """Come to the end of a change of the mapping that was cut off."""
        if any(each.mapping != self.mapping for each in self.expected.values()):
            for lineage in self.expected:
                everybody.reapply(lineage)
            everybody.change_mapping(self.mapping)

    def expected_records(self, heard: Iterable[StreamRecord] | None = None) -> dict[str, dict[str, Record]]:
        """Return what the records of each collection must be; when all that was *heard* is published, if given."""
        found: dict[str, dict[str, Record]] = {name: {} for name in COLLECTIONS}
        for each in self.expected.values():
            of_all = None if heard is None else each.records_of_all(self.pool, heard)
            found[each.collection] |= each.records(self.pool) if of_all is None else of_all
        return found

    def _expect_published(self, item: ItemKey, target: MergeTarget, address: str) -> None:
        """The table is never ahead of the store."""
        if self._under_way and not self.is_mending:  # else a reapply or a resync writes
            self._settle(self._under_way[-1])  # the one whose container writes
        collection = target.state.partition("_")[0]
        key = ("run", item.partition, item.sort, address)
        there = [each for each in self.expected.values() if each.collection == collection]
        # Somebody may have gone back meanwhile.
        known = [key in each.counts.known or key in each.withheld.known for each in there]
        assert any(known), "a run was called completed before it was published"

    def _expect_statuses(self) -> None:
        for key, item in self.table.items.items():
            for expected in self.expected.values():
                address = item.get(f"{expected.collection}_delta_prefix")
                if address in self.pool and ("run", *key, address) in expected.counts.known:
                    assert "PENDING" != item[f"{expected.collection}_state"], (key, item)

    def _expect_mirror(self) -> None:
        """Whatever befell it, a repair makes it the store's equal."""
        for name in self.expected:
            repair_mirror(self.world.store, self.world.mirror, name, deadline=Deadline(), writer="test")
            assert self.world.published(name).manifest == self.world.published(name, self.world.mirror).manifest
        require_same(self.world.everything(), self.world.everything(self.world.mirror))


def _withheld(ledger: Ledger) -> tuple[int, set[Key]]:
    """Return how many facts are withheld, and of what."""
    held = ledger.withheld()
    fields = {("fields", item.partition, item.sort) for _, item in held.fields}
    tombstones = {("tombstone", item.partition, item.sort) for _, item in held.tombstones}
    return len(held), fields | tombstones | {("run", item.partition, item.sort, place) for item, place in held.runs}


def _owner(number: int, shards: int) -> Callable[[str], bool]:
    return lambda partition: shard_of(partition, shards) == number
