"""S3: opening and closing for a day leaves nothing behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from chromadb.api.shared_system_client import SharedSystemClient

from chroma_lifecycle.chroma.client import ManagedClient, open_engine
from chroma_lifecycle.chroma.ownership import record_path
from chroma_lifecycle.errors import Corrupt
from tests.support.chroma_directories import COLLECTION, vectors


def test_many_rounds_leave_descriptors_and_threads_flat(directory: Path, rounds: Callable[[int, int], int]) -> None:
    """500 rounds in one process, a tenth of them failing: at the opening, and inside."""
    broken = directory.with_name("broken")
    broken.mkdir()
    (broken / "chroma.sqlite3").write_bytes(os.urandom(8192))
    process = psutil.Process()
    gc.collect()  # what other tests let go
    before = None
    for number in range(rounds(40, 500)):
        _one(directory, broken, number)
        if number == 19:  # every kind has been there, so the engine's pools have their threads
            before = process.num_fds(), process.num_threads(), len(SharedSystemClient._identifier_to_system)

    after = process.num_fds(), process.num_threads(), len(SharedSystemClient._identifier_to_system)
    assert before is not None
    assert (before[0], before[2]) == (after[0], after[2])
    # The engine's pools may get a late thread; one that a round left behind would be twenty.
    assert after[1] <= before[1] + 2
    assert ["broken", "chroma"] == sorted(path.name for path in directory.parent.iterdir())
    assert not record_path(directory).exists()


def _one(directory: Path, broken: Path, number: int) -> None:
    if number % 20 == 5:
        with pytest.raises(Corrupt):
            open_engine(broken)
    elif number % 20 == 15:
        with pytest.raises(KeyError), ManagedClient.open(directory, COLLECTION) as client:
            client.collection.upsert(ids=["fails"], embeddings=vectors(1))
            raise KeyError
    else:
        with ManagedClient.open(directory, COLLECTION) as client:
            client.collection.upsert(ids=[f"round-{number % 7}"], embeddings=vectors(1, seed=number))
            client.collection.query(query_embeddings=vectors(1), n_results=1)
