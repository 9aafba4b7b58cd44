"""Compactions in processes of their own: some die at a named step, some race each other.

The processes come from a server that imported everything and used nothing: Chroma's import takes
seconds, and a process that was forked after Chroma was used hangs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from chroma_lifecycle.cycle import Cycle
from chroma_lifecycle.errors import HeadMoved
from chroma_lifecycle.publishing.publication import Publication
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.table import in_sqs
from tests.support.world import World

STEPS: dict[str, tuple[type, str]] = {
    "restore": (Cycle, "_restore"),
    "apply": (Cycle, "_apply"),
    "seal": (Cycle, "_seal"),
    "objects": (Publication, "store_objects"),
    "manifest": (Publication, "store_manifest"),
    "head": (Publication, "move_head"),
    "publish": (Cycle, "_publish"),
    "mirror": (Cycle, "_mirror"),
}
"""The steps of a cycle by name, each a method."""

_BARRIER_SECONDS = 60


def processes() -> ForkServerContext:
    """Return what starts processes quickly."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.dying", "chroma_lifecycle.compactor"])
    return context


def die_at(home: Path, records: list[Any], step: str, *, after: bool) -> int | None:
    """Compact in a process that is killed (SIGKILL) before or after *step*; return its exit code."""
    process = processes().Process(target=_dying, args=(home, records, step, after))
    process.start()
    process.join(120)
    return process.exitcode


def die_in(home: Path, records: list[Any], seconds: float) -> int | None:
    """Compact in a process that is killed some seconds after it began."""
    process = processes().Process(target=_dying_soon, args=(home, records, seconds))
    process.start()
    process.join(120)
    return process.exitcode


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(home: Path, records: list[Any], step: str, after: bool) -> None:
    owner, name = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if not after:
            _kill()
        original(*args, **kwargs)
        _kill()

    setattr(owner, name, deadly)
    World(home).compact(records)


def _dying_soon(home: Path, records: list[Any], seconds: float) -> None:
    timer = threading.Timer(seconds, _kill)
    timer.daemon = True
    timer.start()
    World(home).compact(records)


def race(home: Path, workspace: str, batches: list[list[Any]], barrier: Barrier, results: Any) -> None:
    """Compact batches, meeting the other process between compare and write at each first swap of a batch.

    Both have compared when either writes; then they write one after the other, and take turns at being
    the second. Puts into *results*, for each batch, how many swaps were lost and which messages failed.
    """
    met = {"due": False, "second": False}
    swap_head, attempt = DirectoryStore.swap_head, Cycle._attempt
    lost = {"swaps": 0}

    def meeting(self: DirectoryStore, *args: Any, **kwargs: Any) -> Any:
        if met["due"] and self.address.endswith("store"):
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

    DirectoryStore.swap_head = meeting  # type: ignore[method-assign]
    Cycle._attempt = counting  # type: ignore[method-assign]
    with World(home).compactor(workspace) as machine:
        for number, batch in enumerate(batches):
            met["due"], met["second"], lost["swaps"] = True, number % 2 == (workspace == "one"), 0
            report = machine.compact(in_sqs(batch))
            results.put((workspace, lost["swaps"], report.failed_sources()))
