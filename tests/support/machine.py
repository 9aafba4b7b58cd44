"""The promise as a state machine: Hypothesis writes to a table, delivers, kills and meddles; the models watch."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.model.expected import COLLECTIONS, StreamRecord
from tests.model.histories import _KINDS, IMAGES, LINES, RECEIPTS, WORDS, deltas, kinds
from tests.support.envelopes import ENVELOPES, Body
from tests.support.faults import (
    STEPS,
    CallFails,
    CollectionFails,
    ComesAtSwap,
    DiesAtCall,
    DiesAtStep,
    DiesAtSwap,
    Fault,
    SomebodyComes,
    StepFails,
    SwapFails,
)
from tests.support.operators import Operators
from tests.support.promise import CONDITIONS, MAPPINGS, Promise
from tests.support.sharded import ShardedWorld
from tests.support.table import Table
from tests.support.watching import whole_store
from tests.support.world import World

UNREADABLE = ("", "{", "[]", '{"detail-type": "x"}')
FOREIGN = Table().put("SHOP#1", "ORDER#1")
TAILS = ("", *(f"#{line}{tail}" for line in LINES for tail in ("", *(f"#{word}" for word in WORDS))))
"""Of every item whose removal deletes records."""
CALLS, CHANGES = 16, 60
"""About as many calls of the store, and changes of the disk, as a batch of both collections makes."""
NUMBER = st.one_of(st.integers(1, 8), st.integers(1, CALLS))
"""Of a call that is mostly made: for what is new in both collections a warm container makes ten, a cold one twenty."""
MEMORY = Path("/dev/shm")
"""Where there is one, worlds are in memory: each brings its files to the disk some hundred times."""
RECEIPT = st.tuples(st.sampled_from(IMAGES), st.sampled_from(RECEIPTS))
LINEAGE = st.integers(0, 3)
"""Which lineage something is about, by its number among those in force."""


class PromiseMachine(RuleBasedStateMachine):
    """Nothing is lost and nothing is added, whatever happens.

    For any writes to the table, and any order, batching, repetition and envelope of their stream
    records, with crashes before and after any call of the store and any change of the disk, calls
    that fail, swaps that lose their answer or lie about it, other writers between compare and write,
    warm, cold and new containers, mirrors that are lost, stale or damaged, deltas that are missing or
    spoiled for a while, a table that does not take a run's status, versions that expire and are swept
    without any grace, rollbacks and their end, new bases, a mapping that changes and changes back, and
    changes that the stream forgets:

    - the published records of each collection equal at every moment those of a model that sorts
      what was published and is not withheld by sequence and replays it, under the mapping in force;
      ledger and records agree;
    - every message comes to one end: applied, no-op, ignored or failed, as the model says, and
      what was answered for is in a published version, or does nothing;
    - a batch that moves no fact publishes nothing;
    - HEAD's chain is unbroken, and all that it retains is there; after a sweep nothing else is;
    - when the queue is empty and all counts again, the records equal those of the model that replays
      the whole stream, once a resync has read from the table what the stream forgot; then nothing differs,
      every run that was merged says so in the table, and the mirror equals the store.
    """

    begun: ClassVar[Path]
    """A world that has begun; each example works on a copy."""
    seen: ClassVar[Counter[str]] = Counter()
    """What really happened in all examples so far."""
    world: ClassVar[type[World]] = World
    writers: ClassVar[Sequence[str]] = ("compact", "compact", "pin", "rebase", "expire", "rollback")
    """What another writer may do; and reapply, where something is withheld."""

    def __init__(self) -> None:
        super().__init__()
        self._place = Path(tempfile.mkdtemp(prefix="promise-", dir=MEMORY if MEMORY.is_dir() else None))
        self._mirrors: list[Path] = []

    @initialize(
        data=st.data(),
        pool=deltas(),
        missing=st.sets(st.sampled_from(["a1/words", "b1/lines", "a2/lines", "b2/words"]), max_size=2),
        flat=st.sampled_from([False, False, False, True]),
        hot=RECEIPT,
    )
    def begin(
        self, data: st.DataObject, pool: dict[str, Any], missing: set[str], flat: bool, hot: tuple[str, str]
    ) -> None:
        type(self).seen["schedules"] += 1
        self._hot = hot
        home = Path(shutil.copytree(self.begun, self._place / "world"))
        self.promise = Promise(self.world(home), pool, flat=flat)
        self.promise.look()  # somebody may go back to the first version
        self.others = Operators(self.promise)
        for image in IMAGES:
            for receipt in RECEIPTS:
                for tail in TAILS:
                    self.promise.table.put(image, receipt + tail, text="x")  # long before the stream began
        for address in missing:
            self.promise.put_delta(address, "missing")
        self.write(data, 10)

    def teardown(self) -> None:
        try:
            if hasattr(self, "promise"):
                self.promise.end()
                self.promise.seen["status refused"] += self.promise.told.refused
                type(self).seen.update(self.promise.seen)
                type(self).seen.update(f"event {kind}" for kind in kinds(self.promise.history))
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    # The table and its deltas

    @rule(data=st.data(), count=st.integers(3, 10))
    def write(self, data: st.DataObject, count: int) -> None:
        """Items of every rule are inserted, modified and removed; half of them are of one receipt."""
        for _ in range(count):
            kind = data.draw(st.sampled_from(["run", "run", "place", "label", "label", "entity"]))
            image, receipt = data.draw(st.one_of(st.just(self._hot), RECEIPT))
            self.promise.write(_KINDS[kind](data.draw, self.promise.table, image, receipt))

    @rule(image=st.sampled_from(IMAGES), receipt=st.sampled_from(RECEIPTS))
    def write_what_is_refused(self, image: str, receipt: str) -> None:
        """A place holds a value that no record can take."""
        self.promise.write(self.promise.table.put(image, f"{receipt}#PLACE", merchant_name=["a", "list"]))

    @rule(data=st.data(), condition=st.sampled_from(CONDITIONS))
    def spoil_or_mend(self, data: st.DataObject, condition: str) -> None:
        """A delta is missing, cannot be read, has another dimension, or is as it was announced; and a run names it."""
        address = data.draw(st.sampled_from(sorted(self.promise.pool)))
        self.promise.put_delta(address, condition)
        image, collection = f"IMAGE#{address[0]}", address.partition("/")[2]
        values = {f"{collection}_delta_prefix": address, f"{collection}_state": "PENDING"}
        self.promise.write(self.promise.table.put(image, f"{self._hot[1]}#COMPACTION_RUN#r3", **values))

    def _news(self, data: st.DataObject, image: str | None = None) -> StreamRecord:
        """A place is written, of which both collections take something: what is delivered then is not in vain."""
        receipt = data.draw(st.sampled_from(RECEIPTS))
        written = self.promise.table.put(image or self._hot[0], f"{receipt}#PLACE", merchant_name="new")
        self.promise.write(written)
        return written

    # Deliveries

    def _batch(self, data: st.DataObject, *news: StreamRecord) -> list[Body]:
        """Any subset of what is owed, in any order, some of it twice, and what was answered for long ago, or undone.

        All *news* are there.
        """
        owed = list(self.promise.owed.values())
        old = [record for record in self.promise.history if record["eventID"] not in self.promise.lost]
        chosen: list[Body] = [*news]
        if owed:
            chosen += data.draw(st.lists(st.sampled_from(owed), min_size=min(3, len(owed)), max_size=12, unique_by=_id))
            chosen += data.draw(st.lists(st.sampled_from(chosen), max_size=2))
        if old:
            chosen += data.draw(st.lists(st.sampled_from(old), max_size=4))
        if undone := [record for record in old if self.promise.is_withheld(record)]:
            chosen += data.draw(st.lists(st.sampled_from(undone), min_size=1, max_size=4))
        chosen += data.draw(st.lists(st.sampled_from([FOREIGN, *UNREADABLE]), max_size=1))
        return data.draw(st.permutations(chosen)) if chosen else []

    def _deliver(
        self, data: st.DataObject, fault: Fault, container: str = "workspace", news: Sequence[StreamRecord] = ()
    ) -> None:
        envelope = data.draw(st.sampled_from(sorted(ENVELOPES)))
        self.promise.deliver(self._batch(data, *news), envelope=envelope, fault=fault, container=container)

    @rule(data=st.data(), container=st.sampled_from(["workspace", "workspace", "w2"]))
    def deliver(self, data: st.DataObject, container: str) -> None:
        self._deliver(data, Fault(), container)

    @rule()
    def deliver_everything(self) -> None:
        if self.promise.owed:
            self.promise.deliver(list(self.promise.owed.values()))

    @rule(data=st.data(), number=NUMBER, after=st.booleans())
    def die_at_a_call_of_the_store(self, data: st.DataObject, number: int, after: bool) -> None:
        self._deliver(data, DiesAtCall(number, after), news=[self._news(data)])

    @rule(
        data=st.data(),
        which=LINEAGE,
        after=st.booleans(),
        what=st.sampled_from(["dies", "hears no", "nothing"]),
    )
    def something_happens_at_the_swap(self, data: st.DataObject, which: int, after: bool, what: str) -> None:
        """The one moment that decides: a HEAD that names what is not there yet would show."""
        self._news(data)
        name = self._concerned(which)
        fault = DiesAtSwap(name, after) if what == "dies" else SwapFails(name, after, what == "hears no")
        self.promise.deliver(list(self.promise.owed.values()), fault=fault)

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data(), number=st.integers(1, CHANGES), after=st.booleans())
    def die_at_a_change_of_the_disk(self, data: st.DataObject, number: int, after: bool) -> None:
        self._deliver(data, DiesAtStep(number, after))

    @rule(data=st.data(), number=NUMBER, after=st.booleans(), refused=st.booleans())
    def a_call_fails(self, data: st.DataObject, number: int, after: bool, refused: bool) -> None:
        self._deliver(data, CallFails(number, after, refused), news=[self._news(data)])

    @precondition(lambda self: self.promise.owed)
    @rule(which=LINEAGE)
    def one_collection_fails(self, which: int) -> None:
        self.promise.deliver(list(self.promise.owed.values()), fault=CollectionFails(self._concerned(which)))

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data(), step=st.sampled_from(sorted(STEPS)))
    def a_step_fails(self, data: st.DataObject, step: str) -> None:
        self._deliver(data, StepFails(step))

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data())
    def the_table_takes_no_status(self, data: st.DataObject) -> None:
        self.promise.told.away = True
        try:
            self._deliver(data, Fault())
        finally:
            self.promise.told.away = False

    @precondition(lambda self: not self.promise.flat)
    @rule(data=st.data())
    def the_stream_forgets(self, data: st.DataObject) -> None:
        """Labels and places that nobody read within a day; a resync finds them in the table in the end."""
        if unheard := self.promise.unheard():
            self.promise.forget(data.draw(st.lists(st.sampled_from(unheard), min_size=1, max_size=2, unique_by=_id)))

    # Other writers

    def _lineage(self, which: int) -> str:
        """Return one of the lineages in force that can hold something."""
        there = [name for name, each in self.promise.expected.items() if any(map(each.owns, IMAGES))]
        return there[which % len(there)]

    def _concerned(self, which: int) -> str:
        """Return one of the lineages that get a version when all is delivered that is owed; if none does, any."""
        there = self.promise.concerned()
        return there[which % len(there)] if there else self._lineage(which)

    def _image(self, lineage: str) -> str:
        """Return an image of which a lineage holds what there is."""
        return next(filter(self.promise.expected[lineage].owns, IMAGES))

    def _somebody(self, data: st.DataObject, lineage: str, batch: list[Body]) -> Any:
        """Return what another writer does; whoever compacts has that batch."""
        mending = ["reapply"] * 3 if self.promise.expected[lineage].withheld_facts else []
        what = data.draw(st.sampled_from([*self.writers, *mending]))
        if what == "compact":
            envelope = data.draw(st.sampled_from(sorted(ENVELOPES)))
            act: Callable[[], object] = partial(self.promise.deliver, batch, envelope=envelope, container="w3")
        elif what == "expire":
            act = partial(self._expire_and_sweep, lineage, data.draw(st.integers(1, 3)))
        elif what == "rollback":
            act = partial(self.others.rollback, lineage, data.draw(st.integers(0, 8)))
        elif what == "cut":
            act = self._cutting(data, self.promise.expected[lineage].collection, Fault())
        else:
            act = partial(getattr(self.others, what), lineage)
        return partial(self.promise.somebody_else, what, act)

    @rule(data=st.data(), which=LINEAGE, same=st.booleans())
    def somebody_is_quicker(self, data: st.DataObject, which: int, same: bool) -> None:
        """Another writer comes between our comparing and our writing, with the *same* batch or something newer."""
        self._news(data)
        lineage, owed = self._concerned(which), list(self.promise.owed.values())
        batch = owed if same else self._batch(data, self._news(data, self._image(lineage)))
        self.promise.deliver(owed, fault=ComesAtSwap(lineage, self._somebody(data, lineage, batch)))

    @rule(data=st.data(), which=LINEAGE, number=NUMBER, after=st.booleans())
    def somebody_comes(self, data: st.DataObject, which: int, number: int, after: bool) -> None:
        somebody = self._somebody(data, self._lineage(which), self._batch(data))
        self._deliver(data, SomebodyComes(number, after, somebody), news=[self._news(data)])

    @rule(which=LINEAGE, keep=st.integers(1, 4))
    def somebody_sweeps(self, which: int, keep: int) -> None:
        """Versions expire, and are swept."""
        self._expire_and_sweep(self._lineage(which), keep)
        self.promise.look()

    @rule(data=st.data(), which=LINEAGE, number=st.integers(0, 8), comes=st.sampled_from([True, True, False]))
    def somebody_goes_back(self, data: st.DataObject, which: int, number: int, comes: bool) -> None:
        """An older version is the newest again, unless somebody dies on the way; what is undone comes again."""
        self.others.rollback(self._lineage(which), number, self._death(data))
        self.promise.look()
        if comes:
            self._deliver(data, Fault())

    @rule(data=st.data(), which=LINEAGE)
    def somebody_goes_forward(self, data: st.DataObject, which: int) -> None:
        """All counts again, unless somebody dies on the way."""
        self.others.reapply(self._lineage(which), self._death(data))
        self.promise.look()

    def _death(self, data: st.DataObject) -> Fault | None:
        death = DiesAtCall(data.draw(st.integers(1, 10)), data.draw(st.booleans()))
        return data.draw(st.sampled_from([None, None, death]))

    @rule(which=LINEAGE)
    def rebase(self, which: int) -> None:
        self.promise.seen["rebased"] += self.others.rebase(self._lineage(which))
        self.promise.look()

    def _cutting(self, data: st.DataObject, collection: str, fault: Fault) -> Callable[[], None]:
        """Return what does the next step of a reshard, or begins one."""
        shards, tag = data.draw(st.sampled_from([1, 2, 3, 4])), data.draw(st.sampled_from([None, None, 100, 101]))
        return partial(self.promise.cuttings[collection].step, fault, shards, tag)

    def _expire_and_sweep(self, lineage: str, keep: int) -> None:
        self.others.expire(lineage, keep)
        self.others.sweep(lineage, keep)

    @precondition(lambda self: not self.promise.flat)
    @rule(data=st.data(), ready=st.sampled_from([True, True, False]))
    def the_mapping_changes(self, data: st.DataObject, ready: bool) -> None:
        """Another mapping comes into force, or the rest of what was begun; not while something is withheld."""
        death = DiesAtCall(data.draw(st.integers(1, 40)), data.draw(st.booleans()))
        failure = CallFails(data.draw(st.integers(1, 40)), data.draw(st.booleans()))
        fault = data.draw(st.sampled_from([None, None, death, failure]))
        if ready:
            for lineage in self.promise.expected:
                self.others.reapply(lineage)
        (other,) = {*MAPPINGS} - {self.promise.mapping}
        self.others.change_mapping(other, fault)
        if data.draw(st.booleans()):
            self._deliver(data, Fault(), "w2")  # which may have been started before

    # Containers and mirrors

    @rule(container=st.sampled_from(["workspace", "w2"]), lost=st.booleans())
    def begin_cold(self, container: str, lost: bool) -> None:
        """The next container finds the disk of the one before, or a new one."""
        self.promise.stop(container)
        if lost:
            shutil.rmtree(self.promise.world.home / container, ignore_errors=True)

    @rule(
        data=st.data(),
        which=LINEAGE,
        what=st.sampled_from(["lost", "stale", "damaged"]),
        comes=st.sampled_from([True, True, False]),
    )
    def something_happens_to_the_mirror(self, data: st.DataObject, which: int, what: str, comes: bool) -> None:
        """It is gone, it is replaced by a copy of what it was before, or a bit of it flips; then a cycle runs."""
        lineage, mirror = self._lineage(which), self.promise.world.home / "mirror"
        if what == "stale":
            self._mirrors.append(Path(shutil.copytree(mirror, self._place / f"mirror-{len(self._mirrors)}")))
            self._deliver(data, Fault(), news=[self._news(data, self._image(lineage))])
        before = self._mirrored()
        if what == "lost":
            shutil.rmtree(mirror / lineage, ignore_errors=True)
        elif what == "stale":
            shutil.rmtree(mirror)
            shutil.copytree(data.draw(st.sampled_from(self._mirrors)), mirror)
        else:
            self._damage(mirror / lineage, data.draw(st.integers(0, 1 << 20)), data.draw(st.integers(0, 1 << 20)))
        after = self._mirrored()
        self.promise.effects.befell_mirror("lost", (name for name in before if before[name] and not after[name]))
        if what != "lost":
            self.promise.effects.befell_mirror(what, (name for name in before if after[name] not in ({}, before[name])))
        if comes:
            self._deliver(data, Fault(), news=[self._news(data, self._image(lineage))])

    def _mirrored(self) -> dict[str, dict[str, bytes]]:
        """Return all files of each mirror."""
        mirror = self.promise.world.home / "mirror"
        return {name: whole_store(mirror / name) for name in self.promise.expected}

    def _damage(self, mirror: Path, number: int, place: int) -> None:
        files = sorted(path for path in mirror.rglob("*") if path.is_file() and path.stat().st_size)
        if files:
            path = files[number % len(files)]
            content = bytearray(path.read_bytes())
            content[place % len(content)] ^= 1
            path.write_bytes(bytes(content))


class ShardedMachine(PromiseMachine):
    """The same of collections in three shards, which are cut anew while all of that goes on.

    What else happens: a reshard to fewer shards or more, with other vectors or the same, each of its
    steps by a process that may end in it, between deliveries or in their middle, gone on with or undone.
    No reader of the layout sees anything of it: the records are those of the model that knows no shards.
    """

    world = ShardedWorld
    writers = (*PromiseMachine.writers, "cut", "cut")

    @rule(data=st.data(), collection=st.sampled_from(COLLECTIONS))
    def cut(self, data: st.DataObject, collection: str) -> None:
        """The next step of a reshard, whose process may end in it; or somebody compacts meanwhile."""
        number, after = data.draw(st.integers(1, 30)), data.draw(st.booleans())
        somebody = partial(self.promise.deliver, self._batch(data), container="w3")
        faults = [DiesAtCall(number, after), CallFails(number, after), SomebodyComes(number, after, somebody)]
        self._cutting(data, collection, data.draw(st.sampled_from([Fault(), Fault(), *faults])))()
        self.promise.look()

    @rule(data=st.data(), collection=st.sampled_from(COLLECTIONS))
    def cut_to_the_end(self, data: st.DataObject, collection: str) -> None:
        """All steps that are left, with changes between any two."""
        self._cutting(data, collection, Fault())()
        while self.promise.cuttings[collection].is_under_way:
            if data.draw(st.booleans()):
                self._deliver(data, Fault())
            self._cutting(data, collection, Fault())()
        self.promise.look()

    @precondition(lambda self: any(each.is_under_way for each in self.promise.cuttings.values()))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A reshard is undone."""
        there = [name for name, each in self.promise.cuttings.items() if each.is_under_way]
        self.promise.cuttings[data.draw(st.sampled_from(there))].give_up()
        self.promise.look()


def _id(record: StreamRecord) -> str:
    return str(record["eventID"])


def examples(most: int, *, steps: int = 14) -> settings:
    """Return settings under which the machine goes through *most* examples, those of the seed that it was given."""
    return settings(
        max_examples=most,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to shrink one takes minutes; the failing steps are printed as they are
        report_multiple_bugs=False,
        print_blob=True,  # which plays the failing schedule again, alone
        suppress_health_check=list(HealthCheck),
    )
