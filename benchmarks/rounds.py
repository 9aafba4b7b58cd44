"""Opening and closing for a day: descriptors, threads and memory of one process, a tenth of its rounds failing."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import structlog

from benchmarks.servers import ROOT
from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient, open_engine
from chroma_lifecycle.errors import Corrupt
from tests.support.chroma_directories import COLLECTION, vectors

_SAMPLES = 50


def measure_rounds(count: int) -> dict[str, Any]:
    """Open and close *count* times in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rounds", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    rows = [[float(number) for number in line.split()] for line in done.stdout.splitlines()]
    return {
        "rounds": count,
        "failing": count // 10,
        "samples": [
            {"round": int(number), "descriptors": int(files), "threads": int(threads), "megabytes": round(memory, 1)}
            for number, files, threads, memory in rows
        ],
    }


def main() -> None:
    """Print a line now and then: round, descriptors, threads, megabytes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    count = int(sys.argv[1])
    with TemporaryDirectory() as room:
        directory, broken = Path(room) / "sound" / "chroma", Path(room) / "broken"
        directory.parent.mkdir()
        broken.mkdir()
        (broken / "chroma.sqlite3").write_bytes(os.urandom(8192))
        with ManagedClient.open(directory, COLLECTION, create=CollectionSettings("l2", vectors(1).shape[1])) as client:
            client.collection.upsert(ids=[f"r{row}" for row in range(1200)], embeddings=vectors(1200))
        process = psutil.Process()
        for number in range(1, count + 1):
            one_round(directory, broken, number)
            if number % max(1, count // _SAMPLES) == 0:
                print(number, process.num_fds(), process.num_threads(), process.memory_info().rss / 1e6, flush=True)


def one_round(directory: Path, broken: Path, number: int) -> None:
    """Open, write, query, close; every twentieth opening fails, and every twentieth block."""
    if number % 20 == 5:
        with suppress(Corrupt):
            open_engine(broken)
            raise AssertionError("garbage was opened")
    with suppress(_Failing), ManagedClient.open(directory, COLLECTION) as client:
        client.collection.upsert(ids=[f"round-{number % 7}"], embeddings=vectors(1, seed=number))
        client.collection.query(query_embeddings=vectors(1), n_results=1)
        if number % 20 == 15:
            raise _Failing


class _Failing(Exception):
    """A round that is to fail."""


if __name__ == "__main__":
    main()
