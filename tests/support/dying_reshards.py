"""Reshards in processes of their own: some die at a named step, some begin at the same moment."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier
from typing import Any

from chroma_lifecycle.bulk import bring, cutting, resharding
from chroma_lifecycle.bulk.bring import _Bringing
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.publishing import swap
from tests.support.dying import _exit_code, _kill_at, processes
from tests.support.one_piece import OnePieceWorld
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

STEPS_OF_CUT: dict[str, tuple[Any, str, int]] = {
    **{step: at for step, at in STEPS.items() if at[0] is _Bringing},
    "begin": (cutting, "amend_head", 0),
    "close": (cutting, "amend_head", 1),
    "prove": (cutting, "require_brought", 0),
    "layout": (cutting, "publish_layout", 0),
}
"""The same of one piece that is cut into two shards."""

_BARRIER_SECONDS = 60


def die_resharding(world: ShardedWorld, shards: int, step: str, late: list[Any], *, after: bool) -> int | None:
    """Reshard in a process that is killed (SIGKILL) before or after *step*; return its exit code.

    Args:
        late: Stream records that come before the old shards are closed.
    """
    return _exit_code(_dying, world, shards, step, late, after)


def _dying(world: ShardedWorld, shards: int, step: str, late: list[Any], after: bool) -> None:
    bring.read_chroma_delta = read_here
    owner, name, calls = (STEPS_OF_CUT if isinstance(world, OnePieceWorld) else STEPS)[step]
    _kill_at(owner, name, after=after, calls=calls)
    Reshard(world, shards).run(lambda at: world.compact(late) if at == "close" else None)


def race_to_begin(world: ShardedWorld, *shards: int) -> list[str]:
    """Begin reshards in processes that meet when all have read what is in force; return how each ended."""
    context = processes()
    barrier, results = context.Barrier(len(shards)), context.Queue()
    racers = [context.Process(target=_beginning, args=(world, each, barrier, results)) for each in shards]
    for racer in racers:
        racer.start()
    ends = [results.get(timeout=2 * _BARRIER_SECONDS) for _ in racers]
    for racer in racers:
        racer.join(_BARRIER_SECONDS)
    return [end for _, end in sorted(ends)]


def _beginning(world: ShardedWorld, shards: int, barrier: Barrier, results: Any) -> None:
    waiting, (module, name) = (
        [True],
        (swap, "swap")
        if isinstance(world, OnePieceWorld)
        else (
            resharding,
            "publish_layout",
        ),
    )
    publish = getattr(module, name)

    def meeting(*given: Any, **named: Any) -> Any:
        if waiting:
            waiting.clear()
            barrier.wait(_BARRIER_SECONDS)
        return publish(*given, **named)

    setattr(module, name, meeting)
    try:
        Reshard(world, shards).begin()
    except LifecycleError as problem:
        results.put((shards, f"{type(problem).__name__}: {problem.message}"))
    else:
        results.put((shards, "begun"))
