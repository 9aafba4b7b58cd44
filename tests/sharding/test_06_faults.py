"""Nothing is lost on three shards whatever happens: deaths, failures, other writers, a queue that delivers again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.errors import LifecycleError
from tests.cycle.test_11_model import names_no_delta, write_pool
from tests.model.histories import deltas, histories
from tests.model.reference import Reference, typed
from tests.support.faults import CallFails, CollectionFails, DiesAtCall, DiesAtStep, Fault, SomebodyComes, StepFails
from tests.support.sharded import ShardedWorld
from tests.support.table import in_sqs
from tests.support.watching import Crash

LINEAGES = ("words.1-1", "words.1-2", "lines.1-1", "lines.1-2")
CALLS, CHANGES = 24, 90
HAPPENED: Counter[str] = Counter()
EXAMPLES = int(os.environ.get("SCHEDULES", "6"))
OPTIONS = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # to shrink one takes minutes
    report_multiple_bugs=False,
    print_blob=False,
)


class Queue:
    """What is owed, and containers that are handed some of it."""

    def __init__(self, world: ShardedWorld, records: list[dict[str, Any]]) -> None:
        self.world = world
        self.owed = {record["eventID"]: record for record in records}

    def deliver(self, names: list[str], fault: Fault, container: str) -> None:
        """Hand some messages over; what is answered for, and not as failed, never comes again."""
        event = in_sqs([self.owed[name] for name in names])
        for message, name in zip(event["Records"], names, strict=True):
            message["messageId"] = name
        machine = self.world.compactor(container, store=fault.store(self.world.store))
        try:
            with fault.around():
                report = machine.compact(event)
        except Crash:
            HAPPENED[f"died {type(fault).__name__}"] += 1
            bury(machine)
        except LifecycleError:
            HAPPENED["raised"] += 1
            machine.close()
        else:
            HAPPENED["partly failed" if report.lost else "answered"] += 1
            machine.close()
            for name in {*names} - {*report.failed_sources()}:
                self.owed.pop(name, None)


def bury(machine: Compactor) -> None:
    """Let go of what a process that died would have let go of; nothing is cleaned up."""
    for workspace in machine._workspaces.values():
        with suppress(OSError):
            os.close(workspace._lock)
    machine._workspaces.clear()


@st.composite
def faults(draw: st.DrawFn, queue: Queue) -> Fault:
    kind = draw(st.sampled_from(["none", "call", "step", "fails", "shard", "shard", "somebody", "part"]))
    number, after = draw(st.integers(1, CALLS)), draw(st.booleans())
    if kind == "call":
        return DiesAtCall(number, after)
    if kind == "step":
        return DiesAtStep(draw(st.integers(1, CHANGES)), after)
    if kind == "fails":
        return CallFails(number, after, draw(st.booleans()))
    if kind == "shard":
        return CollectionFails(draw(st.sampled_from(LINEAGES)))
    if kind == "part":
        return StepFails(draw(st.sampled_from(["merge", "seal", "publish"])))
    if kind == "somebody":
        others = draw(st.lists(st.sampled_from(sorted(queue.owed)), max_size=6, unique=True))
        return SomebodyComes(
            number, after, lambda: queue.deliver([n for n in others if n in queue.owed], Fault(), "w3")
        )
    return Fault()


def schedule(begun: Path, data: st.DataObject) -> None:
    pool, records = data.draw(deltas()), data.draw(histories(max_events=16))
    with tempfile.TemporaryDirectory() as place:
        world = ShardedWorld(Path(shutil.copytree(begun, Path(place) / "world")))
        write_pool(world, pool)
        queue = Queue(world, records)
        for _ in range(data.draw(st.integers(1, 5))):
            if not queue.owed:
                break
            some = data.draw(
                st.lists(st.sampled_from(sorted(queue.owed)), min_size=min(4, len(queue.owed)), unique=True)
            )
            queue.deliver(some, data.draw(faults(queue)), data.draw(st.sampled_from(["workspace", "w2"])))
        if queue.owed:
            queue.deliver(sorted(queue.owed), Fault(), "workspace")
        assert all(names_no_delta(record) for record in queue.owed.values())
        assert typed(Reference(pool).replay(records)) == typed(world.everything())


@pytest.mark.parametrize("number", [1])
def test_nothing_is_lost_on_shards(begun: Path, number: int) -> None:
    """C13, L5, L6, D1: after deaths at calls and on the disk, failed shards, lost answers and other writers.

    What was answered for is never delivered again; in the end the records equal those of the model.
    """

    @seed(number)
    @settings(OPTIONS, max_examples=EXAMPLES)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        schedule(begun, data)

    run()
    assert HAPPENED["answered"]
    assert any(name.startswith("died") for name in HAPPENED)


@pytest.mark.soak
def test_nothing_is_lost_on_shards_in_many_schedules(begun: Path) -> None:
    """C13, L5, L6, D1: the same for as many schedules as SCHEDULES says, of random seeds."""

    @settings(OPTIONS, max_examples=int(os.environ.get("SCHEDULES", "200")))
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        schedule(begun, data)

    run()
