"""The processors that this process may run on."""

from __future__ import annotations

import os


def allowed_processors() -> set[int]:
    """Return their numbers; none, where the system does not tell (another one than Linux)."""
    try:
        return os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return set()


def processor_count() -> int:
    """Return how many there are, at least one."""
    return len(allowed_processors()) or os.cpu_count() or 1
