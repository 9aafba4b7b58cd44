"""The promise while collections are cut anew: deliveries, faults and the steps of reshards in any order.

What was answered for is never delivered again; in the end the records equal those of the model that
knows nothing of shards.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from chroma_lifecycle.bulk import bring
from chroma_lifecycle.errors import LifecycleError
from tests.cycle.test_11_model import names_no_delta, write_pool
from tests.model.histories import deltas, histories
from tests.model.reference import Reference, typed
from tests.sharding.test_06_faults import Queue
from tests.sharding.test_06_faults import faults as faults_of_a_delivery
from tests.support.faults import CallFails, DiesAtCall, Fault, SomebodyComes
from tests.support.resharding import Reshard, read_here
from tests.support.sharded import ShardedWorld
from tests.support.watching import Crash

HAPPENED: Counter[str] = Counter()
EXAMPLES = int(os.environ.get("SCHEDULES", "2"))
OPTIONS = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # to shrink one takes minutes
    report_multiple_bugs=False,
    print_blob=False,
)


@pytest.fixture(autouse=True)
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)


class Cutting:
    """Reshards of one collection, a step at a time; each step by a process that may end in it."""

    def __init__(self, queue: Queue, collection: str) -> None:
        self._queue, self._collection = queue, collection
        self._world = queue.world
        self._shards = 0
        self._done = 0

    def step(self, fault: Fault, shards: int) -> None:
        """Do the next step, or begin; a step that was cut off comes again."""
        self._shards = self._shards or shards
        reshard = Reshard(self._world, self._shards, self._collection, fault.store(self._world.store))
        steps = (reshard.bring, reshard.close, reshard.bring, reshard.finish)
        try:
            with fault.around():
                layout = reshard.begin()
                if not layout.coming:
                    self._over("in force")
                    return
                steps[self._done](layout.newest_generation)
        except Crash:
            HAPPENED["a step died"] += 1
        except LifecycleError:
            HAPPENED["a step failed"] += 1
            # What was closed is to be brought again: somebody may have published meanwhile.
            self._done = min(self._done, 2)
        else:
            HAPPENED[f"step {self._done}"] += 1
            self._done += 1
        if self._done == len(steps):
            self._over("in force")

    def give_up(self) -> None:
        with suppress(LifecycleError):
            Reshard(self._world, self._shards, self._collection).give_up()
            self._over("given up")

    def end(self) -> None:
        """Come to the end of what is under way."""
        if self._shards:
            Reshard(self._world, self._shards, self._collection).run()
            self._over("in force")

    def _over(self, how: str) -> None:
        HAPPENED[how] += 1
        self._shards = self._done = 0


@st.composite
def faults_of_a_step(draw: st.DrawFn, queue: Queue) -> Fault:
    kind = draw(st.sampled_from(["none", "none", "call", "fails", "somebody", "somebody"]))
    number, after = draw(st.integers(1, 60)), draw(st.booleans())
    if kind == "call":
        return DiesAtCall(number, after)
    if kind == "fails":
        return CallFails(number, after, draw(st.booleans()))
    if kind == "somebody" and queue.owed:
        others = draw(st.lists(st.sampled_from(sorted(queue.owed)), max_size=8, unique=True))
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
        cuts = {name: Cutting(queue, name) for name in ("words", "lines")}
        for _ in range(data.draw(st.integers(4, 12))):
            cutting = cuts[data.draw(st.sampled_from(["words", "words", "lines"]))]
            match data.draw(st.sampled_from(["deliver", "deliver", "step", "step", "step", "give up"])):
                case "deliver" if queue.owed:
                    some = data.draw(st.lists(st.sampled_from(sorted(queue.owed)), min_size=1, unique=True))
                    fault = data.draw(faults_of_a_delivery(queue))
                    queue.deliver(some, fault, data.draw(st.sampled_from(["workspace", "w2"])))
                case "give up" if data.draw(st.integers(0, 3)) == 0:
                    cutting.give_up()
                case _:
                    cutting.step(data.draw(faults_of_a_step(queue)), data.draw(st.sampled_from([1, 2, 4])))
        for cutting in cuts.values():
            cutting.end()
        if queue.owed:
            queue.deliver(sorted(queue.owed), Fault(), "workspace")
        assert all(names_no_delta(record) for record in queue.owed.values())
        assert typed(Reference(pool).replay(records)) == typed(world.everything())


@pytest.mark.parametrize("number", [1])
def test_nothing_is_lost_while_collections_are_cut_anew(begun: Path, number: int) -> None:
    """C13, D1, L5: deliveries between and within the steps, processes that end, lost answers, reshards given up."""

    @seed(number)
    @settings(OPTIONS, max_examples=EXAMPLES)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        schedule(begun, data)

    run()
    assert HAPPENED["step 0"]
    assert HAPPENED["in force"]


@pytest.mark.soak
def test_nothing_is_lost_while_collections_are_cut_anew_in_many_schedules(begun: Path) -> None:
    """C13, D1, L5: the same for as many schedules as SCHEDULES says, of random seeds."""

    @settings(OPTIONS, max_examples=int(os.environ.get("SCHEDULES", "200")))
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        schedule(begun, data)

    run()
