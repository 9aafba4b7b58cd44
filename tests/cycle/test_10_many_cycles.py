"""S3: many cycles in one process, some of them failing."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from chroma_lifecycle import cycle
from chroma_lifecycle.chroma import tail
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import Corrupt, NoRoom, StoreUnavailable
from tests.support.table import Table, in_sqs
from tests.support.world import RUN, WORD, World, begins, label

WARM_UP = 10
GROWTH_BYTES = 40_000_000
"""Of memory, from the warm-up to the end; what each cycle held on to would be more in a long run."""


def used(world: World) -> dict[str, int]:
    """Return what this process and its workspace hold now."""
    gc.collect()
    workspace = world.home / "workspace"
    return {
        "descriptors": psutil.Process().num_fds(),
        "threads": threading.active_count(),
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


@pytest.mark.parametrize("cycles", [40, pytest.param(500, marks=pytest.mark.soak)])
def test_many_cycles_leave_nothing_behind(world: World, monkeypatch: pytest.MonkeyPatch, cycles: int) -> None:
    """S3: a tenth of the cycles fail, in turn at each step; descriptors, threads, files and memory stay flat."""
    table = Table()
    world.write_delta("r1", {WORD: (1, "text", {})})
    after: list[dict[str, int]] = []
    failures, memory = 0, list[int]()
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

    assert cycles // 10 == failures
    warm = after[WARM_UP:]
    for what in warm[0]:
        spread = {each[what] for each in warm}
        assert max(spread) - min(spread) <= 2, (what, sorted(spread))
    assert memory[-1] - memory[WARM_UP] < GROWTH_BYTES
    assert not list(Path(world.home / "workspace").rglob("working-*"))


def _fails(machine: Any, record: dict[str, Any]) -> int:
    """Return 1 for a batch that was raised or named."""
    try:
        return int(machine.compact(in_sqs([record])).failed)
    except (NoRoom, Corrupt, StoreUnavailable):
        return 1
