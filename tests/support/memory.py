"""How much memory a process takes at most: for tests that run their subject in a child."""

from __future__ import annotations

from pathlib import Path


def forget_peak() -> int:
    """Begin to measure; return the memory that is taken now, in megabytes.

    ``ru_maxrss`` will not do: a child begins with the peak of the process that made it.
    """
    Path("/proc/self/clear_refs").write_text("5")
    return peak_megabytes()


def peak_megabytes() -> int:
    """Return the most memory that was taken since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10
