"""Whether anybody has a file open, by the kernel's own answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.errors import NotClosed, NotOwned
from chroma_lifecycle.snapshot import leases
from chroma_lifecycle.snapshot.descriptors import below_by_others, require_closed
from chroma_lifecycle.snapshot.leases import CannotTell, first_open
from tests.support.chroma_directories import COLLECTION, opened

_HOLD = """
import mmap, os, sys
file = open(sys.argv[1], sys.argv[2])
window = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
if sys.argv[3] == "mapped":
    os.closerange(3, 64)  # Python keeps a descriptor of its own beside a mapping
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, mode: str = "rb", how: str = "open") -> Iterator[None]:
    """Let another process have *path* open."""
    command = [sys.executable, "-c", _HOLD, str(path), mode, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.stdin.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a directory of its own."""
    path = tmp_path / "home" / "file"
    path.parent.mkdir()
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_a_file_that_another_process_has_open_is_told(file: Path, mode: str) -> None:
    """C6: for reading or for writing; when it is closed the same question has the other answer."""
    with held(file, mode):
        assert file == first_open([file])
        with pytest.raises(NotClosed, match=r"file \(process \d+, descriptor \d+\)"):
            require_closed(file.parent, timeout_seconds=0)
    assert first_open([file]) is None
    require_closed(file.parent, timeout_seconds=0)


def test_a_file_that_is_only_mapped_is_told_though_no_descriptor_is_left(file: Path) -> None:
    """C6: its pages can be written all the same, and no look at descriptors finds that out."""
    with held(file, "r+b", "mapped"):
        assert () == below_by_others(file.parent)
        with pytest.raises(NotClosed, match="a process that may not be looked at"):
            require_closed(file.parent, timeout_seconds=0)


def test_a_close_is_not_proven_while_another_process_has_a_file_mapped(directory: Path) -> None:
    """C6: no descriptor tells it; neither may the directory be opened then."""
    client, _ = opened(directory)
    with held(directory / "chroma.sqlite3", "r+b", "mapped"):
        with pytest.raises(NotClosed, match=r"chroma\.sqlite3 \(a process that may not be looked at\)"):
            close_client(client)
        with pytest.raises(NotOwned, match="a process that may not be looked at"):
            ManagedClient.open(directory, COLLECTION)
    assert close_client(client).proven


@pytest.mark.parametrize(
    ("mounts", "told"),
    [
        ("36 35 {device} / / rw,noatime - ext4 /dev/root rw", True),
        ("36 35 {device} / /mnt/efs rw - nfs4 127.0.0.1:/ rw", False),
        ("36 35 {device} / / rw shared:1 - ext4 /dev/root rw\n37 36 {device} / /mnt rw - fuse x rw", False),
        ("36 35 1234:5 / / rw - ext4 /dev/root rw", False),
    ],
)
def test_a_refusal_of_a_network_proves_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, told: bool
) -> None:
    """NFS gives no lease where its server has not handed the file over: then nobody is found, as by looking alone."""
    device = file.stat().st_dev
    table = tmp_path / "mountinfo"
    table.write_text(mounts.format(device=f"{os.major(device)}:{os.minor(device)}") + "\n")
    monkeypatch.setattr(leases, "_MOUNTS", table)

    assert told == leases.means_open(file)
    with held(file, "r+b", "mapped"):
        if told:
            with pytest.raises(NotClosed):
                require_closed(file.parent, timeout_seconds=0)
        else:
            require_closed(file.parent, timeout_seconds=0)


def test_who_opens_the_file_meanwhile_harms_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells the holder of a lease by a signal: not by the usual one, which would end the process."""
    close, told = os.close, []

    def disturbed(descriptor: int) -> None:
        with pytest.raises(BlockingIOError):
            os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        close(descriptor)

    before = signal.signal(signal.SIGURG, lambda *_: told.append("urgent"))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(leases.os, "close", disturbed)
            assert first_open([file]) is None
    finally:
        signal.signal(signal.SIGURG, before)
    assert ["urgent"] == told
    assert before is signal.SIG_DFL, "which ignores it"


def test_what_cannot_be_asked_for_is_looked_for_instead(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, a file that is gone, a system without leases: then every process is looked at, as everywhere else."""
    link = file.with_name("link")
    link.symlink_to(file)
    for path in (link, file.with_name("gone"), file.parent):
        with pytest.raises(CannotTell):
            first_open([path])
    link.unlink()
    monkeypatch.setattr(leases, "_LEASES", False)
    require_closed(file.parent, timeout_seconds=0)
    with held(file), pytest.raises(NotClosed, match="process"):
        require_closed(file.parent, timeout_seconds=0)
