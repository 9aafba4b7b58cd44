"""The promise as a state machine: Hypothesis writes to a table, delivers, kills and meddles; the models watch."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
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
from tests.support.promise import CONDITIONS, Promise, copy_of
from tests.support.table import Table

UNREADABLE = ("", "{", "[]", '{"detail-type": "x"}')
FOREIGN = Table().put("SHOP#1", "ORDER#1")
TAILS = ("", *(f"#{line}{tail}" for line in LINES for tail in ("", *(f"#{word}" for word in WORDS))))
"""Of every item whose removal deletes records."""
CALLS, CHANGES = 16, 60
"""About as many calls of the store, and changes of the disk, as a batch of both collections makes."""


class PromiseMachine(RuleBasedStateMachine):
    """Nothing is lost and nothing is added, whatever happens.

    For any writes to the table, and any order, batching, repetition and envelope of their stream
    records, with crashes before and after any call of the store and any change of the disk, calls
    that fail, swaps that lose their answer or lie about it, other writers between compare and write,
    warm, cold and new containers, mirrors that are lost, stale or damaged, deltas that are missing or
    spoiled for a while, a table that does not take a run's status, versions that expire and are swept
    without any grace, rollbacks and their end, new bases, and changes that the stream forgets:

    - the published records of each collection equal at every moment those of a model that sorts
      what was published and is not withheld by sequence and replays it; ledger and records agree;
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

    def __init__(self) -> None:
        super().__init__()
        self._place = Path(tempfile.mkdtemp(prefix="promise-"))
        self._mirrors: list[Path] = []

    @initialize(
        data=st.data(),
        pool=deltas(),
        missing=st.sets(st.sampled_from(["a1/words", "b1/lines", "a2/lines", "b2/words"]), max_size=2),
        flat=st.sampled_from([False, False, False, True]),
    )
    def begin(self, data: st.DataObject, pool: dict[str, Any], missing: set[str], flat: bool) -> None:
        self.promise = Promise(copy_of(self.begun, self._place / "world"), pool, flat=flat)
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
                type(self).seen.update(self.promise.seen)
                type(self).seen.update(f"event {kind}" for kind in kinds(self.promise.history))
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    # The table and its deltas

    @rule(data=st.data(), count=st.integers(3, 10))
    def write(self, data: st.DataObject, count: int) -> None:
        """Items of every rule are inserted, modified and removed."""
        for _ in range(count):
            kind = data.draw(st.sampled_from(["run", "run", "place", "label", "label", "entity"]))
            image, receipt = data.draw(st.sampled_from(IMAGES)), data.draw(st.sampled_from(RECEIPTS))
            self.promise.write(_KINDS[kind](data.draw, self.promise.table, image, receipt))

    @rule(image=st.sampled_from(IMAGES), receipt=st.sampled_from(RECEIPTS))
    def write_what_is_refused(self, image: str, receipt: str) -> None:
        """A place holds a value that no record can take."""
        self.promise.write(self.promise.table.put(image, f"{receipt}#PLACE", merchant_name=["a", "list"]))
        self.promise.seen["refused value"] += 1

    @rule(data=st.data(), condition=st.sampled_from(CONDITIONS))
    def spoil_or_mend(self, data: st.DataObject, condition: str) -> None:
        """A delta is missing, cannot be read, has another dimension, or is as it was announced."""
        address = data.draw(st.sampled_from(sorted(self.promise.pool)))
        self.promise.put_delta(address, condition)
        self.promise.seen[f"delta {condition}"] += 1

    # Deliveries

    def _batch(self, data: st.DataObject) -> list[Body]:
        """Any subset of what is owed, in any order, some of it twice, and what was answered for long ago."""
        owed = list(self.promise.owed.values())
        old = [record for record in self.promise.history if record["eventID"] not in self.promise.lost]
        chosen: list[Body] = []
        if owed:
            chosen += data.draw(st.lists(st.sampled_from(owed), min_size=min(3, len(owed)), max_size=12, unique_by=_id))
        if old:
            chosen += data.draw(st.lists(st.sampled_from(old), max_size=4))
        chosen += data.draw(st.lists(st.sampled_from([FOREIGN, *UNREADABLE]), max_size=1))
        return data.draw(st.permutations(chosen)) if chosen else []

    def _deliver(self, data: st.DataObject, fault: Fault, container: str = "workspace") -> None:
        envelope = data.draw(st.sampled_from(sorted(ENVELOPES)))
        self.promise.deliver(self._batch(data), envelope=envelope, fault=fault, container=container)

    @rule(data=st.data(), container=st.sampled_from(["workspace", "workspace", "w2"]))
    def deliver(self, data: st.DataObject, container: str) -> None:
        self._deliver(data, Fault(), container)

    @rule()
    def deliver_everything(self) -> None:
        if self.promise.owed:
            self.promise.deliver(list(self.promise.owed.values()))

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data(), number=st.integers(1, CALLS), after=st.booleans())
    def die_at_a_call_of_the_store(self, data: st.DataObject, number: int, after: bool) -> None:
        self._deliver(data, DiesAtCall(number, after))

    @precondition(lambda self: self.promise.owed)
    @rule(
        collection=st.sampled_from(COLLECTIONS),
        after=st.booleans(),
        what=st.sampled_from(["dies", "hears no", "nothing"]),
    )
    def something_happens_at_the_swap(self, collection: str, after: bool, what: str) -> None:
        """The one moment that decides: a HEAD that names what is not there yet would show."""
        fault = DiesAtSwap(collection, after) if what == "dies" else SwapFails(collection, after, what == "hears no")
        self.promise.deliver(list(self.promise.owed.values()), fault=fault)

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data(), number=st.integers(1, CHANGES), after=st.booleans())
    def die_at_a_change_of_the_disk(self, data: st.DataObject, number: int, after: bool) -> None:
        self._deliver(data, DiesAtStep(number, after))

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data(), number=st.integers(1, CALLS), after=st.booleans(), refused=st.booleans())
    def a_call_fails(self, data: st.DataObject, number: int, after: bool, refused: bool) -> None:
        self._deliver(data, CallFails(number, after, refused))

    @precondition(lambda self: self.promise.owed)
    @rule(collection=st.sampled_from(COLLECTIONS))
    def one_collection_fails(self, collection: str) -> None:
        self.promise.deliver(list(self.promise.owed.values()), fault=CollectionFails(collection))

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

    def _somebody(self, data: st.DataObject, collection: str) -> Any:
        """Return what another writer does."""
        what = data.draw(st.sampled_from(["compact", "compact", "pin", "rebase", "expire", "rollback", "reapply"]))
        self.promise.seen[f"other writer: {what}"] += 1
        if what == "compact":
            batch, envelope = self._batch(data), data.draw(st.sampled_from(sorted(ENVELOPES)))
            act = partial(self.promise.deliver, batch, envelope=envelope, container="w3")
        elif what == "expire":
            act = partial(self._expire_and_sweep, collection, data.draw(st.integers(1, 3)))
        elif what == "rollback":
            act = partial(self.others.rollback, collection, data.draw(st.integers(0, 8)))
        else:
            act = partial(getattr(self.others, what), collection)
        return partial(self.promise.somebody_else, act)

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data(), collection=st.sampled_from(COLLECTIONS))
    def somebody_is_quicker(self, data: st.DataObject, collection: str) -> None:
        """Another writer comes between our comparing and our writing."""
        fault = ComesAtSwap(collection, self._somebody(data, collection))
        self.promise.deliver(list(self.promise.owed.values()), fault=fault)

    @precondition(lambda self: self.promise.owed)
    @rule(data=st.data(), collection=st.sampled_from(COLLECTIONS), number=st.integers(1, CALLS), after=st.booleans())
    def somebody_comes(self, data: st.DataObject, collection: str, number: int, after: bool) -> None:
        self._deliver(data, SomebodyComes(number, after, self._somebody(data, collection)))

    @rule(
        data=st.data(),
        collection=st.sampled_from(COLLECTIONS),
        what=st.sampled_from(["sweep", "rollback", "rollback", "reapply"]),
    )
    def somebody_operates(self, data: st.DataObject, collection: str, what: str) -> None:
        """Versions expire and are swept; or somebody goes back, or forward again, and may die on the way."""
        if what == "sweep":
            self._expire_and_sweep(collection, data.draw(st.integers(1, 4)))
        else:
            death = DiesAtCall(data.draw(st.integers(1, 10)), data.draw(st.booleans()))
            fault = data.draw(st.sampled_from([None, None, death]))
            if what == "rollback":
                self.others.rollback(collection, data.draw(st.integers(0, 8)), fault)
            else:
                self.others.reapply(collection, fault)
        self.promise.look()

    @rule(collection=st.sampled_from(COLLECTIONS))
    def rebase(self, collection: str) -> None:
        self.others.rebase(collection)
        self.promise.look()

    def _expire_and_sweep(self, collection: str, keep: int) -> None:
        self.others.expire(collection, keep)
        self.others.sweep(collection)

    # Containers and mirrors

    @rule(container=st.sampled_from(["workspace", "w2"]), lost=st.booleans())
    def begin_cold(self, container: str, lost: bool) -> None:
        """The next container finds the disk of the one before, or a new one."""
        self.promise.stop(container)
        if lost:
            shutil.rmtree(self.promise.world.home / container, ignore_errors=True)

    @rule(data=st.data(), what=st.sampled_from(["lost", "copied", "stale", "damaged", "damaged"]))
    def something_happens_to_the_mirror(self, data: st.DataObject, what: str) -> None:
        """It is gone, it is replaced by a copy that was made of it once, or a bit of it flips."""
        mirror = self.promise.world.home / "mirror"
        if what == "lost":
            shutil.rmtree(mirror / data.draw(st.sampled_from(COLLECTIONS)), ignore_errors=True)
        elif what == "copied" or not self._mirrors:
            copy = self._place / f"mirror-{len(self._mirrors)}"
            shutil.copytree(mirror, copy)
            self._mirrors.append(copy)
        elif what == "stale":
            shutil.rmtree(mirror)
            shutil.copytree(data.draw(st.sampled_from(self._mirrors)), mirror)
            self.promise.seen["stale mirror"] += 1
        else:
            self._damage(mirror, data.draw(st.integers(0, 1 << 20)), data.draw(st.integers(0, 1 << 20)))

    def _damage(self, mirror: Path, number: int, place: int) -> None:
        files = sorted(path for path in mirror.rglob("*") if path.is_file() and path.stat().st_size)
        if files:
            path = files[number % len(files)]
            content = bytearray(path.read_bytes())
            content[place % len(content)] ^= 1
            path.write_bytes(bytes(content))
            self.promise.seen["damaged mirror"] += 1


def _id(record: StreamRecord) -> str:
    return str(record["eventID"])


def examples(most: int, *, steps: int = 18) -> settings:
    """Return settings under which the machine goes through *most* examples, those of the seed that it was given."""
    return settings(
        max_examples=most,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to shrink one takes minutes; the failing steps are printed as they are
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
