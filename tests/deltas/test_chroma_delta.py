"""Deltas that are Chroma directories, read by a child process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from chroma_lifecycle.chroma import delta_reader
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, NoTime, Retryable
from tests.support.deltas import left_in_scratch, opened, record, records_of, write_parquet

open_chroma = partial(opened, read_chroma=read_chroma_delta)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_records_of_a_directory_are_read_as_they_are(chroma_directories: Path) -> None:
    """C10: ids, vectors, documents and metadata come back, without the collection's embedding function."""
    before = files_below(chroma_directories / "few")

    assert [
        {"id": "a", "embedding": [0, 1, 2], "document": "text", "metadata": {"f": 0.5, "n": 1, "t": "x", "y": True}},
        {"id": "b", "embedding": [1, 1, 2], "document": None, "metadata": {}},
        {"id": "c", "embedding": [2, 1, 2], "document": "", "metadata": {"n": 2**63 - 1}},
    ] == records_of(open_chroma(chroma_directories, "few"))
    assert before == files_below(chroma_directories / "few"), "a copy is opened, never the delta itself"


def files_below(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_an_archive_of_a_directory_is_the_same_delta_as_its_parquet(chroma_directories: Path, root: Path) -> None:
    """L2: all pages of a larger collection are read, those in HNSW files and those in the queue; the form is no part
    of the content."""
    (root / "run").mkdir()
    many = str(chroma_directories / "many")
    subprocess.run(["tar", "-C", many, "-czf", str(root / "run" / "delta.tar.gz"), "."], check=True)
    rows = [record(f"id-{n:05d}", embedding=[n, 1, 2], document=None, metadata={"n": n}) for n in range(2_300)]
    write_parquet(root / "same.parquet", rows)

    delta = open_chroma(root, "run")

    assert opened(root, "same.parquet").digest == delta.digest
    assert 2_300 == len(delta.ids)


def test_another_collection_is_refused_with_both_names(chroma_directories: Path) -> None:
    """L1: the error says what was looked for and what is there."""
    with pytest.raises(BadInput) as refused:
        open_chroma(chroma_directories, "several", collection="places")

    assert "delta 'several': it has no collection 'places'; it has: 'lines', 'words'" == refused.value.message


def test_metadata_that_the_oldest_chroma_lacks_is_refused(chroma_directories: Path) -> None:
    """L16: lists pass on newer releases and are refused on 1.3.3."""
    with pytest.raises(BadInput, match=r"record 1 \('a'\) metadata key 'k' holds a list") as refused:
        open_chroma(chroma_directories, "lists")

    assert "SECRET" not in str(refused.value)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100] + os.urandom(path.stat().st_size - 100))


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "database cut": ("chroma.sqlite3", cut),
    "database garbled": ("chroma.sqlite3", garble),
    "database empty": ("chroma.sqlite3", empty),
    "vectors cut": ("*/data_level0.bin", cut),
    "vectors garbled": ("*/data_level0.bin", garble),
    "vectors gone": ("*/data_level0.bin", Path.unlink),
    "index gone": ("*/index_metadata.pickle", Path.unlink),
    "index garbled": ("*/index_metadata.pickle", garble),
    "segment gone": ("*-*", shutil.rmtree),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_refused_and_ends_no_process_but_the_child(
    chroma_directories: Path, root: Path, damage: str
) -> None:
    """C2, C16: each of these ends a process, hangs, or loses vectors silently when Chroma opens it."""
    pattern, spoil = DAMAGES[damage]
    shutil.copytree(chroma_directories / "many", root / "run")
    [victim] = (root / "run").glob(pattern)
    spoil(victim)

    with pytest.raises(BadInput, match=r"^delta 'run': (it is damaged|Chroma crashed on it)") as refused:
        open_chroma(root, "run")

    assert str(root.parent) not in refused.value.message
    assert [] == left_in_scratch(root)


def test_a_directory_that_was_copied_while_open_is_refused(chroma_directories: Path, root: Path) -> None:
    """A journal beside the database: its last transaction was cut off."""
    shutil.copytree(chroma_directories / "few", root / "run")
    (root / "run" / "chroma.sqlite3-journal").write_bytes(b"x")

    with pytest.raises(BadInput, match=r"chroma\.sqlite3-journal is there"):
        open_chroma(root, "run")


@pytest.mark.parametrize(
    ("child", "how"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("raise SystemExit(7)", "exit code 7"),
        ("raise RuntimeError", "exit code 1"),
    ],
)
def test_a_child_that_crashes_is_the_deltas_fault(
    root: Path, monkeypatch: pytest.MonkeyPatch, child: str, how: str
) -> None:
    """C2: however the child ends, the parent lives and names the delta."""
    monkeypatch.setattr(delta_reader, "_CHILD", child)

    with pytest.raises(BadInput) as refused:
        read_chroma_delta(root, "words", root / "out", "delta 'x'")

    assert f"delta 'x': Chroma crashed on it ({how})" == refused.value.message


def test_a_child_that_cannot_be_started_is_nobodys_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory, no process left: that is told, and not that what would be written cannot be."""
    monkeypatch.setattr("sys.executable", str(root / "gone"))
    (root / "run").mkdir()
    (root / "run" / "chroma.sqlite3").write_bytes(b"x")

    with pytest.raises(Retryable, match=r"^delta 'run': the process that reads it cannot be started: No such file"):
        open_chroma(root, "run")


@pytest.mark.parametrize(
    ("timeout", "left", "error"), [(0.3, None, BadInput), (60, 0.3, NoTime), (0.3, 60, BadInput), (60, 0.0, NoTime)]
)
def test_a_child_that_hangs_is_killed(
    root: Path, monkeypatch: pytest.MonkeyPatch, timeout: float, left: float | None, error: type[Exception]
) -> None:
    """A hanging child is the delta's fault, unless the cycle's own deadline came first; it never stays behind."""
    pid = root / "pid"
    monkeypatch.setattr(
        delta_reader,
        "_CHILD",
        f"import os, threading; open({str(pid)!r}, 'w').write(str(os.getpid())); threading.Event().wait()",
    )

    with pytest.raises(error):
        read_chroma_delta(
            root,
            "words",
            root / "out",
            "delta 'x'",
            timeout_seconds=timeout,
            deadline=None if left is None else Deadline.after(left),
        )

    if pid.exists() and pid.read_text():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGCONT)


def test_an_archive_without_a_database_is_refused(root: Path) -> None:
    """What is unpacked must be one Chroma directory."""
    (root.parent / "source").mkdir()
    (root.parent / "source" / "x").touch()
    subprocess.run(["tar", "-C", str(root.parent / "source"), "-czf", str(root / "d.tar.gz"), "."], check=True)

    with pytest.raises(BadInput, match=r"the archive holds 0 files chroma.sqlite3; one is needed"):
        open_chroma(root, "d.tar.gz")
    assert [] == left_in_scratch(root)


def test_without_a_reader_a_directory_is_refused(chroma_directories: Path) -> None:
    """A producer that checks its deltas without Chroma hears what is missing."""
    with pytest.raises(BadInput, match="which nothing here reads"):
        opened(chroma_directories, "few")


def test_deltas_can_be_read_at_once(chroma_directories: Path) -> None:
    """S10, L1: one of several collections is taken by its name, an empty one is an empty delta; children are spawned,
    so a process with threads may read two."""
    found: dict[str, tuple[str, ...]] = {}

    def read(name: str) -> None:
        found[name] = open_chroma(chroma_directories, name).ids

    threads = [threading.Thread(target=read, args=(name,)) for name in ("several", "empty")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {"several": ("word",), "empty": ()} == found
