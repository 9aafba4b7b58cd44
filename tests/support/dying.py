"""Compactions in processes of their own: some die at a named step, some race each other.

The processes come from a server that imported everything and used nothing: Chroma's import takes
seconds, and a process that was forked after Chroma was used hangs.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, TypeAlias

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

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]
"""Plants a defect; by its name it gets to another process."""


def soundly(patch: pytest.MonkeyPatch) -> None:
    """Plant none."""


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


def race(
    world: World,
    workspace: str,
    batches: list[list[Any]],
    barrier: Barrier,
    results: Any,
) -> None:
    """Compact batches, meeting the other process between compare and write at each first swap of a batch.

    Both have compared when either writes; then they write one after the other, and take turns at being
    the second. Puts into *results*, for each batch, how many swaps were lost and which messages failed.
    """
    met = {"due": False, "second": False}
    kind, address = type(world.store), world.store.address
    swap_head, attempt = kind.swap_head, Cycle._attempt
    lost = {"swaps": 0}

    def meeting(self: Any, *args: Any, **kwargs: Any) -> Any:
        if met["due"] and self.address == address:
            met["due"] = False
            barrier.wait(_BARRIER_SECONDS)  # both have compared
            if met["second"]:
                barrier.wait(_BARRIER_SECONDS)  # the other one has written
                return swap_head(self, *args, **kwargs)
            try:
                return swap_head(self, *args, **kwargs)
            finally:
                barrier.wait(_BARRIER_SECONDS)
        return swap_head(self, *args, **kwargs)

    def counting(self: Cycle, *args: Any, **kwargs: Any) -> Any:
        try:
            return attempt(self, *args, **kwargs)
        except HeadMoved:
            lost["swaps"] += 1
            raise

    kind.swap_head = meeting  # type: ignore[method-assign]
    Cycle._attempt = counting  # type: ignore[method-assign]
    with world.compactor(workspace) as machine:
        for number, batch in enumerate(batches):
            met["due"], met["second"], lost["swaps"] = True, number % 2 == (workspace == "one"), 0
            report = machine.compact(in_sqs(batch))
            results.put((workspace, lost["swaps"], report.failed_sources()))


def run_race(world: World, batches: Mapping[str, list[list[Any]]]) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return (who, swaps lost, messages that failed) for each batch of two processes."""
    context = processes()
    barrier, results = context.Barrier(2), context.Queue()
    racers = [
        context.Process(target=race, args=(world, name, each, barrier, results)) for name, each in batches.items()
    ]
    for racer in racers:
        racer.start()
    ends = [results.get(timeout=2 * _BARRIER_SECONDS) for each in batches.values() for _ in each]
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
