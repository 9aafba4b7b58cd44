"""One cycle of write, close and copy, and what must be true at the instant that the close returns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.descriptors import below
from tests.support.chroma_directories import COLLECTION, connect, vectors

Close = Callable[[Any], object]


def write_and_close(directory: Path, number: int, close: Close) -> None:
    """Write one record, close, and check at once what a copy needs; then the copy itself.

    Raises:
        AssertionError: A descriptor is open when *close* returns, or the copy is not what was written.
    """
    client = connect(directory)
    collection = client.get_collection(COLLECTION, embedding_function=None)
    vector = vectors(1, seed=1_000 + number)
    collection.upsert(ids=[f"cycle-{number}"], embeddings=vector, metadatas=[{"cycle": number}])
    expected = collection.count()

    close(client)
    held = below(directory)
    copy = directory.with_name(f"copy-{number}")
    shutil.copytree(directory, copy)

    assert () == held, "a copy was taken while the directory was open"
    _check_copy(copy, number, vector, expected)
    shutil.rmtree(copy)


def _check_copy(copy: Path, number: int, vector: Any, expected: int) -> None:
    found = soundness.examine(copy, full=True)
    assert expected == found.collections[0].records
    client = connect(copy)
    collection = client.get_collection(COLLECTION, embedding_function=None)
    assert expected == collection.count()
    assert [[f"cycle-{number}"]] == collection.query(query_embeddings=vector, n_results=1)["ids"]
    close_client(client)
