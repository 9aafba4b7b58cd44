"""Measure what a write-ahead tail costs a reader, and what forcing it to disk costs a writer.

The default budget of ``chroma_lifecycle.chroma.tail`` is from here::

    python scripts/tail_experiment.py --records 30000 --dimension 384
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.chroma.tail import settle_tail
from chroma_lifecycle.snapshot import soundness

COLLECTION = "words"
TAILS = (0, 100, 250, 500, 900)
_random = np.random.default_rng(7)


def make_base(directory: Path, records: int, dimension: int) -> None:
    """Make a directory whose every vector is in the HNSW files."""
    with ManagedClient.open(directory, COLLECTION, create=CollectionSettings("cosine", dimension)) as client:
        for start in range(0, records, 5000):
            count = min(5000, records - start)
            ids = [f"base-{start + row}" for row in range(count)]
            client.collection.upsert(ids=ids, embeddings=_random.random((count, dimension), dtype=np.float32))
    settle_tail(directory, COLLECTION, budget=3)


def add_tail(directory: Path, tail: int, *, metadata_only: bool) -> None:
    """Let *tail* operations wait in the queue."""
    with ManagedClient.open(directory, COLLECTION) as client:
        dimension = client.dimension
        if metadata_only:
            ids = [f"base-{row}" for row in range(tail)]
            client.collection.update(ids=ids, metadatas=[{"label": True}] * tail)
        elif tail:
            ids = [f"tail-{row}" for row in range(tail)]
            client.collection.upsert(ids=ids, embeddings=_random.random((tail, dimension), dtype=np.float32))


def seconds_to_first_answer(directory: Path) -> float:
    """Return how long a reader takes from opening to its first answer."""
    began = time.perf_counter()
    with ManagedClient.open(directory, COLLECTION) as client:
        client.collection.query(query_embeddings=_random.random((1, client.dimension)), n_results=1)
        return time.perf_counter() - began


def measure(base: Path, tail: int, rounds: int, *, metadata_only: bool = False) -> dict[str, object]:
    """Measure one tail."""
    answers, flushes, left = [], [], 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as room:
            directory = Path(room) / "chroma"
            shutil.copytree(base, directory)
            add_tail(directory, tail, metadata_only=metadata_only)
            left = soundness.examine(directory).tail
            answers.append(seconds_to_first_answer(directory))
            flushes.append(settle_tail(directory, COLLECTION, budget=3).seconds)
    return {
        "operations": tail,
        "kind": "metadata" if metadata_only else "vectors",
        "tail": left,
        "first_answer_ms": round(statistics.median(answers) * 1000),
        "flush_ms": round(statistics.median(flushes) * 1000) if left > 3 else None,
    }


def main() -> None:
    """Print one JSON line for each tail."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=30_000)
    arguments.add_argument("--dimension", type=int, default=384)
    arguments.add_argument("--rounds", type=int, default=7)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as room:
        base = Path(room) / "chroma"
        make_base(base, chosen.records, chosen.dimension)
        for tail in TAILS:
            print(json.dumps(measure(base, tail, chosen.rounds)), flush=True)  # noqa: T201 - this is its output
        print(json.dumps(measure(base, 900, chosen.rounds, metadata_only=True)), flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
