"""The time of an invocation: what does not fit is handed back unharmed, and nothing is done halfway."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.deltas import parquet
from chroma_lifecycle.errors import NoTime, StoreUnavailable
from tests.support.dying import die_at
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.watching import WatchedStore, whole_store
from tests.support.world import IMAGE, LINE, World, begins, label


@dataclass
class ManualClock:
    """A clock that stands still until it is told."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


def test_too_little_time_hands_the_batch_back(world: World) -> None:
    """L14, S1: nothing is begun that could not be ended; the same batch succeeds in the next invocation."""
    write_pool(world)
    records = story(Table())
    before = whole_store(world.home / "store")
    with world.compactor() as machine:
        with pytest.raises(NoTime, match="needs about"):
            machine.compact(in_sqs(records), Deadline.after(0.5))
        assert before == whole_store(world.home / "store")

        # The container is warm by now: the deadline is that of this invocation, and not of the first.
        assert len(records) == machine.compact(in_sqs(records), Deadline.after(600)).applied
    expect_model(world, records)


def test_the_time_ends_in_the_middle_of_a_batch(world: World) -> None:
    """L14: what was published is answered for, the rest handed back: sent + failed = received; nothing is lost."""
    write_pool(world)
    records = story(Table())
    clock = ManualClock()

    def pass_time(number: int, call: str) -> None:
        if call == "swap_head lines":
            clock.seconds += 100

    with world.compactor(store=WatchedStore(world.store, after=pass_time)) as machine:
        report = machine.compact(in_sqs(records), Deadline.after(100.5, clock))

    assert ["lines"] == [each.collection for each in report.collections]
    assert {"words"} == {failure.collection for failure in report.failures}
    assert {NoTime} == {type(failure.error) for failure in report.failures}
    assert (len(records), len(records)) == (report.received, report.failed + report.applied + report.no_op)
    assert {"words": 1, "lines": 2} == {name: world.version(name) for name in ("words", "lines")}
    assert 0 == world.compact(records).failed
    expect_model(world, records)


def test_a_collection_with_much_to_do_takes_no_time_from_one_with_little(world: World) -> None:
    """S8, L14: deltas pile up for lines, which take all the time there is; the one of words is published before."""
    table, clock = Table(), ManualClock()
    for number in range(6):
        world.write_delta(f"l{number}", {f"{IMAGE}#RECEIPT#{number:05d}#LINE#00001": (number + 1, None, {})})
    records = [
        table.put(IMAGE, f"RECEIPT#{number:05d}#COMPACTION_RUN#r", **begins(f"l{number}", "lines"))
        for number in range(6)
    ]
    records += words(world, table, 1)

    def pass_time(number: int, call: str) -> None:
        if call == "read_head lines":
            clock.seconds += 1_000

    with world.compactor(store=WatchedStore(world.store, after=pass_time)) as machine:
        report = machine.compact(in_sqs(records), Deadline.after(900, clock))

    assert tuple(f"message-{number}" for number in range(6)) == report.failed_sources()
    assert {"words": 2, "lines": 1} == {name: world.version(name) for name in ("words", "lines")}
    assert 100 == len(world.records())


def test_a_long_queue_of_one_collection_takes_no_time_from_another_for_hours(world: World) -> None:
    """S8: five invocations of a warm container, a container that is killed, two of the next.

    Deltas pile up for lines, which take all the time that there is, each time. What comes for words is published by the
    invocation that it comes with; what the killed one had, by the next. In the end nothing waits.
    """
    table, clock = Table(), ManualClock()
    for number in range(6):
        world.write_delta(f"l{number}", {f"{IMAGE}#RECEIPT#{number:05d}#LINE#00001": (number + 1, None, {})})
    waiting = [
        table.put(IMAGE, f"RECEIPT#{number:05d}#COMPACTION_RUN#l", **begins(f"l{number}", "lines"))
        for number in range(6)
    ]
    runs, done = words(world, table, 8), list[int]()

    def pass_time(number: int, call: str) -> None:
        if call == "read_head lines":
            clock.seconds += 1_000

    def invoke(machine: Compactor, came: list[Any]) -> None:
        report = machine.compact(in_sqs([*waiting, *came]), Deadline.after(900, clock))
        assert {"lines"} == {failure.collection for failure in report.failures}
        assert (len(waiting), len(came)) == (report.failed, report.applied)
        done.append(len(world.records()))

    slow = WatchedStore(world.store, after=pass_time)
    with world.compactor(store=slow) as machine:
        for number in range(5):
            invoke(machine, runs[number : number + 1])
    assert -signal.SIGKILL == die_at(world, [*waiting, runs[5]], "head", after=False)
    with world.compactor(store=slow) as machine:
        invoke(machine, runs[5:7])
        invoke(machine, runs[7:])

    assert [100, 200, 300, 400, 500, 700, 800] == done
    assert (8, 1) == (world.version(), world.version("lines"))
    assert 6 == world.compact(waiting).applied
    assert 6 == len(world.records("lines"))


@pytest.mark.parametrize("call", ["read words/manifests", "read words/objects", "write words/manifests"])
def test_the_time_ends_at_a_call(world: World, call: str) -> None:
    """L14: when time ends in restore or publish, the batch comes again; what is stored is whole or not named."""
    write_pool(world)
    records = story(Table())
    clock = ManualClock()

    def pass_time(number: int, found: str) -> None:
        if found.startswith(call):
            clock.seconds += 1_000

    store = WatchedStore(world.store, after=pass_time)
    with world.compactor(store=store) as machine:
        report = machine.compact(in_sqs(records), Deadline.after(900, clock))

    published = world.version() == 2
    assert published == (call == "write words/manifests")  # so close to the end, the swap is made
    assert published != any(failure.collection == "words" for failure in report.failures)
    assert 0 == world.compact(records).failed
    expect_model(world, records, mirrored=False)  # a mirror that missed its time catches up with the next version


def words(world: World, table: Table, count: int) -> list[Any]:
    """Announce deltas of 100 words each."""
    records = []
    for number in range(1, count + 1):
        ids = [f"{IMAGE}#RECEIPT#{number:05d}#LINE#00001#WORD#{word:05d}" for word in range(1, 101)]
        world.write_delta(f"d{number}", {id_: (number, None, {"n": number}) for id_ in ids})
        records.append(table.put(IMAGE, f"RECEIPT#{number:05d}#COMPACTION_RUN#r", **begins(f"d{number}")))
    return records


def test_a_batch_that_is_too_much_is_cut(world: World) -> None:
    """L14: the oldest messages that there is time for are published, the newer ones handed back; none is lost."""
    records, clock = words(world, Table(), 8), ManualClock()
    with world.compactor() as machine:
        # 2 ms a record, half a second to open, one in reserve: time for half of 800 records.
        report = machine.compact(in_sqs(records[::-1]), Deadline.after(2.31, clock))

        assert ((4, 4), 400) == ((report.applied, report.failed), len(world.records()))
        assert {f"message-{number}" for number in range(4)} == set(report.failed_sources()), "the oldest stand last"
        assert {NoTime} == {type(failure.error) for failure in report.failures}
        assert 4 == machine.compact(in_sqs(records[4:])).applied
    assert 800 == len(world.records())


@pytest.mark.parametrize("order", [("endless", "sound"), ("sound", "endless"), ("endless",)])
def test_a_delta_that_takes_all_the_time_fails_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, order: tuple[str, ...]
) -> None:
    """L14, C11: parts that take more than there is; what else is in the batch is published."""
    table, clock, decode = Table(), ManualClock(), parquet._next
    for name, numbers in {"sound": range(1), "endless": range(1, 200)}.items():
        world.write_delta(name, {f"{LINE}#WORD#{number:05d}": (number, None, {}) for number in numbers})
    path = world.home / "deltas" / "endless.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=1)

    def slow(batches: Iterator[Any], subject: str) -> Any:
        clock.seconds += 0.02 if "endless" in subject else 0.0
        return decode(batches, subject)

    monkeypatch.setattr(parquet, "_next", slow)
    runs = [table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}", **begins(name)) for name in order]

    report = world.compact([*runs, label(table, "total")], deadline=Deadline.after(2.6, clock))

    [failure] = report.failures
    assert (NoTime, f"message-{order.index('endless')}") == (type(failure.error), failure.source)
    assert "the time ended within reading delta 'endless.parquet'" in failure.error.message
    assert len(order) == report.applied
    assert len(order) - 1 == len(world.records())


def test_updates_that_are_too_many_are_cut(world: World) -> None:
    """L14: what has no delta to read is planned whole, and cut then: the oldest messages are published."""
    table, clock = Table(), ManualClock()
    records = words(world, table, 8)
    places = [table.put(IMAGE, f"RECEIPT#{number:05d}#PLACE", merchant_name="x") for number in range(1, 9)]
    with world.compactor() as made:
        # On a clock that stands still no cycle takes longer than what is reckoned with before any was measured.
        machine = Compactor(replace(made._around, clock=clock), made._root)
        machine.compact(in_sqs(records))
        report = machine.compact(in_sqs(places), Deadline.after(2.31, clock))

        assert tuple(f"message-{number}" for number in range(4, 8)) == report.failed_sources()
        assert "800 records in 2 s are too many" in report.failures[0].error.message
        assert 400 == sum("merchant_name" in metadata for _, _, metadata in world.records().values())
        assert 4 == machine.compact(in_sqs(places)).applied
        machine.close()
    assert 800 == sum("merchant_name" in metadata for _, _, metadata in world.records().values())


def test_a_message_is_cut_whole(world: World) -> None:
    """L14: one message of two runs is done only when both are; what there is no time for is not begun."""
    table, clock = Table(), ManualClock()
    first, second = words(world, table, 2)
    records = [first, second]
    with world.compactor() as machine:
        report = machine.compact(in_sqs(records), Deadline.after(1.0 + 0.5 + 0.1, clock))

    assert ((1, 1), ("message-1",)) == ((report.applied, report.failed), report.failed_sources())
    assert 100 == len(world.records())


def test_deltas_that_there_is_no_time_to_read_are_handed_back(world: World) -> None:
    """L14: reading stops before the reserve; what was read by then is published, and no run is told a failure."""
    records, clock = words(world, Table(), 4), ManualClock()
    told: list[str] = []

    class Noting:
        def completed(self, item: Any, target: Any, address: str, count: int, at: Any) -> bool:
            told.append(address)
            return True

        def failed(self, item: Any, target: Any, address: str, problem: str) -> bool:
            raise AssertionError(problem)

    with world.compactor() as made:
        around, fetch = made._around, type(made._around.deltas).locate

        def slow(self: Any, address: str) -> Any:
            clock.seconds += 40
            return fetch(self, address)

        with pytest.MonkeyPatch.context() as patch, Compactor(replace(around, status=Noting()), made._root) as machine:
            patch.setattr(type(around.deltas), "locate", slow)
            report = machine.compact(in_sqs(records), Deadline.after(122.15, clock))

    assert (3, 1) == (report.applied, report.failed)
    assert ["d1.parquet", "d2.parquet", "d3.parquet"] == sorted(told)
    assert 0 == world.compact(records).failed
    assert 400 == len(world.records())


def test_a_slow_publish_is_remembered(world: World) -> None:
    """S1: the reserve of the next invocation follows what publishing took in this container."""
    table, clock = Table(), ManualClock()

    def pass_time(number: int, call: str) -> None:
        if call == "swap_head words":
            clock.seconds += 30

    store = WatchedStore(world.store, after=pass_time)
    with world.compactor(store=store) as made, Compactor(replace(made._around, clock=clock), made._root) as machine:
        assert 1 == machine.compact(in_sqs(words(world, table, 1)), Deadline.after(200, clock)).applied
        report = machine.compact(in_sqs([label(table, "total")]), Deadline.after(60, clock))

    assert {"words"} == {failure.collection for failure in report.failures}
    assert "needs about 90.0 s and 60.0 s are left" in report.failures[0].error.message


@dataclass
class AwayTable:
    """A table behind a network without a route: each write takes its time and fails."""

    clock: ManualClock

    def completed(self, *_: object) -> bool:
        self.clock.seconds += 10
        raise StoreUnavailable("the table did not answer", hint="run the batch again")

    failed = completed


def test_a_table_that_is_away_takes_no_more_time_than_there_is(world: World) -> None:
    """L14: runs that it could not be told of come again; what else was published is answered for in time."""
    table, clock = Table(), ManualClock()
    runs = words(world, table, 8)
    with world.compactor() as machine:
        machine._around = replace(machine._around, status=AwayTable(clock))
        report = machine.compact(in_sqs([*runs, label(table, "total")]), Deadline.after(45, clock))

    assert 40 == clock.seconds
    assert tuple(f"message-{number}" for number in range(8)) == report.failed_sources()
    assert [StoreUnavailable] * 4 + [NoTime] * 4 == [type(failure.error) for failure in report.failures]
    assert (1, 800) == (report.applied, len(world.records()))
