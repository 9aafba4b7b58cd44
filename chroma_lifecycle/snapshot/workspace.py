"""The workspace: one collection's place on the local disk, owned by one process.

::

    lock              flock(2); says who owns the workspace
    stamp, manifest-<digest>, pages, pristine/     the published copy, see :mod:`.pristine`
    origin            the store of a reader's copy, see :mod:`chroma_lifecycle.reader.origin`
    working-<id>/     what Chroma opens: a copy, for one attempt, never hard links
    kept-<id>/        the last one whose content was published, from which the next one is made
    serving-<id>/     what a reader's Chroma opens: a copy, for one version
    restoring-<id>/   a version that is being restored

A working directory never outlives its process: whatever is found at the start was left by one
that died, and is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from chroma_lifecycle.clock import SYSTEM_CLOCK, Clock, new_id
from chroma_lifecycle.config import DEFAULT_WORKSPACE
from chroma_lifecycle.errors import BadInput, Corrupt, NoTime, NotOwned, StoreUnavailable
from chroma_lifecycle.snapshot.disk import clone_file, copy_file, disk_errors, remove_tree, require_room
from chroma_lifecycle.snapshot.fields import spell_time
from chroma_lifecycle.snapshot.files import LEDGER, FileEntry
from chroma_lifecycle.snapshot.pristine import Pristine
from chroma_lifecycle.snapshot.private import require_private
from chroma_lifecycle.snapshot.rewriting import remove_empty_directories
from chroma_lifecycle.snapshot.working import Kept, mark

HEADROOM_BYTES = 32 << 20
"""Room that a cycle needs beside the copy of the files: journals, and what the change adds."""

_WORKING, _RESTORING, _KEPT, _SERVING = "working-", "restoring-", "kept-", "serving-"


class Workspace:
    """A collection's pristine copy and working directories; one process owns them until `close`."""

    def __init__(self, root: Path, lock: int) -> None:
        self.root = root
        self.pristine = Pristine(root)
        self._lock = lock
        self._kept: Kept | None = None

    @classmethod
    def open(cls, root: Path, *, clock: Clock = SYSTEM_CLOCK) -> Workspace:
        """Own the workspace at *root*, which is made if it is not there, and clear away leftovers.

        Raises:
            NotOwned: Another process, or another part of this one, owns it; the error says which.
            BadInput: The directory cannot be used; or it is the default one, and another user's.
        """
        with disk_errors(root):
            if root.is_relative_to(DEFAULT_WORKSPACE):
                require_private(DEFAULT_WORKSPACE)
            root.mkdir(parents=True, exist_ok=True)
            lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _own(root, lock, clock)
                _clear(root)
            except BaseException:
                _let_go(lock)
                raise
        return cls(root, lock)

    def close(self) -> None:
        """Give the workspace up; what was kept for a next cycle goes."""
        try:
            self.drop_kept()
        finally:
            _let_go(self._lock)

    def discard(self) -> None:
        """Remove everything that the workspace holds, and give it up."""
        try:
            with disk_errors(self.root):
                remove_tree(self.root)
        finally:
            _let_go(self._lock)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_damaged(self, collection: str) -> bool:
        """Read the pristine copy of *collection* through; return whether it was damaged: then it is none any more."""
        try:
            self.pristine.hash_again()
        except Corrupt as problem:
            from chroma_lifecycle.logs import Log  # whoever only looks has no need of it

            log = Log(__name__)
            log.warning("the local copy is damaged", collection=collection, why=problem.message)
            self.drop_kept()  # it was made from the copy
            return True
        return False

    @contextmanager
    def working(self, *, chroma: bool) -> Iterator[Path]:
        """Give a working directory: a copy of the ledger and, if asked for, of Chroma's files.

        Its name is new each time, since Chroma cannot open a path again that was deleted.
        It is removed at the end, whatever happened.

        Raises:
            NoRoom: The disk lacks the room for the copy.
            BadInput: There is no pristine copy to work on.
        """
        files = [entry for entry in self._files() if entry.path == LEDGER or chroma]
        with self._directory(_WORKING) as directory:
            with disk_errors(directory):
                self._fill(directory, files, self._take_kept(directory) if chroma else None)
            yield directory

    @contextmanager
    def serving(self) -> Iterator[Path]:
        """Give a copy of Chroma's files, without the ledger, that a reader may open; it is removed at the end.

        Several can be there at once, each of the version that the pristine copy was when it was made.

        Raises:
            NoRoom: The disk lacks the room for the copy.
            BadInput: There is no pristine copy.
        """
        files = [entry for entry in self._files() if entry.path != LEDGER]
        with self._directory(_SERVING) as directory:
            with disk_errors(directory):
                self._copy(files, directory)
            yield directory

    def _files(self) -> Sequence[FileEntry]:
        if (version := self.pristine.version()) is None:
            raise BadInput(f"{self.root} holds no version to work on", hint="restore the newest version first")
        return version.manifest.files

    def keep(self, directory: Path, files: Sequence[FileEntry]) -> None:
        """Keep a working directory that holds exactly *files*, as published, for the next one to be made from.

        It must be closed and proven. It gets a new name, like every working directory.
        """
        self.drop_kept()
        place = self.root / f"{_KEPT}{new_id()}"
        with disk_errors(directory):
            directory.rename(place)
            self._kept = Kept(place, {entry.path: entry for entry in files})
            for entry in files:
                mark(place / entry.path)

    def drop_kept(self) -> None:
        """Remove what was kept; the next working directory is a copy."""
        kept, self._kept = self._kept, None
        if kept is not None:
            with disk_errors(kept.directory):
                remove_tree(kept.directory)

    def blank(self) -> AbstractContextManager[Path]:
        """Give an empty working directory, for a collection's first version."""
        return self._directory(_WORKING)

    @contextmanager
    def restoring(self) -> Iterator[Path]:
        """Give a directory to restore into: empty, or with what a restore that was cut off has left.

        What is not adopted from it is removed; but after a failure that the same again may mend (no time, no
        answer) it stays for the next one, so that a large version comes over several short invocations.
        """
        half_made = self._half_made()
        with self._directory(_RESTORING, half_made[0] if half_made else None) as directory:
            try:
                yield directory
            except (NoTime, StoreUnavailable):
                directory.rename(self.root / f"{_RESTORING}{new_id()}")
                raise

    def half_made_bytes(self) -> int:
        """Return how much of the disk a restore that was cut off holds already."""
        files = (path for half_made in self._half_made() for path in half_made.rglob("*"))
        return sum(path.stat().st_blocks * 512 for path in files if path.is_file())

    def drop_half_made(self) -> None:
        """Remove what a restore that was cut off has left: the version came in another way."""
        for half_made in self._half_made():
            with disk_errors(half_made):
                remove_tree(half_made)

    def _half_made(self) -> list[Path]:
        return list(self.root.glob(f"{_RESTORING}*"))

    @contextmanager
    def _directory(self, kind: str, begun: Path | None = None) -> Iterator[Path]:
        directory = self.root / f"{kind}{new_id()}"
        try:
            with disk_errors(directory):
                begun.rename(directory) if begun else directory.mkdir()
            yield directory
        finally:
            with disk_errors(directory):
                remove_tree(directory)

    def _take_kept(self, directory: Path) -> Kept | None:
        """Put what was kept in the place of the empty *directory*."""
        kept, self._kept = self._kept, None
        if kept is not None and kept.directory.exists():
            kept.directory.rename(directory)
            return kept
        return None

    def _fill(self, directory: Path, files: Sequence[FileEntry], kept: Kept | None) -> None:
        """Make *directory* hold exactly *files*, as the pristine copy has them."""
        lacking = [entry for entry in files if kept is None or not kept.has(entry, directory)]
        present = {entry.path for entry in files}.difference(entry.path for entry in lacking)
        for path in [path for path in directory.rglob("*") if path.is_file()]:
            if path.relative_to(directory).as_posix() not in present:
                path.unlink()
        remove_empty_directories(directory)
        self._copy(lacking, directory)

    def _copy(self, files: Sequence[FileEntry], directory: Path) -> None:
        left = sum(entry.size for entry in files)
        shares_blocks = True
        for entry in files:
            source, target = self.pristine.root / entry.path, directory / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            # Never a hard link: writing the working file would write the pristine one.
            shares_blocks = shares_blocks and clone_file(source, target)
            if not shares_blocks:
                require_room(directory, left + HEADROOM_BYTES, "a working copy")
                copy_file(source, target)
            mark(target)
            left -= entry.size


def _clear(root: Path) -> None:
    """Remove what a process that died has left, but for its last restore, which can go on."""
    half_made = sorted(root.glob(f"{_RESTORING}*"), key=lambda directory: directory.stat().st_mtime_ns)
    of_others = (leftover for kind in (_WORKING, _KEPT, _SERVING) for leftover in root.glob(f"{kind}*"))
    for leftover in (*half_made[:-1], *of_others):
        remove_tree(leftover)
    for unfinished in root.glob("stamp.*"):
        unfinished.unlink()


def _let_go(lock: int) -> None:
    # The descriptor is gone and the lock with it, whatever a disk that fails says to that.
    with suppress(OSError):
        os.close(lock)


def _own(root: Path, lock: int, clock: Clock) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        raise NotOwned(
            f"the workspace {root} is in use by {_holder(lock)}",
            hint="wait until it ends, or set CHROMA_LIFECYCLE_WORKSPACE (or --workspace) to another directory",
        ) from problem
    holder = {"process": os.getpid(), "host": socket.gethostname(), "since": spell_time(clock.now())}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(holder).encode("ascii"), 0)


def _holder(lock: int) -> str:
    """Return who says to own the workspace."""
    try:
        holder = json.loads(os.pread(lock, 1_000, 0))
        return f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it is just writing its name
        return "another process"
