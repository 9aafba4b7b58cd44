"""Make a golden directory with the chromadb that is installed, and nothing else of this project.

python tests/closing/golden/make.py    # writes chromadb-<version>.tar.gz beside this file
"""

import gzip
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

import chromadb
import numpy as np
from chromadb.config import Settings

RECORDS = 25
HNSW = {"space": "cosine", "sync_threshold": 10, "batch_size": 5}


def make(directory: Path) -> None:
    """Write the same records with any version; the process must end before they are packed elsewhere."""
    client = chromadb.PersistentClient(str(directory), settings=Settings(anonymized_telemetry=False))
    # Before 1.0 the settings of HNSW were metadata of the collection.
    if version("chromadb").startswith("0."):
        chosen = {"metadata": {f"hnsw:{name}": value for name, value in HNSW.items()}}
    else:
        chosen = {"configuration": {"hnsw": HNSW}}
    collection = client.create_collection("words", embedding_function=None, **chosen)
    vectors = np.random.default_rng(0).random((RECORDS, 8), dtype=np.float32) - np.float32(0.5)
    collection.upsert(
        ids=[f"r{number}" for number in range(RECORDS)],
        embeddings=vectors.tolist(),
        documents=[f"document {number}" for number in range(RECORDS)],
        metadatas=[{"number": number} for number in range(RECORDS)],
    )
    collection.count()
    client._system.stop()


def pack(directory: Path, archive: Path) -> None:
    """Write the directory to an archive without anything of this machine."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
        return member

    with (
        archive.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        tar.add(directory, arcname="chroma", filter=plain)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as room:
        make(Path(room) / "chroma")
        pack(Path(room) / "chroma", Path(__file__).with_name(f"chromadb-{version('chromadb')}.tar.gz"))
