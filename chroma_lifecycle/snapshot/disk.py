"""The local disk: copies, durable writes, room, and the system's errors in our words."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import BadInput, NoRoom, Retryable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNUSABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,  # a file stands where a directory is to be made
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
_ROOM_HINT = (
    "give the disk more room (in a function: its ephemeral storage), "
    "or set CHROMA_LIFECYCLE_WORKSPACE (or --workspace) to a directory on another one"
)
# linux/fs.h; the copy shares its blocks with the original until one of them is written.
_FICLONE = 0x40049409
_SYNCS_AT_ONCE = 8
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def disk_errors(what: Path) -> Iterator[None]:
    """Translate the system's errors about *what*.

    Raises:
        NoRoom: The disk is full.
        BadInput: The directory cannot be used as it is: a setting is wrong.
        Retryable: Anything else.
    """
    try:
        yield
    except OSError as problem:
        place, reason = problem.filename or what, problem.strerror or type(problem).__name__
        if problem.errno in FULL:
            raise NoRoom(f"no room on the disk to write {place} ({reason})", hint=_ROOM_HINT) from problem
        if problem.errno in _UNUSABLE:
            raise BadInput(
                f"{place} cannot be used ({reason})",
                hint="set CHROMA_LIFECYCLE_WORKSPACE (or --workspace) to a directory that this user can write",
            ) from problem
        raise Retryable(f"{place} cannot be used ({reason})", hint="check the disk, and run it again") from problem


def free_bytes(directory: Path) -> int:
    """Return the room on the disk of *directory* that this user may fill."""
    return shutil.disk_usage(directory).free


def require_room(directory: Path, needed_bytes: int, step: str) -> None:
    """Refuse to begin *step* unless the disk of *directory* has room for it.

    Raises:
        NoRoom: It has not; the error says how much is missing.
    """
    if (free := free_bytes(directory)) < needed_bytes:
        raise NoRoom(
            f"{step} needs {needed_bytes:,} bytes below {directory}, {free:,} are free: "
            f"{needed_bytes - free:,} bytes are missing",
            hint=_ROOM_HINT,
        )


def clone_file(source: Path, target: Path) -> bool:
    """Make *target* share the blocks of *source*; return whether the file system can do that."""
    with source.open("rb") as original, target.open("xb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            target.unlink()
            return False
    return True


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file within the kernel; *target* must not exist."""
    with source.open("rb") as original, target.open("xb") as copy:
        left = os.fstat(original.fileno()).st_size
        while left > 0:
            copied = os.copy_file_range(original.fileno(), copy.fileno(), left)
            if copied == 0:
                raise OSError(errno.EIO, "the file became shorter while it was copied", str(source))
            left -= copied


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of *data* at *offset*."""
    left = memoryview(data)
    # A full disk can take a part of the bytes, and says so only when it is asked again.
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file by *data*, atomically; a crash of the machine may undo or spoil it."""
    temporary = path.with_name(f"{path.name}.{new_id()}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def this_boot() -> str:
    """Return what names the time since this machine was started.

    What a process has written is there for every later one of the same boot, however the process
    ended, with or without fsync; only the machine's own crash loses it.
    """
    if _BOOT_ID.exists():
        return _BOOT_ID.read_text().strip()
    return f"{psutil.boot_time():.0f}"


def sync(path: Path) -> None:
    """Bring a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[Path]) -> None:
    """Bring many files and directories to disk; at once, so that they share the journal's commits."""
    with ThreadPoolExecutor(_SYNCS_AT_ONCE, "sync") as pool:
        for _ in pool.map(sync, paths):
            pass


def directories_below(root: Path) -> list[Path]:
    """Return *root* and every directory below it, the deepest first."""
    return [Path(path) for path, _, _ in os.walk(root, topdown=False)]


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it, or a file in its place; one that is not there is no error."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
