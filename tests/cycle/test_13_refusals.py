"""What Chroma refuses without any check having foreseen it: the offender fails alone, in the same invocation.

The cause is real: a trigger in Chroma's own database that refuses a write. So are the engine, its
errors, and what it leaves behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.cycle import Cycle
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoTime
from chroma_lifecycle.publishing.publish import publish
from chroma_lifecycle.publishing.restore import bring_forward
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.cycle.test_06_deadline import ManualClock
from tests.support.table import Table, in_sqs
from tests.support.world import IMAGE, LINE, World, begins

REFUSE = """
    CREATE TRIGGER refuse BEFORE INSERT ON embeddings_queue WHEN {condition}
    BEGIN SELECT RAISE(ABORT, 'refused by the test'); END
"""


def refuse(world: World, condition: str) -> None:
    """Publish a version of words whose database refuses the writes that *condition* selects."""
    with Workspace.open(world.home / "refusing") as workspace:
        parent = bring_forward(workspace, world.published(), world.store, None, Deadline()).published
        with workspace.working(chroma=True) as working:
            with closing(sqlite3.connect(working / "chroma/chroma.sqlite3")) as database, database:
                database.execute(REFUSE.format(condition=condition))
            publish(
                seal(working),
                parent=parent,
                details=parent.manifest.details,
                workspace=workspace,
                store=world.store,
                deadline=Deadline(),
                clock=SYSTEM_CLOCK,
                writer="test",
            )


def word(number: int) -> str:
    return f"{LINE}#WORD#{number:05d}"


def runs(world: World, table: Table, count: int) -> list[dict[str, Any]]:
    """Announce deltas of one word each."""
    records = []
    for number in range(1, count + 1):
        world.write_delta(f"r{number}", {word(number): (number, f"text {number}", {"n": number})})
        records.append(table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#r{number}", **begins(f"r{number}")))
    return records


@pytest.fixture
def applies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note each time that Chroma is given something."""
    noted: list[str] = []
    original = Cycle._apply

    def noting(self: Cycle, *args: Any) -> Any:
        noted.append(self._collection)
        return original(self, *args)

    monkeypatch.setattr(Cycle, "_apply", noting)
    return noted


def test_the_offender_fails_alone_in_the_same_invocation(world: World, applies: list[str]) -> None:
    """L1, L16: the rest is published at once; the report names the item and what Chroma said; nothing is left over."""
    table = Table()
    refuse(world, f"NEW.id = '{word(5)}'")
    records = runs(world, table, 12)

    with world.compactor() as machine:
        report = machine.compact(in_sqs(records))
        left = [path.name for path in (world.home / "workspace/words").iterdir() if path.name.startswith("working")]

    assert ((11, 0, 1), ("message-4",)) == ((report.applied, report.no_op, report.failed), report.failed_sources())
    failure = report.failures[0]
    assert isinstance(failure.error, BadInput)
    assert "rule run, item IMAGE#a / RECEIPT#00001#COMPACTION_RUN#r5" == failure.subject
    for part in ("refused by the test", "delta r5.parquet"):
        assert part in failure.error.message
    assert {word(number) for number in range(1, 13) if number != 5} == world.records().keys()
    assert [] == left
    assert len(applies) <= 2 + 8
    # Alone, it cannot be told from an engine that takes nothing.
    with pytest.raises(Corrupt, match="refused by the test"):
        world.compact([records[4]])


def test_a_message_with_several_changes_is_set_aside_whole_where_it_is_refused(world: World) -> None:
    """The unit is a message in a collection: its other collection has it, and it counts as failed."""
    table = Table()
    refuse(world, f"NEW.id = '{word(1)}'")
    world.write_delta("w", {word(1): (1, None, {})})
    world.write_delta("l", {LINE: (7, "a line", {})})
    both = table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#both", **begins("w"), **begins("l", "lines"))
    records = [both, *runs(world, table, 3)[1:]]

    report = world.compact(records)

    assert ("message-0",) == report.failed_sources()
    assert {word(2), word(3)} == world.records().keys()
    assert {LINE} == world.records("lines").keys()


def test_refusals_beyond_the_trials_are_handed_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is bounded: what was found sound is published, the untried come again."""
    monkeypatch.setattr("chroma_lifecycle.batch.isolation.isolate.__kwdefaults__", {"trials": 3})
    table = Table()
    refuse(world, f"NEW.id IN ('{word(3)}', '{word(6)}')")
    records = runs(world, table, 8)

    report = world.compact(records)

    kinds = {failure.source: type(failure.error) for failure in report.failures}
    assert NoTime in kinds.values()
    assert report.applied == len(world.records()) > 0
    assert 8 == report.applied + report.failed
    rounds = 0
    while any(kind is NoTime for kind in kinds.values()):
        rounds += 1
        again = [record for number, record in enumerate(records) if kinds.get(f"message-{number}") is NoTime]
        records = again
        kinds = {failure.source: type(failure.error) for failure in world.compact(again).failures}
        assert rounds < 6
    assert {word(number) for number in (1, 2, 4, 5, 7, 8)} == world.records().keys()


def test_an_engine_that_takes_nothing_is_no_message_fault(world: World) -> None:
    """L3: it is told as what it is, for the whole batch; nothing is published."""
    table = Table()
    refuse(world, "1")
    version = world.version()

    with pytest.raises(LifecycleError) as raised:
        world.compact(runs(world, table, 3))

    assert isinstance(raised.value, Corrupt)
    assert "refused by the test" in raised.value.message
    assert version == world.version()


def test_trials_end_before_the_reserve(world: World) -> None:
    """L14: with time for the first attempt only, everything is handed back, and the next invocation finds it."""
    table, clock = Table(), ManualClock()
    refuse(world, f"NEW.id = '{word(2)}'")
    records = runs(world, table, 4)
    original = Cycle._apply

    def slow(self: Cycle, *args: Any) -> Any:
        clock.seconds += 50
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cycle, "_apply", slow)
        with world.compactor() as machine, pytest.raises(LifecycleError, match="refused by the test"):
            machine.compact(in_sqs(records), Deadline.after(50.5, clock))

    assert ("message-1",) == world.compact(records).failed_sources()
    assert {word(1), word(3), word(4)} == world.records().keys()


def test_the_status_of_a_refused_run_says_why(world: World) -> None:
    """Its item gets the error, as that of a delta that cannot be read; those that come again get none."""
    told: dict[str, str] = {}

    class Noting:
        def completed(self, item: Any, target: Any, address: str, count: int, at: Any) -> bool:
            told[address] = "completed"
            return True

        def failed(self, item: Any, target: Any, address: str, problem: str) -> bool:
            told[address] = problem
            return True

    table = Table()
    refuse(world, f"NEW.id = '{word(2)}'")
    records = runs(world, table, 3)
    with world.compactor() as made, Compactor(replace(made._around, status=Noting()), made._root) as machine:
        machine.compact(in_sqs(records))

    assert "refused by the test" in told.pop("r2.parquet")
    assert {"r1.parquet": "completed", "r3.parquet": "completed"} == told
