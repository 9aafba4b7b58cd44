"""Files below a root, reached step by step and never through a link.

Each step opens one directory relative to the one before, so that a name cannot leave the root:
neither by ``..`` nor by a link that somebody put there, even while we look.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chroma_lifecycle.errors import (
    GONE,
    PAST_DAMAGE,
    BadInput,
    Corrupt,
    LifecycleError,
    NoRoom,
    ObjectMissing,
    StoreUnavailable,
)

_STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Without O_NONBLOCK, a pipe in an object's place would hang its reader.
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NOT_A_FILE = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}


class TooLong(OSError):
    """A file is longer than what it holds can be."""


@contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Translate the system's errors about *what*; the only place that does."""
    try:
        yield
    except OSError as problem:
        raise _translated(problem, what) from problem


def _translated(problem: OSError, what: str) -> LifecycleError:
    if isinstance(problem, TooLong):
        return Corrupt(f"{what} {problem}", hint=PAST_DAMAGE)
    reason = os.strerror(problem.errno) if problem.errno else str(problem)
    match problem.errno:
        case errno.ENOENT:
            return ObjectMissing(f"{what} is not there", hint=GONE)
        case code if code in _FULL:
            return NoRoom(f"no room to write {what} ({reason})", hint="make room, or raise the quota, and try again")
        case errno.EROFS:
            return StoreUnavailable(f"cannot write {what}: it is mounted read-only", hint="mount it for writing")
        case code if code in _FORBIDDEN:
            return StoreUnavailable(
                f"not allowed to use {what} ({reason})",
                hint="check owner and mode of the directory; for EFS, the access point's user and ClientWrite",
            )
        case code if code in _NOT_A_FILE:
            return Corrupt(
                f"{what} is not what it should be ({reason})",
                hint="a link, directory or device is in its place: remove it, then run `chroma-lifecycle verify --all`",
            )
        case _:
            return StoreUnavailable(f"cannot use {what} ({reason})", hint="check the mount, then run the batch again")


def split_name(name: str) -> tuple[tuple[str, ...], str]:
    """Return the directories of an object's name, and its last part.

    Raises:
        BadInput: It could leave the root.
    """
    parts = tuple(name.split("/"))
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise BadInput(f"not the name of an object: {name!r}", hint="take names from `chroma-lifecycle sweep`")
    return parts[:-1], parts[-1]


class Folders:
    """The directories below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Directories whose entries in their parents are known to be on disk, by device and inode.
        self._lasting: set[tuple[int, int]] = set()

    @contextmanager
    def enter(self, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """Give the descriptor of a directory below the root, made (durably) if asked for.

        Raises:
            StoreUnavailable: The root itself is not there.
            OSError: Anything else; `os_errors` translates it.
        """
        here = self._open_root()
        try:
            for part in parts:
                below = self._step(here, part, create)
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    @contextmanager
    def find(self, parts: Sequence[str]) -> Iterator[int | None]:
        """Give the descriptor of a directory below the root, or ``None`` if there is none."""
        with ExitStack() as stack:
            try:
                here = stack.enter_context(self.enter(parts))
            except FileNotFoundError:
                here = None
            yield here

    def _open_root(self) -> int:
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise StoreUnavailable(
                f"there is no directory {self.root}",
                hint="mount it; on a local disk, `chroma-lifecycle init` makes that of a store, mkdir a mirror's",
            ) from problem

    def _step(self, here: int, part: str, create: bool) -> int:
        made = False
        try:
            below = os.open(part, _STEP, dir_fd=here)
        except FileNotFoundError:
            if not create:
                raise
            made = _make_directory(here, part)
            below = os.open(part, _STEP, dir_fd=here)
        if create:
            self._make_last(here, below, made)
        return below

    def _make_last(self, here: int, below: int, made: bool) -> None:
        """Bring the entry of *below* to disk, also if another process made it and may not have."""
        status = os.fstat(below)
        key = (status.st_dev, status.st_ino)
        if made or key not in self._lasting:
            os.fsync(here)
            self._lasting.add(key)


def _make_directory(here: int, part: str) -> bool:
    try:
        os.mkdir(part, dir_fd=here)
    except FileExistsError:  # another writer was quicker
        return False
    return True


def read_file(folder: int, leaf: str, *, limit_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: It is no regular file, or (TooLong) longer than *limit_bytes*; `os_errors` translates it.
    """
    with os.fdopen(os.open(leaf, _LOOK, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, "not a regular file")
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise TooLong(f"has {status.st_size} bytes where at most {limit_bytes} can be")
    return data


def write_file(folder: int, leaf: str, data: bytes) -> None:
    """Write a new file and bring its bytes to disk; its entry is brought there by whoever names it."""
    with os.fdopen(os.open(leaf, _CREATE, 0o666, dir_fd=folder), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_file(folder: int, leaf: str) -> None:
    """Remove a file; one that is not there is no error."""
    try:
        os.unlink(leaf, dir_fd=folder)
    except FileNotFoundError:
        return


def is_file(folder: int, leaf: str) -> bool:
    """Return whether there is a regular file of this name; a link is none."""
    try:
        status = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode)
