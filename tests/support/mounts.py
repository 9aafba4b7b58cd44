"""Real mounts: a disk that is really full, and one that really hangs; a test that needs one takes root."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from chroma_lifecycle.snapshot.disk import free_bytes

_FUSE = Path("/dev/fuse")
_LONGEST_SECONDS = 90


def without_mounts(why: str) -> NoReturn:
    """Skip the test; or fail it where CI found that mounts can be had, and so the test must not be left out."""
    if os.environ.get("MOUNTS") == "required":
        pytest.fail(f"MOUNTS=required, and the test cannot run: {why}")
    pytest.skip(why)


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """A small file system at *path*."""
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(path)], capture_output=True)
    if made.returncode:
        without_mounts("mounting needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def leave_free(disk: Path, count: int) -> None:
    """Fill the disk but for *count* bytes."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb") as file:
        while (left := free_bytes(disk) - count) > 0:
            file.write(bytes(min(left, 1 << 20)))
            file.flush()


@contextmanager
def hanging(path: Path) -> Iterator[Callable[[], None]]:
    """Mount a file system over *path* that answers nothing; give what ends it.

    Every call of the system below it waits, as on a network mount whose server is gone: the kernel hands
    the calls to a device that nobody reads. When it is ended, they fail; it ends by itself before a
    test that waits for it would hang for ever.
    """
    if not _FUSE.exists():
        without_mounts("there is no /dev/fuse here")
    device = os.open(_FUSE, os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    # By the call itself: the command would look at the place first, and hang.
    if ctypes.CDLL(None).mount(b"fuse", os.fsencode(path), b"fuse", 0, options.encode()):
        os.close(device)
        without_mounts("mounting needs root")
    once = threading.Lock()

    def end() -> None:
        if once.acquire(blocking=False):
            os.close(device)
            subprocess.run(["umount", "-l", str(path)], check=True)

    guard = threading.Timer(_LONGEST_SECONDS, end)
    guard.start()
    try:
        yield end
    finally:
        guard.cancel()
        end()
