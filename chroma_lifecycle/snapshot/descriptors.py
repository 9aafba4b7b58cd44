"""Open descriptors below a directory: what tells whether somebody still has it open.

A path can be spelled in many ways and a file can be reached by many paths, so a descriptor counts
as below the directory by its path, also when the file was deleted since, or by the device and
inode of a file that stands there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.errors import NotClosed
from chroma_lifecycle.snapshot import leases

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "fd").is_dir()

FileIdentity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True, order=True)
class Descriptor:
    """One open file of a process.

    Attributes:
        pid: The process.
        number: The descriptor's number, -1 where the system does not tell it.
        path: The file as the system names it; ends with ``(deleted)`` if it was removed since.
    """

    pid: int
    number: int
    path: str

    def __str__(self) -> str:
        where = f"descriptor {self.number}" if self.number >= 0 else "a descriptor"
        return f"{self.path} (process {self.pid}, {where})"


def below(directory: Path, pid: int | None = None) -> tuple[Descriptor, ...]:
    """Return the descriptors of a process, of this one by default, on files below *directory*.

    The directory itself does not count: listing it harms nobody. Nothing is returned of a
    process that has ended or may not be looked at.
    """
    return _Scope(directory).held_by(os.getpid() if pid is None else pid)


def still_below(directory: Path, *, timeout_seconds: float) -> tuple[Descriptor, ...]:
    """Wait until this process has nothing below *directory* open; return what it has when the time is over."""
    held: tuple[Descriptor, ...] = ()

    def is_closed() -> bool:
        nonlocal held
        held = below(directory)
        return not held

    wait_until(is_closed, timeout_seconds=timeout_seconds)
    return held


def below_by_others(directory: Path) -> tuple[Descriptor, ...]:
    """Return the descriptors below *directory* of every other process that may be looked at."""
    scope, own = _Scope(directory), os.getpid()
    return tuple(found for pid in psutil.pids() if pid != own for found in scope.held_by(pid))


def require_closed(directory: Path, *, timeout_seconds: float) -> None:
    """Wait until this process has no file below *directory* open.

    Chroma goes on closing for some milliseconds after its client has ended.

    Raises:
        NotClosed: Some are still open when the time is over, or another process has one open.
    """
    if holders := listing(still_below(directory, timeout_seconds=timeout_seconds)) or held_by_others(directory):
        raise NotClosed(
            f"{directory} is still open: {holders}",
            hint="close every client of this directory, then close or seal again; nothing was published",
        )


def held_by_others(directory: Path) -> str:
    """Return who else has a file below *directory* open, or mapped; nothing if nobody has.

    Asked by the kernel's leases, which see also what may not be looked at; this process must have none open.
    """
    try:
        if leases.first_open(files_below(directory)) is None:
            return ""
        seen = listing(below_by_others(directory))
        # Those of other users are not seen, and some have gone meanwhile.
        left = None if seen else leases.first_open(files_below(directory))
    except leases.CannotTell:
        return listing(below_by_others(directory))
    return f"{left} (a process that may not be looked at)" if left and leases.means_open(left) else seen


def listing(descriptors: tuple[Descriptor, ...], limit: int = 10) -> str:
    """Return *descriptors* as text, the first few of very many."""
    more = f" and {len(descriptors) - limit} more" if len(descriptors) > limit else ""
    return ", ".join(str(descriptor) for descriptor in descriptors[:limit]) + more


def regular_files(pid: int) -> tuple[Descriptor, ...]:
    """Return every regular file that a process has open; nothing if it may not be looked at."""
    return tuple(descriptor for descriptor, _ in _open_files(pid))


def files_below(directory: Path) -> Iterator[Path]:
    """Yield everything below *directory* that is no directory, links included, in order of path."""
    if directory.is_dir():
        for root, directories, names in sorted(os.walk(directory)):
            links = [name for name in directories if os.path.islink(f"{root}/{name}")]  # noqa: PTH114 - as below
            yield from (Path(root) / name for name in sorted([*names, *links]))


def sizes_below(directory: Path) -> dict[str, int]:
    """Return the length of everything below *directory* that is no directory, by its path from there."""
    begin = len(f"{directory}/")
    return {entry.path[begin:]: entry.stat(follow_symlinks=False).st_size for entry in _entries(str(directory))}


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    """Yield what :func:`files_below` does, in any order: this is asked for several times in a cycle."""
    try:
        with os.scandir(directory) as found:
            entries = list(found)
    except (FileNotFoundError, NotADirectoryError):  # removed since it was listed
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path)
        else:
            yield entry


class _Scope:
    """The files below a directory, by path and by identity."""

    def __init__(self, directory: Path) -> None:
        self._prefix = f"{directory.resolve()}/"
        self._files = {identity for entry in _entries(str(directory)) if (identity := _identity(entry.path))}

    def held_by(self, pid: int) -> tuple[Descriptor, ...]:
        return tuple(
            descriptor
            for descriptor, identity in _open_files(pid)
            if descriptor.path.startswith(self._prefix) or identity in self._files
        )


def _identity(path: Path | str) -> FileIdentity | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - Path.stat takes four times as long, and this is polled
    except OSError:  # closed, deleted or forbidden since it was listed
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _open_files(pid: int) -> Iterator[tuple[Descriptor, FileIdentity]]:
    return _from_proc(pid) if _HAS_PROC else _from_psutil(pid)


def _from_proc(pid: int) -> Iterator[tuple[Descriptor, FileIdentity]]:
    table = f"{_PROC}/{pid}/fd"
    try:
        numbers = os.listdir(table)  # noqa: PTH208 - as above
    except OSError:  # the process ended, or belongs to somebody else
        return
    for number in numbers:
        link = f"{table}/{number}"
        try:
            path = os.readlink(link)  # noqa: PTH115 - as above
        except OSError:
            continue
        if path.startswith("/") and (identity := _identity(link)):
            yield Descriptor(pid, int(number), path), identity


def _from_psutil(pid: int) -> Iterator[tuple[Descriptor, FileIdentity]]:
    try:
        files = psutil.Process(pid).open_files()
    except psutil.Error:
        return
    for file in files:
        identity = _identity(file.path)
        yield Descriptor(pid, file.fd, file.path), identity or (-1, -1)
