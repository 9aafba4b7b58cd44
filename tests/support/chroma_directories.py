"""Small Chroma directories for tests, made by the installed Chroma and closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import numpy.typing as npt
from chromadb.api.client import Client
from chromadb.config import Settings

from chroma_lifecycle.chroma.closing import CloseReport, Way, close_client

COLLECTION = "words"
DIMENSION = 8
SPACE = "cosine"
ENDED = Way.CLOSE if hasattr(Client, "close") else Way.STOP
"""How the installed Chroma's own client is ended, if nobody shares its system."""


def vectors(count: int, *, dimension: int = DIMENSION, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return *count* vectors, different for each seed."""
    return np.random.default_rng(seed).random((count, dimension), dtype=np.float32) - np.float32(0.5)


def connect(directory: Path | str) -> Any:
    """Return a plain client, as people open one."""
    return chromadb.PersistentClient(str(directory), settings=Settings(anonymized_telemetry=False))


def opened(directory: Path) -> tuple[Any, Any]:
    """Return a plain client and its collection, with 20 records written just now."""
    client = connect(directory)
    collection = client.get_collection(COLLECTION, embedding_function=None)
    fill(collection, 20)
    return client, collection


def make_directory(
    directory: Path, *, records: int = 40, sync_threshold: int = 10, names: tuple[str, ...] = (COLLECTION,)
) -> CloseReport:
    """Make a closed directory with *records* records in each collection, most of them in HNSW files."""
    client = connect(directory)
    for name in names:
        collection = client.create_collection(
            name,
            embedding_function=None,
            configuration={"hnsw": {"space": SPACE, "sync_threshold": sync_threshold, "batch_size": 5}},
        )
        fill(collection, records)
    return close_client(client)


def fill(collection: Any, records: int) -> None:
    """Write *records* records, in one call."""
    if records:
        collection.upsert(
            ids=[f"r{number}" for number in range(records)],
            embeddings=vectors(records),
            documents=[f"document {number}" for number in range(records)],
            metadatas=[{"number": number} for number in range(records)],
        )


def segment_of(directory: Path) -> Path:
    """Return the one directory of HNSW files."""
    return next(path for path in directory.iterdir() if path.is_dir())


def content(directory: Path) -> dict[str, bytes]:
    """Return every file's bytes."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
