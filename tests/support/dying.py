"""Compactions in processes of their own: some die at a named step, some race each other.

The processes come from a server that imported everything and used nothing: Chroma's import takes
seconds, and a process that was forked after Chroma was used hangs.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle import cycle, upkeep
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.config import take_environment
from chroma_lifecycle.cycle import Cycle
from chroma_lifecycle.errors import HeadMoved, LifecycleError
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.publishing.publication import Publication
from chroma_lifecycle.repair import resyncing
from chroma_lifecycle.snapshot.chain import Chain
from tests.support.planting import Plant, soundly
from tests.support.scanned import resync_with
from tests.support.table import Table, in_sqs
from tests.support.world import World

STEPS: dict[str, tuple[Any, str]] = {
    "restore": (Cycle, "_restore"),
    "plan": (cycle, "plan"),
    "apply": (Cycle, "_apply"),
    "seal": (Cycle, "_seal"),
    "objects": (Publication, "store_objects"),
    "manifest": (Publication, "store_manifest"),
    "head": (Publication, "move_head"),
    "publish": (Cycle, "_publish"),
    "mirror": (Cycle, "_mirror"),
    "status": (Cycle, "_tell_runs"),
}
"""The steps of a cycle by name, each a function that is called once for each collection."""

STEPS_OF_REBASE: dict[str, tuple[Any, str]] = {
    "base": (Publication, "store_base"),
    "rebase": (upkeep, "rebase"),
}
"""What comes after all cycles where a chain has become long, once for each collection."""

STEPS_OF_RESYNC: dict[str, tuple[Any, str]] = {**STEPS, "plan": (resyncing, "compare")}
"""The same of a resync."""

_BARRIER_SECONDS = 60


class _Process(ForkServerProcess):
    """A process with the variables of who makes it: the server that forks it may have begun under others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._variables = dict(os.environ)

    def run(self) -> None:
        take_environment(self._variables)
        super().run()


class _Context(ForkServerContext):
    Process = _Process


def processes() -> ForkServerContext:
    """Return what starts processes quickly."""
    context = _Context()
    context.set_forkserver_preload(["tests.support.dying", "chroma_lifecycle.compactor"])
    return context


def die_at(
    world: World,
    records: list[Any],
    step: str,
    *,
    after: bool,
    collections: int = 0,
    plant: Plant = soundly,
) -> int | None:
    """Compact in a process that is killed (SIGKILL) before or after *step*; return its exit code.

    Args:
        collections: How many collections come past the step before.
        plant: Plants a defect in that process.
    """
    return _exit_code(_dying, world, records, step, after, collections, plant)


def die_resyncing(world: World, table: Table, mapping: TableMapping | None, step: str, *, after: bool) -> int | None:
    """Resync words in a process that is killed (SIGKILL) before or after *step*; return its exit code."""
    return _exit_code(_dying_in_resync, world, table, mapping, step, after)


PHASES = ("before", "elsewhere", "open", "apply", "close")
"""Where a process is in its batch: calls of the managed client, which hold Python's lock, and all else."""


def die_in(world: World, records: list[Any], seconds: float) -> tuple[int | None, str]:
    """Compact in a process that this one kills some seconds after it began; return its exit code and its phase then.

    Not the process itself: in a call of Chroma no thread and no timer of it comes to do so.
    """
    context = processes()
    phase = context.RawValue("i", 0)
    process = context.Process(target=_compacting, args=(world, records, phase))
    process.start()
    wait_until(lambda: phase.value > 0 or not process.is_alive(), timeout_seconds=120)
    process.join(seconds)
    process.kill()
    process.join(120)
    return process.exitcode, PHASES[phase.value]


def _exit_code(target: Callable[..., None], *arguments: Any) -> int | None:
    process = processes().Process(target=target, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(world: World, records: list[Any], step: str, after: bool, collections: int, plant: Plant) -> None:
    plant(pytest.MonkeyPatch())
    if step in STEPS_OF_REBASE:
        Chain.wants_rebase = property(lambda chain: bool(chain.packs))  # type: ignore[assignment]
    _kill_at(*{**STEPS, **STEPS_OF_REBASE}[step], after=after, calls=collections)
    world.compact(records)


def _dying_in_resync(world: World, table: Table, mapping: TableMapping | None, step: str, after: bool) -> None:
    # The newest version is restored twice: before the table is read, and by the cycle.
    _kill_at(*STEPS_OF_RESYNC[step], after=after, calls=1 if step == "restore" else 0)
    resync_with(world, table, mapping=mapping)


def _kill_at(owner: Any, name: str, *, after: bool, calls: int) -> None:
    """Let this process die before or after a function is called, when it was called so often before."""
    original: Callable[..., Any] = getattr(owner, name)
    left = calls

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        if left == 0 and not after:
            _kill()
        result = original(*args, **kwargs)
        if left == 0:
            _kill()
        left -= 1
        return result

    setattr(owner, name, deadly)


def _compacting(world: World, records: list[Any], phase: Any) -> None:
    elsewhere = PHASES.index("elsewhere")

    def telling(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def told(*args: Any, **kwargs: Any) -> Any:
            phase.value = PHASES.index(name)
            try:
                return call(*args, **kwargs)
            finally:
                phase.value = elsewhere

        return told

    ManagedClient.open = staticmethod(telling(ManagedClient.open, "open"))  # type: ignore[assignment, method-assign]
    ManagedClient.apply = telling(ManagedClient.apply, "apply")  # type: ignore[method-assign]
    ManagedClient.close = telling(ManagedClient.close, "close")  # type: ignore[method-assign]
    phase.value = elsewhere
    world.compact(records)


@dataclass(frozen=True)
class Racer:
    """One of several processes that compact at once.

    Attributes:
        name: Of its workspace.
        number: Its place among them.
        batches: What it compacts, one after the other.
        plant: Plants a defect in it.
    """

    name: str
    number: int
    batches: list[list[Any]]
    plant: Plant = soundly


@dataclass(frozen=True)
class Raced:
    """How a batch of a racer ended: how many swaps it lost, and which messages failed."""

    name: str
    lost: int
    failed: tuple[str, ...]


def race(world: World, racer: Racer, count: int, barrier: Barrier, results: Any) -> None:
    """Compact batches, meeting the others between compare and write at each first swap of a batch.

    All of them have compared when any writes; then they write one after the other, in each batch another one first.
    Puts a `Raced` into *results* for each batch.
    """
    racer.plant(pytest.MonkeyPatch())
    due, turn, lost = False, 0, 0
    kind, address = type(world.store), world.store.address
    swap_head, attempt = kind.swap_head, Cycle._attempt

    def meeting(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal due
        if not due or self.address != address:
            return swap_head(self, *args, **kwargs)
        due = False
        barrier.wait(_BARRIER_SECONDS)  # all have compared
        for _ in range(turn):
            barrier.wait(_BARRIER_SECONDS)  # one of those before us has written
        try:
            return swap_head(self, *args, **kwargs)
        finally:
            for _ in range(count - turn):
                barrier.wait(_BARRIER_SECONDS)

    def counting(self: Cycle, *args: Any, **kwargs: Any) -> Any:
        nonlocal lost
        try:
            return attempt(self, *args, **kwargs)
        except HeadMoved:
            lost += 1
            raise

    kind.swap_head = meeting  # type: ignore[method-assign]
    Cycle._attempt = counting  # type: ignore[method-assign]
    with world.compactor(racer.name) as machine:
        for number, batch in enumerate(racer.batches):
            due, turn, lost = True, (racer.number + number) % count, 0
            report = machine.compact(in_sqs(batch))
            results.put(Raced(racer.name, lost, report.failed_sources()))


def run_race(world: World, batches: Mapping[str, list[list[Any]]], plant: Plant = soundly) -> list[Raced]:
    """Return how each batch of as many processes as there are names ended."""
    context = processes()
    barrier, results = context.Barrier(len(batches)), context.Queue()
    racers = [
        context.Process(target=race, args=(world, Racer(name, number, each, plant), len(batches), barrier, results))
        for number, (name, each) in enumerate(batches.items())
    ]
    for racer in racers:
        racer.start()
    ends = [results.get(timeout=len(racers) * _BARRIER_SECONDS) for each in batches.values() for _ in each]
    for racer in racers:
        racer.join(_BARRIER_SECONDS)
        assert racer.exitcode == 0
    return ends


def _ending(home: Path, workspace: str, records: list[Any], file_bytes: int | None, results: Any) -> None:
    try:
        with World(home).compactor(workspace) as machine:  # everything is imported and owned by now
            if file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
            report = machine.compact(in_sqs(records))
        results.put([type(failure.error).__name__ for failure in report.failures])
    except LifecycleError as problem:
        results.put([type(problem).__name__])


def on_a_limited_disk(home: Path, records: list[Any], file_bytes: int) -> list[str]:
    """Return the kinds of errors that a compaction ends with where files cannot grow past *file_bytes*."""
    return ends_elsewhere(home, "workspace", records, file_bytes)


def ends_elsewhere(home: Path, workspace: str, records: list[Any], file_bytes: int | None = None) -> list[str]:
    """Return the kinds of errors that a compaction in a process of its own ends with.

    Args:
        file_bytes: How long a file can become: to every write past it the disk is full.
    """
    context = processes()
    results = context.Queue()
    process = context.Process(target=_ending, args=(home, workspace, records, file_bytes, results))
    process.start()
    process.join(120)
    assert process.exitcode == 0, process.exitcode
    found: list[str] = results.get(timeout=10)
    return found
