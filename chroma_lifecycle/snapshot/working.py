"""Working copies: telling cheaply whether a file of one was written.

A copy gets a time of modification far in the past. Whoever writes to the file gives it the time of
the writing, whatever the clock and however coarse; a file that still has the mark was not written.
Where a file system cannot hold the mark, every file looks written, which costs a comparison.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.snapshot.files import FileEntry

# 9 September 2001, and a nanosecond that no archive and no tool would write.
_MARK = 1_000_000_000_000_000_001


def mark(path: Path) -> None:
    """Note that the file is as its original."""
    os.utime(path, ns=(_MARK, _MARK))


def is_unwritten(path: Path, size: int) -> bool:
    """Return whether nobody has written to the file since it was marked."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_mtime_ns == _MARK and status.st_size == size


def unwritten(directory: Path, files: Iterable[FileEntry]) -> frozenset[str]:
    """Return the paths of *files* that nobody has written to in *directory*."""
    return frozenset(entry.path for entry in files if is_unwritten(directory / entry.path, entry.size))


@dataclass(frozen=True, slots=True)
class Kept:
    """A working directory whose content was published: the next cycle copies only what differs.

    It was closed and proven when it was published, and every file was marked then, so that a
    write since would be seen.
    """

    directory: Path
    files: Mapping[str, FileEntry]

    def has(self, entry: FileEntry, directory: Path) -> bool:
        """Return whether the file, now in *directory*, is the one that is wanted."""
        return self.files.get(entry.path) == entry and is_unwritten(directory / entry.path, entry.size)
