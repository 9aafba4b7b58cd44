"""The kernel's own answer to whether anybody has a file open.

A write lease (``F_SETLEASE`` of fcntl(2)) is granted only where nobody else has the file open: no other process of any
user or namespace, and none of which a mapping alone is left. It is asked for and given back at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_LEASES = hasattr(fcntl, "F_SETLEASE")
# Who opens the file meanwhile waits for the moment, and we are told so by a signal. The usual one
# would end the process; this one is ignored.
_SIGNAL = signal.SIGURG


_MOUNTS = Path("/proc/self/mountinfo")
# Those whose leases are the kernel's own. A network's file system refuses one also where its server
# has not handed the file over.
_TRUSTED = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs"})


class CannotTell(Exception):
    """The system, the file system or the owner of a file does not let us ask."""


def first_open(paths: Iterable[Path]) -> Path | None:
    """Return the first of *paths* that somebody else has open, or ``None`` if nobody has any.

    No file may be open in this process: it would be refused, and SQLite's locks on it would be dropped.

    Raises:
        CannotTell: Look at the descriptors of every process instead.
    """
    if not _LEASES:
        raise CannotTell
    return next((path for path in paths if _is_open(path)), None)


def means_open(path: Path) -> bool:
    """Return whether a lease that was refused for *path* can mean nothing else than that somebody has it open."""
    try:
        device = path.stat().st_dev
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    types = {line.partition(" - ")[2].split(" ", 1)[0] for line in lines if line.split(" ", 3)[2] == number}
    return bool(types) and types <= _TRUSTED


def _is_open(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as problem:
        raise CannotTell from problem
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, _SIGNAL)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError as problem:
        if problem.errno == errno.EAGAIN:
            return True
        raise CannotTell from problem
    finally:
        with suppress(OSError):  # the descriptor is gone whatever a disk that fails says
            os.close(descriptor)  # the lease goes with it
    return False
