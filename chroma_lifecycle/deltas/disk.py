"""The local disk: room before a step, and its errors in our words."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chroma_lifecycle.errors import NoRoom, Retryable

_FULL = (errno.ENOSPC, errno.EDQUOT)


def require_room(directory: Path, needed_bytes: int, step: str) -> None:
    """Refuse to begin *step* unless the disk of *directory* has room for it.

    Raises:
        NoRoom: It has not.
    """
    with writing(directory):
        free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise NoRoom(
            f"{step} needs about {needed_bytes:,} bytes below {directory}, {free:,} are free",
            hint="give the workspace more room (in a function: its ephemeral storage)",
        )


def sync(path: Path) -> None:
    """Bring a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate the errors of writing to *path*.

    Raises:
        NoRoom: The disk is full.
        Retryable: The path cannot be written; that is no fault of what should be written there.
    """
    try:
        yield
    except OSError as problem:
        if problem.errno in _FULL:
            raise NoRoom(
                f"the disk is full: {path} could not be written",
                hint="make room there (in a function: give it more ephemeral storage), or name a place on another disk",
            ) from problem
        raise Retryable(
            f"{path} cannot be written: {problem.strerror or type(problem).__name__}",
            hint="the directory must exist and be writable",
        ) from problem
