"""Reshards in processes of their own: some die at a named step, some begin at the same moment."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from chroma_lifecycle.bulk import bring, resharding
from chroma_lifecycle.bulk.bring import _Bringing
from chroma_lifecycle.errors import LifecycleError
from tests.support.dying import _exit_code, _kill_at, processes
from tests.support.resharding import Reshard, read_here
from tests.support.sharded import ShardedWorld

STEPS: dict[str, tuple[Any, str, int]] = {
    "begin": (resharding, "publish_layout", 0),
    "ledger": (_Bringing, "_make_ledger", 0),
    "read": (_Bringing, "_read", 1),
    "write": (_Bringing, "_publish", 1),
    "publish": (_Bringing, "_swap", 0),
    "mark": (_Bringing, "_mark", 0),
    "close one": (resharding, "_closed", 1),
    "close": (resharding, "close", 0),
    "bring the rest": (_Bringing, "_mark", 2),
    "prove": (resharding, "require_brought", 0),
    "layout": (resharding, "publish_layout", 1),
}
"""The steps of a reshard of three shards to two: a function, and how often it was called before."""

_BARRIER_SECONDS = 60


def die_resharding(home: Path, shards: int, step: str, late: list[Any], *, after: bool) -> int | None:
    """Reshard in a process that is killed (SIGKILL) before or after *step*; return its exit code.

    Args:
        late: Stream records that come before the old shards are closed.
    """
    return _exit_code(_dying, home, shards, step, late, after)


def _dying(home: Path, shards: int, step: str, late: list[Any], after: bool) -> None:
    bring.read_chroma_delta = read_here
    owner, name, calls = STEPS[step]
    _kill_at(owner, name, after=after, calls=calls)
    world = ShardedWorld(home)
    Reshard(world, shards).run(lambda at: world.compact(late) if at == "close" else None)


def race_to_begin(home: Path, *shards: int) -> list[str]:
    """Begin reshards in processes that meet when all have read the layout; return how each ended."""
    context = processes()
    barrier, results = context.Barrier(len(shards)), context.Queue()
    racers = [context.Process(target=_beginning, args=(home, each, barrier, results)) for each in shards]
    for racer in racers:
        racer.start()
    ends = [results.get(timeout=2 * _BARRIER_SECONDS) for _ in racers]
    for racer in racers:
        racer.join(_BARRIER_SECONDS)
    return [end for _, end in sorted(ends)]


def _beginning(home: Path, shards: int, barrier: Barrier, results: Any) -> None:
    publish, waiting = resharding.publish_layout, [True]

    def meeting(*given: Any) -> Any:
        if waiting:
            waiting.clear()
            barrier.wait(_BARRIER_SECONDS)
        return publish(*given)

    resharding.publish_layout = meeting
    try:
        Reshard(ShardedWorld(home), shards).begin()
    except LifecycleError as problem:
        results.put((shards, f"{type(problem).__name__}: {problem.message}"))
    else:
        results.put((shards, "begun"))
