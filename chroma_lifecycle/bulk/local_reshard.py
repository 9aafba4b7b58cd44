"""A reshard on this machine: its tasks in processes, in the order of :mod:`chroma_lifecycle.bulk.resharding`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from chroma_lifecycle.bulk.here import Event, Here
from chroma_lifecycle.bulk.local import Run, processes
from chroma_lifecycle.bulk.reshard_tasks import find_brought_shards, forget
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.logs import Log

log = Log(__name__)

Show = Callable[[str], AbstractContextManager[Callable[[int], None]]]
"""Begins to show a phase; gives what is to be told how many records are done."""

# A round brings what came during the one before, so each is shorter; the last one, while writers wait, is to be short.
_ROUNDS = 4
_FEW = 1_000


@dataclass(frozen=True, slots=True)
class Resharded:
    """What a reshard did.

    Attributes:
        generation: Of the shards in force now.
        shards: What each task said at last; none if they were in force before.
        rounds: How often shards were brought forward before the old ones were closed.
        closed_seconds: How long writers waited.
    """

    generation: int
    shards: tuple[dict[str, Any], ...]
    rounds: int = 0
    closed_seconds: float = 0.0


def run_reshard(event: Event, here: Here, workers: int, show: Show) -> Resharded:
    """Do the reshard that *event* asks for, or go on with it.

    Args:
        event: That of the task ``reshard``.
        here: This machine.
        workers: Tasks at once.
        show: Shows what is done and how many records of it.

    Raises:
        LifecycleError: A task failed: the first one's problem. The same again goes on.
    """
    begun = run_task(event, here)
    generation, name = begun["generation"], event["collection"]
    what = {"collection": name, "generation": generation}
    if not begun["shards"]:
        return Resharded(generation, ())

    with processes(here, workers) as run:
        done = _reshard(what, len(begun["shards"]), here, run, show)
    forget(here, name, generation)
    return done


def _reshard(what: Event, shards: int, here: Here, run: Run, show: Show) -> Resharded:
    name, generation = what["collection"], what["generation"]

    def bring(title: str) -> list[dict[str, Any]]:
        # Here, since most often nothing came: that takes no process.
        known = find_brought_shards(what, here)
        events = [{**what, "task": "bring", "number": at, "keep": True} for at, told in known.items() if told is None]
        if events:
            with show(title) as tell:
                known |= {each["number"]: each for each in run(events, tell)}
        return [told for told in known.values() if told is not None]

    rounds = 0
    for rounds in range(1, _ROUNDS + 1):
        moved = sum(each["moved"] for each in bring(f"making {shards} shards of {name}, round {rounds}"))
        if rounds > 1 and moved <= _FEW:
            break
    began = SYSTEM_CLOCK.monotonic()
    try:
        run_task({**what, "task": "close"}, here)
        brought = bring(f"bringing what came to {name} since; writers wait")
        run_task({**what, "task": "swap"}, here)
    except LifecycleError as problem:
        _let_writers_go_on(problem, what, here)
        raise
    waited = SYSTEM_CLOCK.monotonic() - began
    return Resharded(generation, tuple(brought), rounds, round(waited, 3))


def _let_writers_go_on(problem: LifecycleError, what: Event, here: Here) -> None:
    """Open the shards that were closed, since *problem* keeps others from coming; note it if that fails too."""
    try:
        run_task({**what, "task": "reopen"}, here)
    except LifecycleError as second:
        log.warning("shards stay closed", collection=what["collection"], why=second.message)
        problem.message += f"; and shards of {what['collection']} stay closed: {second.message}"
        problem.hint += "; `chroma-lifecycle bulk reshard --undo` opens them as well"
