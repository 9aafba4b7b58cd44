"""The engine on this machine: a build that is killed, a task that fails beside others, by the real command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from chroma_lifecycle.bulk.here import WORK, Here
from chroma_lifecycle.bulk.local import processes
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.deltas.checks import Expectation, record_digest
from chroma_lifecycle.deltas.metadata import canonical
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput, LifecycleError
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.files import CHROMA
from tests.support.bulk import COLLECTION, Build, ids

PROGRAM = Path(sys.executable).with_name("chroma-lifecycle")
PATIENCE_SECONDS = 7_200.0


def command(build: Build, dimension: int, *more: str) -> list[str]:
    here = build.here
    given = {"store": here.store, "mapping": str(here.mapping), "workspace": str(here.workspace), "space": "l2"}
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    source = build.event["source"]
    return [str(PROGRAM), "bulk", "build", source, *options, "--dimension", str(dimension), "--json", *more]


def run(build: Build, dimension: int, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(build, dimension, *more), capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


def meeting(build: Build) -> Path:
    """Return where the tasks of the build meet, if nobody names another place."""
    return build.here.workspace / WORK / COLLECTION


def kill_when(condition: Callable[[], bool], build: Build, dimension: int) -> None:
    """Run the build, and kill its first process when *condition* holds; all the others end by themselves."""
    with subprocess.Popen(command(build, dimension, "--workers", "2"), stdout=subprocess.PIPE) as process:
        came = wait_until(lambda: condition() or process.poll() is not None, timeout_seconds=PATIENCE_SECONDS)
        assert came
        assert process.poll() is None, "it should still be at work"
        others = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(others, timeout=60)
    assert [] == alive, "they would hold what they work on"


def write_data_set(build: Build, files: int, rows: int, dimension: int) -> None:
    """Write real-shaped vectors: of some topics, with noise; texts, and metadata of several types."""
    random = np.random.default_rng(7)
    topics = random.standard_normal((50, dimension))
    (build.home / "data").mkdir(parents=True)
    for file in range(files):
        with DeltaWriter(build.home / f"data/part-{file:03}.parquet", dimension=dimension) as writer:
            for first in range(file * rows, (file + 1) * rows, 2_000):
                names = ids(first, min(first + 2_000, (file + 1) * rows))
                vectors = topics[random.integers(50, size=len(names))]
                vectors = vectors + 0.4 * random.standard_normal(vectors.shape)
                numbers = range(first, first + len(names))
                writer.add(
                    names,
                    vectors.astype(np.float32),
                    [f"note {number} on topic {number % 50}" for number in numbers],
                    [{"n": number, "share": number / 8, "label": f"L{number % 9}"} for number in numbers],
                )


def digests(delta: Delta) -> dict[str, bytes]:
    """Return the digest of each record, by id."""
    return {
        record_id: record_digest(vector, document, canonical(metadata))
        for rows in delta.batches()
        for record_id, vector, document, metadata in zip(
            rows.ids, rows.embeddings, rows.documents, rows.metadatas, strict=True
        )
    }


def data_set_digests(build: Build) -> dict[str, bytes]:
    scratch = build.home / "reading"
    scratch.mkdir()
    whole = Expectation(COLLECTION, None, None, bool)
    return digests(open_delta("data", directory_deltas(build.home), scratch, whole))


def built_digests(build: Build) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in build.lineages():
        with files_of(read_published(build.store, name).manifest, Stores(build.store)) as files:
            scratch = files.parent / "reading"
            scratch.mkdir()
            whole = Expectation(name, None, None, bool)
            found |= digests(open_delta(CHROMA, directory_deltas(files), scratch, whole, read_chroma_delta))
    return found


def kill_twice_and_compare(build: Build, files: int, rows: int, dimension: int) -> dict[str, Any]:
    write_data_set(build, files, rows, dimension)
    tasks, receipts = build.home / "workspace/.bulk/tasks", meeting(build) / "split"

    kill_when(lambda: any(receipts.glob("*.json")), build, dimension)
    first = {path: path.stat().st_mtime_ns for path in receipts.glob("*.json")}
    kill_when(lambda: any(tasks.glob("notes.1-*/working-*/chroma/chroma.sqlite3")), build, dimension)
    assert first == {path: path.stat().st_mtime_ns for path in first}, "what was done is not done again"
    ended = run(build, dimension, "--workers", "2")

    assert 0 == ended.returncode, ended.stderr
    assert files * rows == json.loads(ended.stdout)["records"]
    assert data_set_digests(build) == built_digests(build)
    assert [] == build.left()
    assert not meeting(build).exists()
    return dict(json.loads(ended.stdout))


def test_a_build_that_is_killed_twice_is_what_one_run_would_have_made(tmp_path: Path) -> None:
    """Killed while inputs are divided and while shards are built: its processes end too, and the third run ends it."""
    kill_twice_and_compare(Build(tmp_path, 2), files=2, rows=1_500, dimension=8)


@pytest.mark.soak
def test_a_large_build_that_is_killed_twice_is_what_one_run_would_have_made(tmp_path: Path) -> None:
    """The same with 200,000 vectors of 384 dimensions in four shards, by two workers."""
    told = kill_twice_and_compare(Build(tmp_path, 4), files=8, rows=25_000, dimension=384)

    assert 200_000 == told["records"]


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def write_crowded(build: Build, user: str) -> None:
    """Write a data set of which one user, and so one shard, has most: texts that pack well, but not in Chroma."""
    (build.home / "data").mkdir(parents=True)
    with DeltaWriter(build.home / "data/part-0.parquet", dimension=4) as writer:
        names = [*ids(0, 40), *(f"USER#{user}#NOTE#x{number}" for number in range(1_500))]
        writer.add(names, np.ones((len(names), 4), np.float32), [f"{name} {name * 60}" for name in names])


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own is mounted by root alone")
def test_a_disk_that_fills_in_one_task_stops_that_task_alone(tmp_path: Path) -> None:
    """C15: the error names the shard and what is done; the others are built, and the next run builds the rest."""
    build = Build(tmp_path, 4)
    write_crowded(build, "1")
    try:
        with small_disk(tmp_path / "workspace/.bulk/tasks", "4m"):
            ended = run(build, 4, "--workers", "1")
    except subprocess.CalledProcessError:
        pytest.skip("this machine mounts no disks")

    problem = json.loads(ended.stderr)["error"]
    assert (3, "NoRoom") == (ended.returncode, problem["kind"]), ended.stderr
    assert "build 0 of notes" in problem["message"]
    assert "3 of 4 tasks are done" in problem["message"]
    assert "run the same command again" in problem["hint"]
    assert build.store.read_head(COLLECTION) is None
    again = run(build, 4)

    assert [False, True, True, True] == [shard["already"] for shard in json.loads(again.stdout)["shards"]]
    assert 1_540 == len(build.records())


def test_tasks_have_the_variables_and_the_directory_of_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the second time in one process, when what starts them began under others."""
    for name in ("one", "other"):
        home = tmp_path / name
        home.mkdir()
        monkeypatch.chdir(home)
        monkeypatch.setenv("AWS_PROFILE", f"nobody-{name}")
        event = {"task": "gather", "collection": COLLECTION, "number": 0}
        here = Here("store", Path("workspace"), None, 500)
        with processes(here, 1) as run:
            with pytest.raises(BadInput, match="no build of notes was begun"):
                run([{**event, "work": "work"}], lambda _: None)
            with pytest.raises(LifecycleError, match=f"nobody-{name}"):
                run([{**event, "work": "s3://bucket/work"}], lambda _: None)
        assert (home / "work").is_dir()
