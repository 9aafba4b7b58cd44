"""The doctor says who has a directory open, what would stop a safe copy, and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.chroma.doctor import Diagnosis, diagnose
from chroma_lifecycle.chroma.ownership import Owner, record_path
from chroma_lifecycle.errors import BadInput
from scripts.closing_holder import Holder
from tests.support.chroma_directories import COLLECTION, connect


def text(diagnosis: Diagnosis) -> str:
    return "\n".join((*diagnosis.findings, *diagnosis.advice))


def test_a_closed_directory_can_be_copied(directory: Path) -> None:
    found = diagnose(directory)
    assert (True, (), None, ()) == (found.safe, found.advice, found.owner, found.holders)
    assert "Collection words: 8 dimensions, 40 vectors in the HNSW files, 0 vector operations" in text(found)
    assert found.findings[-1] == "It can be copied now."


def test_an_owner_and_its_descriptors_are_told(directory: Path) -> None:
    with ManagedClient.open(directory, COLLECTION):
        found = diagnose(directory)
    assert not found.safe
    assert found.owner is not None
    assert os.getpid() == found.owner.pid
    assert f"owned by process {os.getpid()}" in text(found)
    assert "This process has 1 of its files open" in text(found)
    assert "close_client" in text(found)


def test_a_plain_client_is_told_by_its_descriptors(directory: Path) -> None:
    client = connect(directory)
    assert "chroma.sqlite3" in text(diagnose(directory))
    close_client(client)
    assert diagnose(directory).safe


def test_a_holder_in_another_process_is_told(directory: Path, holder: Holder) -> None:
    holder.tell("hold", directory)
    found = diagnose(directory)
    assert f"owned by process {holder.pid}" in text(found)
    assert f"Process {holder.pid} (python" in text(found)
    assert f"has {directory} open" in text(diagnose(holder.pid))
    holder.tell("close")
    assert diagnose(holder.pid).safe


def test_a_stale_record_is_told_and_stops_nothing(directory: Path) -> None:
    record_path(directory).write_bytes(Owner(1, "elsewhere", "2026-01-01T00:00:00+00:00", COLLECTION).encode())
    found = diagnose(directory)
    assert found.safe
    assert "ended without closing it: process 1 on elsewhere" in text(found)


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_a_journal_without_a_holder_is_told(directory: Path, suffix: str) -> None:
    """A process died in the middle of a write."""
    directory.joinpath(f"chroma.sqlite3{suffix}").touch()
    found = diagnose(directory)
    assert not found.safe
    assert "was cut off" in text(found)
    assert "throw this copy away" in text(found)


def test_a_torn_or_missing_directory_is_told(directory: Path, tmp_path: Path) -> None:
    os.truncate(directory / "chroma.sqlite3", 0)
    assert "empty (0 bytes)" in text(diagnose(directory))
    assert "is no directory" in text(diagnose(tmp_path / "missing"))


def test_a_directory_above_is_told_with_what_to_name(directory: Path, tmp_path: Path) -> None:
    """A workspace, whose files are whole; it is no damaged Chroma directory, and nothing has to be restored."""
    workspace = tmp_path / "workspace"
    copy = Path(shutil.copytree(directory, workspace / "words" / "pristine" / "chroma"))
    (digests := workspace / "words" / "pages" / "chroma").mkdir(parents=True)
    (digests / "chroma.sqlite3").write_bytes(b"of its pages")
    with pytest.raises(BadInput, match=rf"{workspace} is no Chroma directory.*name {copy}\)$"):
        diagnose(workspace)
    shutil.copytree(directory, workspace / "lines" / "pristine" / "chroma")
    with pytest.raises(BadInput, match="or one of 1 others below it"):
        diagnose(workspace)

    (store := tmp_path / "store" / "words").mkdir(parents=True)
    (store / "HEAD").touch()
    with pytest.raises(BadInput, match=f"{store.parent} is a store.*doctor --store {store.parent}"):
        diagnose(store.parent)


def test_a_process_is_told_by_what_it_has_open(directory: Path) -> None:
    """Also what was removed beneath it, and also that there is no such process."""
    code = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(directory / "chroma.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert f"has {directory} open" in text(diagnose(other.pid))
        shutil.rmtree(directory)
        assert f"{directory} (removed since) open" in text(diagnose(other.pid))
        other.communicate()
    assert (True, f"There is no process {other.pid} on this machine.") == (
        diagnose(other.pid).safe,
        text(diagnose(other.pid)),
    )
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        assert "has no Chroma directory open" in text(diagnose(idle.pid))
        idle.communicate(b"\n")
