"""S3: many cycles in one process, some of them failing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from chroma_lifecycle import cycle
from chroma_lifecycle.chroma import tail
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import Corrupt, NoRoom, StoreUnavailable
from tests.support.table import Table, in_sqs
from tests.support.world import RUN, WORD, World, begins, label

WARM_UP = 10


def used(world: World) -> dict[str, int]:
    """Return what this process and its workspace hold now."""
    gc.collect()
    workspace = world.home / "workspace"
    return {
        "descriptors": psutil.Process().num_fds(),
        "files": sum(1 for path in workspace.rglob("*") if path.is_file()),
        "directories": sum(1 for path in workspace.rglob("*") if path.is_dir()),
    }


def failing(problem: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise problem

    return fail


FAULTS: list[tuple[Any, str, Exception]] = [
    (ManagedClient, "apply", NoRoom("no room", hint="")),
    (cycle, "seal", Corrupt("torn", hint="")),
    (cycle, "publish", StoreUnavailable("away", hint="")),
    (tail, "settle_tail", Corrupt("torn", hint="")),
]


def threads() -> int:
    """Return how many threads this process has, those of the engine included, which Python does not know."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def slope(each: Sequence[int]) -> float:
    """Return by how much the numbers grow from one to the next, on the average."""
    return float(np.polyfit(range(len(each)), each, 1)[0])


@pytest.mark.parametrize(
    ("cycles", "growth_bytes"),
    # The allocator takes some megabytes at a time, which weigh less in a long run.
    [(40, 400_000), pytest.param(500, 50_000, marks=pytest.mark.soak)],
)
def test_many_cycles_leave_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch, cycles: int, growth_bytes: int
) -> None:
    """S3: a tenth of the cycles fail, in turn at each step; descriptors, threads, files and memory stay flat."""
    table = Table()
    world.write_delta("r1", {WORD: (1, "text", {})})
    after: list[dict[str, int]] = []
    failures, memory, running = 0, list[int](), list[int]()
    with world.compactor() as machine:
        machine.compact(in_sqs([table.put(*RUN, **begins("r1"))]))
        for number in range(cycles):
            record = label(table, f"l{number % 7}", "VALID" if number % 2 else "INVALID")
            with monkeypatch.context() as patch:
                if number % 10 == 3:
                    owner, name, problem = FAULTS[number // 10 % len(FAULTS)]
                    patch.setattr(owner, name, failing(problem))
                failed = machine.compact(in_sqs([record])).failed if number % 10 != 3 else _fails(machine, record)
            failures += failed
            if failed:
                assert 0 == machine.compact(in_sqs([record])).failed
            after.append(used(world))
            memory.append(psutil.Process().memory_info().rss)
            running.append(threads())

    assert cycles // 10 == failures
    warm = after[WARM_UP:]
    for what in warm[0]:
        spread = {each[what] for each in warm}
        assert max(spread) - min(spread) <= 2, (what, sorted(spread))
    # A thread of the engine may take a moment to end, and one of another test may end meanwhile.
    assert min(running[-WARM_UP:]) <= min(running[WARM_UP : 2 * WARM_UP]) + 1, running
    assert slope(memory[max(WARM_UP, cycles // 4) :]) < growth_bytes, memory
    assert not list(Path(world.home / "workspace").rglob("working-*"))


def _fails(machine: Any, record: dict[str, Any]) -> int:
    """Return 1 for a batch that was raised or named."""
    try:
        return int(machine.compact(in_sqs([record])).failed)
    except (NoRoom, Corrupt, StoreUnavailable):
        return 1
