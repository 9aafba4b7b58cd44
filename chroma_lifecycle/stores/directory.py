"""The store in a directory: a local disk, EFS, or any other mount.

Objects are written under another name, brought to disk, and renamed. HEAD is decided by
``link(2)`` (see :mod:`.swapping`), which no lease that ended and no stale cache can undo.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from chroma_lifecycle.clock import SYSTEM_CLOCK, new_id
from chroma_lifecycle.ports import HeadToken, StoredHead, StoredObject
from chroma_lifecycle.snapshot.names import UNFINISHED, Names, collection_of
from chroma_lifecycle.stores.folders import (
    Folders,
    is_file,
    os_errors,
    read_file,
    remove_file,
    split_name,
    write_file,
)
from chroma_lifecycle.stores.swapping import HeadFiles

_ABANDONED = timedelta(days=1)
# A directory can vanish under a writer when a sweep removes the empty ones, and a file in
# UNFINISHED when its writer slept for a day: then the write begins again.
_ATTEMPTS = 3
# A mount that is read-only, or files of somebody else.
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    is_folder: bool
    size: int
    modified: datetime


class DirectoryStore:
    """A :class:`chroma_lifecycle.ports.Store` in a directory.

    Args:
        root: The directory. It must exist: a mount that is missing is not written beside.
        mirror_only: Accept a mount without hard links. Two writers of HEAD are then kept apart
            by a lock alone, which is enough for what can be made again, and only for that.
    """

    def __init__(self, root: Path, *, mirror_only: bool = False) -> None:
        self._folders = Folders(root)
        self._mirror_only = mirror_only

    @property
    def root(self) -> Path:
        return self._folders.root

    @property
    def address(self) -> str:
        return str(self.root)

    def create_root(self) -> None:
        """Make the root, for `init` and for a new copy alone."""
        with os_errors(self.address):
            self.root.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        folders, leaf = split_name(name)
        with self._errors(name), self._folders.enter(folders) as folder:
            return read_file(folder, leaf, limit_bytes=limit_bytes)

    def write(self, name: str, data: bytes) -> None:
        with self._errors(name):
            for _ in range(_ATTEMPTS - 1):
                try:
                    return self._write(name, data)
                except FileNotFoundError:
                    continue
            return self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        folders, leaf = split_name(name)
        temporary = new_id()
        with (
            self._folders.enter((collection_of(name), UNFINISHED), create=True) as unfinished,
            self._folders.enter(folders, create=True) as folder,
        ):
            try:
                write_file(unfinished, temporary, data)
                os.rename(temporary, leaf, src_dir_fd=unfinished, dst_dir_fd=folder)
                os.fsync(folder)
            finally:
                remove_file(unfinished, temporary)

    def present(self, names: Collection[str]) -> frozenset[str]:
        return frozenset(name for name in names if self._is_present(name))

    def _is_present(self, name: str) -> bool:
        folders, leaf = split_name(name)
        with self._errors(name), self._folders.find(folders) as folder:
            return folder is not None and is_file(folder, leaf)

    def folders(self) -> Sequence[str]:
        """Return the names of the directories in it, collections and others."""
        with self._errors("the names of its collections"):
            return sorted(path.name for path in self.root.iterdir() if path.is_dir())

    def has_begun(self, collection: str) -> bool:
        """Return whether a collection has a HEAD, or had one."""
        return (self.root / Names(collection).all_heads).is_dir()

    def list(self, prefix: str) -> Iterator[StoredObject]:
        folder, slash, beginning = prefix.rpartition("/")
        above = split_name(f"{folder}/.x")[0] if slash else ()
        yield from self._list_below(above, beginning)

    def _list_below(self, parts: tuple[str, ...], beginning: str = "") -> Iterator[StoredObject]:
        for entry in self._entries(parts):
            if not entry.name.startswith(beginning) or _is_our_own_affair(parts, entry.name):
                continue
            below = (*parts, entry.name)
            if entry.is_folder:
                yield from self._list_below(below)
            else:
                yield StoredObject("/".join(below), entry.size, entry.modified)

    def _entries(self, parts: Sequence[str]) -> Iterator[_Entry]:
        """Yield what is in a directory, in order; a mount takes time for each: it is looked at in its turn."""
        with self._errors("/".join(parts) or "."), self._folders.find(parts) as folder:
            if folder is None:
                return
            with os.scandir(folder) as found:
                ordered = sorted(found, key=_order)
            yield from filter(None, map(_look_at, ordered))

    def delete(self, names: Collection[str]) -> None:
        for folders, found in groupby(sorted(map(split_name, names)), key=itemgetter(0)):
            self._delete_in(folders, [leaf for _, leaf in found])
        for collection in {collection_of(name) for name in names}:
            self._delete_abandoned(collection)

    def _delete_in(self, folders: tuple[str, ...], leaves: Sequence[str]) -> None:
        with self._errors("/".join(folders)), self._folders.find(folders) as folder:
            if folder is None:
                return
            for leaf in leaves:
                remove_file(folder, leaf)
            os.fsync(folder)
        self._remove_empty(folders)

    def _remove_empty(self, folders: tuple[str, ...]) -> None:
        """Remove directories that a sweep left empty, up to ``<collection>/objects``."""
        while len(folders) > 2:
            *above, leaf = folders
            try:
                with self._folders.enter(above) as folder:
                    os.rmdir(leaf, dir_fd=folder)
            except OSError:  # not empty, or removed by another: either way there is nothing to do
                return
            folders = tuple(above)

    def _delete_abandoned(self, collection: str) -> None:
        """Remove the unfinished files of writers that died (for S3, a bucket rule does this)."""
        before = self.now() - _ABANDONED
        with self._errors(f"{collection}/{UNFINISHED}"), self._folders.find((collection, UNFINISHED)) as unfinished:
            if unfinished is None:
                return
            for entry in self._entries((collection, UNFINISHED)):
                if entry.modified < before:
                    remove_file(unfinished, entry.name)

    def remains(self, prefix: str) -> Iterator[StoredObject]:
        yield from self.list(prefix)
        collection = collection_of(prefix)
        for entry in self._entries((collection, UNFINISHED)):
            yield StoredObject(f"{collection}/{UNFINISHED}/{entry.name}", entry.size, entry.modified)

    def erase(self, prefix: str, condemned: Callable[[StoredObject], bool]) -> tuple[StoredObject, ...]:
        rows = tuple(row for row in self.remains(prefix) if condemned(row))
        # A writer whose unfinished file goes begins it again.
        self.delete([row.name for row in rows])
        return rows

    def now(self) -> datetime:
        """Return the time that the file system gives to a file just written.

        Who may write nothing here decides nothing by it, and gets the time of this machine.
        """
        name = f"{UNFINISHED}-{new_id()}"
        with self._errors("a file for the time"), self._folders.enter(()) as root:
            try:
                write_file(root, name, b"")
                return _time_of(os.stat(name, dir_fd=root, follow_symlinks=False))
            except OSError as problem:
                if problem.errno in _FORBIDDEN and not _may_write_below(root):
                    return SYSTEM_CLOCK.now()
                raise
            finally:
                if is_file(root, name):
                    remove_file(root, name)

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        with self._errors(Names(collection).head):
            found = self._heads(collection).read()
        return known if found == known else found

    def past_heads(self, collection: str) -> Iterator[bytes]:
        with self._errors(Names(collection).all_heads):
            yield from self._heads(collection).past()

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        with self._errors(Names(collection).head):
            return self._heads(collection).swap(body, serial, expected)

    def _heads(self, collection: str) -> HeadFiles:
        return HeadFiles(self._folders, collection, unfinished=UNFINISHED, needs_links=not self._mirror_only)

    def _errors(self, name: str) -> AbstractContextManager[None]:
        return os_errors(f"{name} in {self.address}")


def _is_our_own_affair(parts: tuple[str, ...], name: str) -> bool:
    """Return whether a file is none of the objects: the lock, or one not finished yet."""
    return len(parts) < 2 and (name.startswith(UNFINISHED) or name == ".lock")


def _order(found: os.DirEntry[str]) -> str:
    # With the slash, since "a-b" comes before "a/b" in a listing by name.
    return f"{found.name}/" if found.is_dir(follow_symlinks=False) else found.name


def _look_at(found: os.DirEntry[str]) -> _Entry | None:
    """Return a row of a listing; links are listed as files, and never followed."""
    try:
        status = found.stat(follow_symlinks=False)
    except FileNotFoundError:  # removed since the directory was read
        return None
    return _Entry(found.name, stat.S_ISDIR(status.st_mode), status.st_size, _time_of(status))


def _may_write_below(root: int) -> bool:
    with os.scandir(root) as entries:
        folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return any(os.access(name, os.W_OK, dir_fd=root, effective_ids=True) for name in folders)


def _time_of(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime_ns // 1_000 / 1_000_000, UTC)
