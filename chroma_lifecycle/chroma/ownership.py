"""Who owns a Chroma directory: one client, in one process, until it is closed.

A second client of a directory makes every close unsure: Chroma's ``close()`` releases nothing while
another client of the path lives, and a writer in another process changes what is being copied.
So the owner is registered in this process, by path and by device and inode, and locks a file
*beside* the directory (nothing in the directory itself, which is what gets published). The file
tells who it is; the kernel drops the lock when the process ends, so a record whose lock can be
had is stale.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.clock import SYSTEM_CLOCK, Clock, wait_until
from chroma_lifecycle.errors import BadInput, NotOwned
from chroma_lifecycle.snapshot.descriptors import held_by_others, listing, still_below

_FORMAT = "chroma-lifecycle-owner/1"
_MOMENT_SECONDS = 0.05
_ONE_AT_A_TIME = threading.Lock()
_owned: list[Ownership] = []


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has a directory: process, host, since when (UTC), for which collection."""

    pid: int
    host: str
    since: str
    collection: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}, for collection {self.collection}"

    def encode(self) -> bytes:
        return json.dumps({"format": _FORMAT, **asdict(self)}).encode()

    @classmethod
    def parse(cls, data: bytes) -> Owner | None:
        """Return the owner that a record names; ``None`` if it was cut off or is no record."""
        try:
            fields = json.loads(data)
            if fields.pop("format") != _FORMAT:
                return None
            return cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Ownership:
    """The exclusive right to open a directory; give it back with ``release``.

    Attributes:
        directory: The directory, resolved.
        owner: Us.
        stale: Who had it before and ended without giving it back.
    """

    directory: Path
    owner: Owner
    stale: Owner | None
    _identity: tuple[int, int]
    _lock: int

    def release(self) -> None:
        """Give the directory back; a second call does nothing, nor does one in a forked child: it is the parent's."""
        with _ONE_AT_A_TIME:
            if self not in _owned or self.owner.pid != os.getpid():
                return
            _owned.remove(self)
            # First the name, then the lock: whoever opened the file meanwhile sees that it is gone.
            record_path(self.directory).unlink(missing_ok=True)
            os.close(self._lock)


def record_path(directory: Path) -> Path:
    """Return where the owner of *directory* keeps the record and the lock."""
    return directory.with_name(f".{directory.name}.owner")


def own(
    directory: Path,
    collection: str,
    *,
    clock: Clock = SYSTEM_CLOCK,
    timeout_seconds: float = 5.0,
    everywhere: bool = True,
) -> Ownership:
    """Become the only owner of a directory that exists.

    Args:
        everywhere: Look at the descriptors of every other process too.
        timeout_seconds: How long descriptors of a client that has just ended may take to go.

    Raises:
        NotOwned: Somebody has it: a client of this process, managed or raw, or another process.
        BadInput: There is no such directory, or the record cannot be written beside it.
    """
    home = directory.resolve()
    if not home.is_dir():
        raise BadInput(f"{directory} is no directory", hint="check the path, or restore the collection into it")
    status = home.stat()
    identity = (status.st_dev, status.st_ino)
    owner = Owner(os.getpid(), socket.gethostname(), clock.now().isoformat(timespec="seconds"), collection)
    with _ONE_AT_A_TIME:
        _refuse_second_owner(home, identity)
        lock, stale = _lock(home, owner)
        ownership = Ownership(home, owner, stale, identity, lock)
        _owned.append(ownership)
    try:
        _refuse_other_holders(home, timeout_seconds, everywhere=everywhere)
    except NotOwned:
        ownership.release()
        raise
    return ownership


def owner_of(directory: Path) -> Owner | None:
    """Return who owns *directory* now, in this process or another on this host; ``None`` for nobody.

    A record that a process left behind when it died is nobody.
    """
    home = directory.resolve()
    held = next((each.owner for each in _owned if systems.same_directory(each.directory, home)), None)
    return held or _locked_by(record_path(home))


def _locked_by(record: Path) -> Owner | None:
    try:
        handle = os.open(record, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _try_lock(handle, fcntl.LOCK_SH):
            return None
        return Owner.parse(os.pread(handle, 4096, 0)) or Owner(0, "unknown host", "unknown time", "unknown")
    finally:
        os.close(handle)


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_second_owner(home: Path, identity: tuple[int, int]) -> None:
    for held in _owned:
        if held.directory == home or held._identity == identity:  # noqa: SLF001
            raise NotOwned(
                f"{home} is open in this process already: {held.owner}",
                hint="close that client first; one client owns a directory",
            )


def _lock(home: Path, owner: Owner) -> tuple[int, Owner | None]:
    """Lock the record and write it; return the lock, and the stale owner that it named."""
    path = record_path(home)
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as problem:
            raise BadInput(
                f"the owner's record {path} cannot be written: {problem.strerror}",
                hint="the directory above the Chroma directory must be writable: work on a copy",
            ) from problem
        # Whoever only asks for the owner holds the lock for a moment.
        if not wait_until(partial(_try_lock, handle, fcntl.LOCK_EX), timeout_seconds=_MOMENT_SECONDS):
            holder = Owner.parse(os.pread(handle, 4096, 0))
            os.close(handle)
            raise NotOwned(
                f"{home} is open in another process: {holder or 'its record is being written'}",
                hint="wait until it has closed the directory, or end it, then run again",
            )
        if _is_still(path, handle):
            try:
                stale = Owner.parse(os.pread(handle, 4096, 0))
                os.ftruncate(handle, 0)
                os.pwrite(handle, owner.encode(), 0)
            except OSError:
                with suppress(OSError):
                    os.close(handle)
                raise
            return handle, stale
        # Its owner removed it between our opening and locking it; the name may be somebody's by now.
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _refuse_other_holders(home: Path, timeout_seconds: float, *, everywhere: bool) -> None:
    for system in systems.on_directory(home):
        if systems.is_running(system):
            raise NotOwned(
                f"{home} is open in this process by another Chroma client ({system.settings.persist_directory})",
                hint="close it with chroma_lifecycle.close_client",
            )
        # A constructor failed, or somebody stopped it: the next open would be given this corpse.
        systems.evict(system)
    # A client that has just ended goes on closing for some milliseconds.
    held = listing(still_below(home, timeout_seconds=timeout_seconds))
    if not held and everywhere:
        held = held_by_others(home)
    if held:
        raise NotOwned(
            f"{home} is open already: {held}", hint="end the holders, or work on a copy made after they ended"
        )
