"""How HEAD is replaced in a directory, so that of all who try only one does.

Every HEAD gets a name of its own, ``heads/<serial>``, by ``link(2)`` to a name that must not
exist: the file system lets one of any number of writers make it. The newest HEAD is the
highest of them. The lock saves the others the work; it is not what decides, because a server
gives an NFS lock to somebody else when its holder's lease ends. The file ``HEAD`` says that
there is a HEAD, to people and to whoever copies the directory; it may lag.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from chroma_lifecycle.clock import new_id, wait_until
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES, PAST_HEADS, HeadToken, StoredHead, SwapRefused, SwapUnanswered
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.stores.folders import Folders, TooLong, is_file, read_file, remove_file, write_file
from chroma_lifecycle.values import digest_of

# Just after a rename, other clients of an NFS server can see ENOENT or ESTALE for a moment.
_SETTLE_SECONDS = 0.5
_POLL_SECONDS = 0.02
# A swap under the lock takes milliseconds; whoever holds it longer is dead or cut off.
_LOCK_SECONDS = 5.0
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
# The server says that it made nothing; anything else (EIO, a time-out) says nothing.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT}
_STALE = {errno.ENOENT, errno.ESTALE}


@dataclass(frozen=True, slots=True)
class _Newest:
    """The highest file of ``heads/``: what a swap replaces, if there is a file HEAD as well."""

    serial: int
    body: bytes
    pointed_at: bool

    @property
    def token(self) -> HeadToken:
        return _token(self.serial, self.body)


class HeadFiles:
    """The files of one collection that decide what its HEAD is."""

    def __init__(self, folders: Folders, collection: str, *, unfinished: str, needs_links: bool) -> None:
        self._folders = folders
        self._names = Names(collection)
        self._unfinished = unfinished
        self._needs_links = needs_links

    def read(self) -> StoredHead | None:
        """Return the newest HEAD, or ``None`` if there is no file HEAD.

        Raises:
            OSError: It cannot be read, for longer than a rename elsewhere explains.
        """
        newest = self._look_until_settled()
        return StoredHead(newest.body, newest.token) if newest and newest.pointed_at else None

    def past(self) -> Iterator[bytes]:
        """Yield the HEADs of ``heads/``, the newest first, or the file HEAD where there is no other."""
        collection = self._names.collection
        with self._folders.find((collection,)) as home, self._folders.find((collection, "heads")) as heads:
            serials = [] if heads is None else sorted(self._serials(heads), reverse=True)
            for serial in serials[:PAST_HEADS]:
                assert heads is not None  # it has serials
                with suppress(TooLong):  # longer than any HEAD: it never was one, and hides none of those before it
                    yield read_file(heads, self._leaf(serial), limit_bytes=HEAD_LIMIT_BYTES)
            if home is not None and not serials and is_file(home, "HEAD"):
                yield read_file(home, "HEAD", limit_bytes=HEAD_LIMIT_BYTES)

    def swap(self, body: bytes, serial: int, expected: HeadToken | None) -> HeadToken:
        """Make *body* the HEAD; see :meth:`chroma_lifecycle.ports.Store.swap_head`.

        A kill between any two of these steps leaves the old HEAD or the new one, whole:
        the old one until step 3 is done, the new one from then on.
        """
        collection, claimed = self._names.collection, False
        try:
            with (
                self._folders.enter((collection, self._unfinished), create=True) as unfinished,
                self._folders.enter((collection, "heads"), create=True) as heads,
                self._folders.enter((collection,)) as home,
                self._written(unfinished, body) as temporary,  # 1. on disk, under a name that nobody reads
                self._locked(home),
            ):
                if not self._is_ours(heads, serial, body):
                    self._require_expected(expected)  # 2. look; what is found may be old
                    self._claim(unfinished, temporary, heads, serial, body)  # 3. the one step that decides
                claimed = True
                os.fsync(heads)  # 4. the claim outlives a crash
                self._require_newest(heads, serial)  # 5. unless it came too late
                self._show(unfinished, home, body)  # 6. the file HEAD follows
        except OSError as problem:
            if claimed:
                raise SwapUnanswered(f"serial {serial} was claimed, and then {problem.strerror}") from problem
            raise
        return _token(serial, body)

    @contextmanager
    def _written(self, unfinished: int, body: bytes) -> Iterator[str]:
        """Give the name of a file with these bytes, brought to disk; what is left of it is removed."""
        temporary = new_id()
        try:
            write_file(unfinished, temporary, body)
            yield temporary
        except BaseException:
            # How the swap ended is the answer, and not that a failing mount cannot be tidied up.
            with suppress(OSError):
                remove_file(unfinished, temporary)
            raise
        remove_file(unfinished, temporary)

    def _require_expected(self, expected: HeadToken | None) -> None:
        newest = self._look_until_settled()
        found = newest.token if newest and newest.pointed_at else None
        if found != expected:
            raise SwapRefused(f"HEAD is {found}, and {expected} was expected")

    def _claim(self, unfinished: int, temporary: str, heads: int, serial: int, body: bytes) -> None:
        """Make ``heads/<serial>``, or learn that another writer did.

        Raises:
            OSError: Nothing was made.
        """
        try:
            os.link(temporary, self._leaf(serial), src_dir_fd=unfinished, dst_dir_fd=heads, follow_symlinks=False)
        except OSError as problem:
            # An NFS client that lost the answer asks again, and is refused for its own link.
            if problem.errno == errno.EEXIST:
                self._require_ours(heads, serial, body)
            elif problem.errno in _NO_LINKS:
                if self._needs_links:
                    raise self._is_mirror_only() from problem
                os.rename(temporary, self._leaf(serial), src_dir_fd=unfinished, dst_dir_fd=heads)
            elif problem.errno in _REFUSED:
                raise
            else:
                raise SwapUnanswered(f"no clear answer to a link ({problem.strerror})") from problem

    def _require_ours(self, heads: int, serial: int, body: bytes) -> None:
        try:
            ours = self._is_ours(heads, serial, body)
        except OSError as problem:
            raise SwapUnanswered(
                f"serial {serial} exists and cannot be read ({problem.strerror or problem})"
            ) from problem
        if not ours:
            raise SwapRefused(f"another writer made serial {serial}")

    def _is_mirror_only(self) -> BadInput:
        return BadInput(
            f"{self._folders.root} has no hard links, so that two writers could both believe that they moved HEAD",
            hint="use this directory as a mirror (--mirror) of a store in S3 or on another file system",
        )

    def _require_newest(self, heads: int, serial: int) -> None:
        # A writer that slept can claim a serial whose first owner was swept away long ago, and an
        # `init` where HEAD was deleted one that is far below those that are still there.
        if max(self._serials(heads), default=0) != serial:
            raise SwapRefused(f"HEAD is already past serial {serial}")

    def _show(self, unfinished: int, home: int, body: bytes) -> None:
        # A copy and not a link, so that who writes into it does not change the newest HEAD.
        with self._written(unfinished, body) as temporary:
            os.rename(temporary, "HEAD", src_dir_fd=unfinished, dst_dir_fd=home)
        os.fsync(home)

    def _look_until_settled(self) -> _Newest | None:
        """Return the newest HEAD when it and the file HEAD are both there, or what there is in the end."""
        looked: list[_Newest | None] = []

        def settled() -> bool:
            try:
                newest = self._look()
            except OSError as problem:
                if problem.errno in _STALE:
                    return False
                raise
            looked.append(newest)
            return newest is None or newest.pointed_at

        wait_until(settled, timeout_seconds=_SETTLE_SECONDS, poll_seconds=_POLL_SECONDS)
        return looked[-1] if looked else self._look()

    def _look(self) -> _Newest | None:
        collection = self._names.collection
        with self._folders.find((collection,)) as home, self._folders.find((collection, "heads")) as heads:
            if home is None:
                return None
            pointed_at = is_file(home, "HEAD")
            serials = [] if heads is None else self._serials(heads)
            if heads is not None and serials:
                body = read_file(heads, self._leaf(max(serials)), limit_bytes=HEAD_LIMIT_BYTES)
                return _Newest(max(serials), body, pointed_at)
            if not pointed_at:
                return None
            # A directory that was copied from S3 has a file HEAD alone.
            return _Newest(0, read_file(home, "HEAD", limit_bytes=HEAD_LIMIT_BYTES), pointed_at)

    def _serials(self, heads: int) -> list[int]:
        """Return the serials in ``heads/``; other files are nobody's HEAD."""
        found = (self._names.parse_head_name(f"{self._names.all_heads}{leaf}") for leaf in os.listdir(heads))
        return [serial for serial in found if serial is not None]

    def _leaf(self, serial: int) -> str:
        return self._names.heads(serial).rpartition("/")[2]

    def _is_ours(self, heads: int, serial: int, body: bytes) -> bool:
        """Return whether ``heads/<serial>`` has our bytes; the swap id makes that ours and nobody else's."""
        try:
            return read_file(heads, self._leaf(serial), limit_bytes=HEAD_LIMIT_BYTES) == body
        except FileNotFoundError:
            return False

    @contextmanager
    def _locked(self, home: int) -> Iterator[None]:
        """Hold the lock if it can be had: it only saves work, so that a swap goes on without it."""
        lock = os.open(".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666, dir_fd=home)
        try:
            wait_until(lambda: _try_lock(lock), timeout_seconds=_LOCK_SECONDS, poll_seconds=_POLL_SECONDS)
            yield
        finally:
            with suppress(OSError):  # it is closed all the same, and nothing was written to it
                os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a mount without locks
        return True
    return True


def _token(serial: int, body: bytes) -> HeadToken:
    # A serial alone identifies nothing: a store that was emptied and initialised again
    # counts from 1 as well.
    return HeadToken(f"{serial:016x}-{digest_of(body)[:16]}")
