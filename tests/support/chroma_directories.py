"""Small Chroma directories for tests, made by the installed Chroma and closed."""

from __future__ import annotations

import gzip
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import numpy.typing as npt
from chromadb.config import Settings

from chroma_lifecycle.chroma.closing import CloseReport, close_client

COLLECTION = "words"
DIMENSION = 8
SPACE = "cosine"


def vectors(count: int, *, dimension: int = DIMENSION, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return *count* vectors, different for each seed."""
    return np.random.default_rng(seed).random((count, dimension), dtype=np.float32) - np.float32(0.5)


def connect(directory: Path | str) -> Any:
    """Return a plain client, as people open one."""
    return chromadb.PersistentClient(str(directory), settings=Settings(anonymized_telemetry=False))


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


def pack(directory: Path, archive: Path) -> None:
    """Write a directory to an archive that is the same each time."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
        return member

    with (
        archive.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        tar.add(directory, arcname="chroma", filter=plain)


def main() -> None:
    """Write a directory made by the installed Chroma: ``python -m tests.support.chroma_directories FOLDER``."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as room:
        directory = Path(room).resolve() / "chroma"
        make_directory(directory, records=25)
        pack(directory, folder / f"chromadb-{version('chromadb')}.tar.gz")


if __name__ == "__main__":
    main()
