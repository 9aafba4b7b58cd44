"""Compactors in processes of their own on one HEAD, each as fast as it can: what is wasted, and whether all get on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from chroma_lifecycle.cycle import Cycle
from chroma_lifecycle.errors import HeadMoved, LifecycleError
from tests.support.dying import processes
from tests.support.table import in_sqs
from tests.support.world import World

_SECONDS = 300


@dataclass(frozen=True)
class Contended:
    """What one process did, over all its batches and both collections.

    Attributes:
        attempts: Attempts that came to an end of any kind.
        lost: Attempts that were begun again.
        longest: The most attempts that one batch lost in one collection.
        handed_back: Times that a batch, or a part of it, had to come again.
        lost_seconds: CPU time of this process in attempts that were lost.
        cpu_seconds: Its CPU time in all attempts.
    """

    attempts: int
    lost: int
    longest: int
    handed_back: int
    lost_seconds: float
    cpu_seconds: float


def contend(world: World, name: str, batches: list[list[Any]], start: Barrier, results: Any) -> None:
    """Compact batches; what fails comes again, as from a queue. Puts a `Contended` into *results*."""
    attempt, run = Cycle._attempt, Cycle.run
    took: list[tuple[bool, float]] = []
    in_row, longest = 0, 0

    def counting(self: Cycle, *args: Any, **kwargs: Any) -> Any:
        nonlocal in_row, longest
        began = time.process_time()
        try:
            end = attempt(self, *args, **kwargs)
        except HeadMoved:
            took.append((True, time.process_time() - began))
            in_row += 1
            longest = max(longest, in_row)
            raise
        took.append((False, time.process_time() - began))
        in_row = 0
        return end

    def running(self: Cycle, *args: Any, **kwargs: Any) -> Any:
        nonlocal in_row
        in_row = 0
        return run(self, *args, **kwargs)

    Cycle._attempt, Cycle.run = counting, running  # type: ignore[method-assign]
    handed_back = 0
    with world.compactor(name) as machine:
        start.wait(_SECONDS)
        for batch in batches:
            left = list(batch)
            while left:
                try:
                    failed = machine.compact(in_sqs(left)).failed_sources()
                except LifecycleError:
                    failed = tuple(f"message-{number}" for number in range(len(left)))
                left = [left[int(source.rpartition("-")[2])] for source in failed]
                handed_back += bool(left)
    lost = [seconds for was_lost, seconds in took if was_lost]
    results.put(Contended(len(took), len(lost), longest, handed_back, sum(lost), sum(each for _, each in took)))


def run_contention(world: World, batches: Mapping[str, list[list[Any]]]) -> list[Contended]:
    """Let as many processes as there are names compact their batches at once."""
    context = processes()
    start, results = context.Barrier(len(batches)), context.Queue()
    racers = [
        context.Process(target=contend, args=(world, name, each, start, results)) for name, each in batches.items()
    ]
    for racer in racers:
        racer.start()
    ends = [results.get(timeout=_SECONDS) for _ in racers]
    for racer in racers:
        racer.join(_SECONDS)
        assert racer.exitcode == 0
    return ends
