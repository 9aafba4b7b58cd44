"""Chroma directories as deltas, made once by a child: this process never opens one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MAKE = """
import sys
import chromadb
from chromadb.config import Settings

def client(name):
    return chromadb.PersistentClient(f"{sys.argv[1]}/{name}", Settings(anonymized_telemetry=False))

def vectors(count):
    return [[float(n), 1.0, 2.0] for n in range(count)]

few = client("few").create_collection("words")  # with Chroma's own embedding function, which needs a model
few.add(
    ids=["a", "b", "c"],
    embeddings=vectors(3),
    documents=["text", None, ""],
    metadatas=[{"n": 1, "f": 0.5, "t": "x", "y": True}, None, {"n": 2**63 - 1}],
)
many = client("many").create_collection(
    "words", embedding_function=None, configuration={"hnsw": {"sync_threshold": 500, "batch_size": 100}}
)
numbers = range(2_300)
many.add(ids=[f"id-{n:05d}" for n in numbers], embeddings=vectors(2_300), metadatas=[{"n": n} for n in numbers])
several = client("several")
several.create_collection("lines", embedding_function=None).add(ids=["line"], embeddings=vectors(1))
several.create_collection("words", embedding_function=None).add(ids=["word"], embeddings=vectors(1))
client("empty").create_collection("words", embedding_function=None)
client("lists").create_collection("words", embedding_function=None).add(
    ids=["a"], embeddings=vectors(1), metadatas=[{"k": ["SECRET"]}]
)
"""


@pytest.fixture(scope="session")
def chroma_directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of deltas: few (3 records), many (2,300, most in HNSW files), several, empty, lists."""
    root = tmp_path_factory.mktemp("chroma")
    subprocess.run([sys.executable, "-c", MAKE, str(root)], check=True, capture_output=True)
    return root
