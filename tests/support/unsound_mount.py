"""A mount (FUSE) that passes everything on to a directory, and fails or hangs at the call that it is told of.

Run as a script: mounts, and takes one order a line from its input::

    fail NUMBER ERRNO once|lasting     the call of this number from now on, or it and all after it
    hang NUMBER                        that call and all after it, until the next order
    count                              answers how many calls there were since the last order
    sound                              everything works again
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from chroma_lifecycle.clock import wait_until
from tests.support.mounts import without_mounts

ROOT = Path(__file__).parents[2]


class Mount:
    """What tests hold: the mount, and the process that serves it."""

    def __init__(self, place: Path, process: subprocess.Popen[str]) -> None:
        self.place = place
        self._process = process

    def fail(self, number: int, code: int, *, lasting: bool) -> None:
        self._order(f"fail {number} {code} {'lasting' if lasting else 'once'}")

    def hang(self, number: int) -> None:
        self._order(f"hang {number}")

    def sound(self) -> None:
        self._order("sound")

    def count(self) -> int:
        return int(self._order("count"))

    def _order(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def _why_unavailable() -> str | None:
    """Return what this machine lacks for a mount of one's own."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened"
    try:
        import mfusepy  # noqa: F401  it looks for the library when it is imported
    except (ImportError, OSError) as problem:
        return str(problem)
    return None


@contextmanager
def unsound_mount(home: Path) -> Iterator[Mount]:
    """Mount a new directory below *home*; a test that needs one is left out where there can be none."""
    if why := _why_unavailable():
        without_mounts(f"no file system of one's own here: {why}")
    behind, place = home / "behind", home / "mount"
    behind.mkdir()
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.unsound_mount", str(behind), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout
        assert "mounted\n" == process.stdout.readline()
        yield Mount(place, process)
    finally:
        assert process.stdin
        process.stdin.close()  # it lets go of what hangs, and unmounts
        process.wait(30)


_GROWING = {"create", "write", "mkdir", "link", "rename", "fsync", "truncate"}
_CALLS = {errno.ENOSPC: _GROWING, errno.EROFS: _GROWING | {"unlink", "rmdir", "chmod", "utimens"}}
"""What a full or a read-only file system refuses: it lets everybody look."""


class _Server:
    """Decides before each call whether it is carried out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made = 0
        self._fails: tuple[int, int, bool] | None = None
        self._hangs: int | None = None
        self._release = threading.Event()

    def before(self, call: str) -> None:
        with self._lock:
            self._made += 1
            made, fails, hangs, release = self._made, self._fails, self._hangs, self._release
        if hangs is not None and made >= hangs:
            release.wait()
        if fails is None or call not in _CALLS.get(fails[1], {call}):
            return
        if made == fails[0] or (fails[2] and made > fails[0]):
            raise OSError(fails[1], os.strerror(fails[1]))

    def order(self, line: str) -> str:
        with self._lock:
            words = line.split()
            if words[:1] == ["count"]:
                return str(self._made)
            self._made, self._fails, self._hangs = 0, None, None
            self._release.set()
            self._release = threading.Event()
            if words[:1] == ["fail"]:
                self._fails = int(words[1]), int(words[2]), words[3] == "lasting"
            elif words[:1] == ["hang"]:
                self._hangs = int(words[1])
            return "ok"


def _serve(behind: Path, place: Path) -> None:  # noqa: C901  a table of calls, one line each
    import mfusepy

    server = _Server()

    def served(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def passed(self: object, path: str | None, *rest: Any) -> Any:
            server.before(call.__name__)
            return call(self, path and behind / path.lstrip("/"), *rest)

        return passed

    class Passing(mfusepy.Operations):  # type: ignore[misc, name-defined]  # it has no types
        use_ns = True

        @served
        def getattr(self, path: Path, fh: int | None = None) -> dict[str, int]:
            found = os.lstat(path)
            names = ("atime", "ctime", "mtime")
            times = {f"st_{name}": getattr(found, f"st_{name}_ns") for name in names}
            rest = ("st_gid", "st_ino", "st_mode", "st_nlink", "st_size", "st_uid", "st_blocks")
            return {**times, **{name: getattr(found, name) for name in rest}}

        @served
        def readdir(self, path: Path, fh: int) -> list[str]:
            return [".", "..", *(each.name for each in path.iterdir())]

        @served
        def create(self, path: Path, mode: int, fi: Any = None) -> int:
            return os.open(path, os.O_RDWR | os.O_CREAT, mode)

        @served
        def open(self, path: Path, flags: int) -> int:
            return os.open(path, flags)

        @served
        def read(self, path: Path, size: int, offset: int, fh: int) -> bytes:
            return os.pread(fh, size, offset)

        @served
        def write(self, path: Path, data: bytes, offset: int, fh: int) -> int:
            return os.pwrite(fh, data, offset)

        @served
        def truncate(self, path: Path, length: int, fh: int | None = None) -> None:
            os.truncate(path if fh is None else fh, length)

        @served
        def flush(self, path: Path, fh: int) -> None:
            """Nothing is kept here."""

        @served
        def fsync(self, path: Path, datasync: bool, fh: int) -> None:
            """Nobody pulls the plug of this machine."""

        @served
        def fsyncdir(self, path: Path, datasync: bool, fh: int) -> None:
            """The same."""

        @served
        def release(self, path: Path, fh: int) -> None:
            os.close(fh)

        @served
        def rename(self, old: Path, new: str) -> None:
            old.rename(behind / new.lstrip("/"))

        @served
        def link(self, target: Path, source: str) -> None:
            os.link(behind / source.lstrip("/"), target)

        @served
        def unlink(self, path: Path) -> None:
            path.unlink()

        @served
        def mkdir(self, path: Path, mode: int) -> None:
            path.mkdir(mode)

        @served
        def rmdir(self, path: Path) -> None:
            path.rmdir()

        @served
        def chmod(self, path: Path, mode: int) -> None:
            path.chmod(mode)

        @served
        def utimens(self, path: Path, times: tuple[int, int] | None = None, fh: int | None = None) -> None:
            os.utime(path, ns=times)

        @served
        def statfs(self, path: Path) -> dict[str, int]:
            found = os.statvfs(path)
            names = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize")
            return {name: getattr(found, name) for name in names}

    def obey() -> None:
        assert wait_until(lambda: os.path.ismount(place), timeout_seconds=30)
        print("mounted", flush=True)
        for line in sys.stdin:
            print(server.order(line), flush=True)
        server.order("sound")
        subprocess.run(["fusermount3", "-u", "-z", place], check=False)
        os._exit(0)  # whoever still has a file open there gets an error

    threading.Thread(target=obey, daemon=True).start()
    # Nothing is remembered by the kernel: what is asked for is asked here; and what is open may be removed.
    options = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, "hard_remove": True}
    mfusepy.FUSE(Passing(), str(place), foreground=True, **options)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), Path(sys.argv[2]))
