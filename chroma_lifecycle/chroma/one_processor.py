"""Keeping short work of Chroma's on one processor.

Chroma hands every statement of SQL to another thread and waits for it: several thousand times for a thousand
records. From one processor to another each hand-over wakes one that sleeps, or waits for one that is busy with
something else; on the same one it is a switch. ``docs/adr/0210`` has the measurements.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.processors import allowed_processors

MOST_RECORDS = 5_000
MOST_VECTORS = 1_000
"""What is short: half a second."""

_TASKS = Path("/proc/self/task")
_OWN_STATUS = Path("/proc/thread-self/stat")
# Of what follows the name in a thread's status, the processor that it ran on last; see proc(5).
_PROCESSOR = 36


def beside(plan: Plan) -> AbstractContextManager[None]:
    """Return a block for Chroma's work on *plan*: on one processor, if it is short."""
    is_short = plan.size <= MOST_RECORDS and plan.size - len(plan.updates) <= MOST_VECTORS
    return on_one_processor() if is_short else nullcontext()


@contextmanager
def on_one_processor() -> Iterator[None]:
    """Keep this thread, and those that begin while the block lasts, on the processor that it runs on.

    For what ends within a second: meanwhile the system cannot move it to an idle processor. Nothing is
    changed where the system does not let us ask. Threads that outlive the block are set free again.
    """
    allowed = allowed_processors()
    here = _processor()
    if here is None or here not in allowed or len(allowed) == 1:
        yield
        return
    before = _threads()
    with suppress(OSError):
        os.sched_setaffinity(0, {here})
    try:
        yield
    finally:
        # This thread is 0: its number is another in the view of a container.
        for thread in (0, *(_threads() - before)):
            with suppress(OSError):  # it has ended meanwhile, or the set is no longer ours to choose
                os.sched_setaffinity(thread, allowed)


def _processor() -> int | None:
    try:
        return int(_OWN_STATUS.read_text().rpartition(")")[2].split()[_PROCESSOR])
    except (OSError, ValueError, IndexError):
        return None


def _threads() -> set[int]:
    try:
        return {int(entry.name) for entry in _TASKS.iterdir()}
    except OSError:
        return set()
