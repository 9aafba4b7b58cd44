"""The time of an invocation: what does not fit is handed back unharmed, and nothing is done halfway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import NoTime
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.watching import WatchedStore, whole_store
from tests.support.world import World


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
