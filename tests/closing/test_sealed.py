"""Only a directory that is proven closed becomes a ``SealedSnapshot``."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import BadInput, Corrupt, NotClosed
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.sealed import SealedSnapshot, seal
from tests.support.chroma_directories import COLLECTION, content, vectors


@pytest.fixture
def working(directory: Path) -> Path:
    """A working directory: ``chroma/`` and ``ledger.sqlite3``."""
    return with_ledger(directory.rename(_made(directory.parent / "working") / "chroma").parent)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def with_ledger(working: Path) -> Path:
    with sqlite3.connect(working / "ledger.sqlite3") as database:
        database.execute("CREATE TABLE facts (item)")
    database.close()
    return working


def test_a_closed_directory_is_sealed_with_all_its_files(working: Path) -> None:
    """The snapshot names every file by its path in the version, and what the checks found."""
    sealed = seal(working)

    assert {f"chroma/{name}" for name in content(working / "chroma")} | {"ledger.sqlite3"} == set(sealed.files)
    assert all(working / name == path for name, path in sealed.files.items())
    assert (working, frozenset(), False) == (sealed.root, sealed.untouched, sealed.soundness.full)
    assert [COLLECTION] == [state.name for state in sealed.soundness.collections]
    assert seal(working, full=True).soundness.full


def test_nobody_else_can_make_one(working: Path) -> None:
    """C1: copying before the close is impossible by type."""
    sealed = seal(working)
    with pytest.raises(TypeError, match="seal"):
        SealedSnapshot(working, {}, frozenset(), sealed.soundness, object())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        SealedSnapshot(working, {}, frozenset(), sealed.soundness)  # type: ignore[call-arg]
    with pytest.raises((TypeError, ValueError)):
        replace(sealed, root=working.parent)
    with pytest.raises(TypeError):
        sealed.files["other"] = working  # type: ignore[index]


def test_an_open_client_cannot_be_sealed(working: Path) -> None:
    """The descriptors are listed."""
    with (
        ManagedClient.open(working / "chroma", COLLECTION),
        pytest.raises(NotClosed, match=r"chroma\.sqlite3 \(process"),
    ):
        seal(working, timeout_seconds=0.05)
    seal(working)


def test_an_open_ledger_cannot_be_sealed(working: Path) -> None:
    """Every file of the version counts, not only Chroma's."""
    database = sqlite3.connect(working / "ledger.sqlite3")
    database.execute("SELECT * FROM facts").fetchall()
    with pytest.raises(NotClosed, match=r"ledger\.sqlite3"):
        seal(working, timeout_seconds=0.05)
    database.close()
    seal(working)


def test_a_file_that_was_deleted_while_open_counts(working: Path) -> None:
    """Its holder believes that it is in the directory."""
    path = working / "chroma" / "gone"
    with path.open("w"):
        path.unlink()
        with pytest.raises(NotClosed, match=r"gone \(deleted\)"):
            seal(working, timeout_seconds=0.05)
    seal(working)


def test_a_file_that_is_open_by_another_name_counts(working: Path) -> None:
    """A hard link outside the directory reaches the same bytes."""
    link = working.parent / "link"
    os.link(working / "chroma" / "chroma.sqlite3", link)
    with link.open("rb"), pytest.raises(NotClosed, match="link"):
        seal(working, timeout_seconds=0.05)


def test_another_process_with_a_file_open_stops_the_seal(working: Path) -> None:
    """It need not be a Chroma client: whoever has a file open may write to it."""
    code = "import sys; file = open(sys.argv[1], 'r+b'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(working / "ledger.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(NotClosed, match=rf"process {other.pid}"):
            seal(working, timeout_seconds=0.05)
        other.communicate()
    seal(working)


def test_an_empty_or_missing_directory_is_an_error(tmp_path: Path) -> None:
    """L23: publishing nothing is never a success."""
    for path in (tmp_path / "missing", _made(tmp_path / "empty")):
        with pytest.raises(BadInput, match="nothing to publish"):
            seal(path)


@pytest.mark.parametrize("lacking", ["ledger.sqlite3", "chroma"])
def test_half_a_version_is_an_error(working: Path, lacking: str) -> None:
    """A version is Chroma's files and the ledger; one of them is nothing."""
    path = working / lacking
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises((Corrupt, BadInput), match=lacking):
        seal(working)


@pytest.mark.parametrize("foreign", ["notes.txt", ".chroma.owner", "chroma/dead-link", "other/file"])
def test_a_foreign_file_is_refused_by_name(working: Path, foreign: str) -> None:
    """Nobody knows what it is; publishing it would keep it for ever."""
    path = working / foreign
    path.parent.mkdir(exist_ok=True)
    if "link" in foreign:
        path.symlink_to("/nowhere")
    else:
        path.touch()
    with pytest.raises(Corrupt, match=path.name):
        seal(working)


def test_a_linked_directory_is_refused(working: Path) -> None:
    """What it leads to would be examined and not published."""
    segment = next(path for path in (working / "chroma").iterdir() if path.is_dir())
    segment.rename(working.parent / "elsewhere")
    segment.symlink_to(working.parent / "elsewhere")
    with pytest.raises(Corrupt, match=segment.name):
        seal(working)


def test_a_torn_ledger_is_found(working: Path) -> None:
    """It is what was applied: as precious as the vectors."""
    os.truncate(working / "ledger.sqlite3", 100)
    with pytest.raises(Corrupt, match=r"ledger\.sqlite3"):
        seal(working)


def test_a_ledger_that_disagrees_with_the_records_cannot_be_sealed(working: Path) -> None:
    """A record that the ledger has and Chroma has not, or the other way round; some lie in the queue alone."""
    held = soundness.count_records(working / "chroma")
    with ManagedClient.open(working / "chroma", COLLECTION) as client:
        client.collection.upsert(ids=["one more"], embeddings=vectors(1))
    seal(working, records=held + 1)
    for expected in (held, held + 2):
        with pytest.raises(Corrupt, match=f"holds {held + 1} records, its ledger has {expected}"):
            seal(working, records=expected)


def test_a_cycle_that_moved_only_facts_takes_chroma_from_the_pristine_copy(working: Path, tmp_path: Path) -> None:
    """Its working directory holds the ledger alone; nobody copied or opened ``chroma/``."""
    facts_only = with_ledger(_made(tmp_path / "facts-only"))
    names = {f"chroma/{name}" for name in content(working / "chroma")}
    sealed = seal(facts_only, pristine=working, pristine_files=names)

    assert names == sealed.untouched
    assert facts_only / "ledger.sqlite3" == sealed.files["ledger.sqlite3"]
    assert working / "chroma" / "chroma.sqlite3" == sealed.files["chroma/chroma.sqlite3"]


def test_what_is_taken_from_the_pristine_copy_must_be_there_closed_and_whole(working: Path, tmp_path: Path) -> None:
    """It is checked like the rest; a part of ``chroma/`` from elsewhere would not fit."""
    facts_only = with_ledger(_made(tmp_path / "facts-only"))
    names = sorted(f"chroma/{name}" for name in content(working / "chroma"))

    for unlike in ([*names, "chroma/other"], names[1:]):
        with pytest.raises(Corrupt, match="not in both"):
            seal(facts_only, pristine=working, pristine_files=unlike)
    with pytest.raises(Corrupt, match="a part of it is in the working directory"):
        seal(working, pristine=working, pristine_files=names)
    with (working / names[0]).open("rb"), pytest.raises(NotClosed):
        seal(facts_only, pristine=working, pristine_files=names, timeout_seconds=0.05)
    os.truncate(working / "chroma" / "chroma.sqlite3", 8192)
    with pytest.raises(Corrupt, match="its header says"):
        seal(facts_only, pristine=working, pristine_files=names)
