"""Comparing the vectors of two directories."""

from __future__ import annotations

from pathlib import Path

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.vectors import unlike_vectors
from tests.support.chroma_directories import COLLECTION, make_directory

IDS = [f"r{number}" for number in range(40)]


def test_rounding_is_no_difference_and_the_smallest_change_is(directory: Path, tmp_path: Path) -> None:
    """A cosine space gives vectors back rounded, so what was read and written again is not quite the same."""
    other = tmp_path / "other"
    make_directory(other)
    with ManagedClient.open(directory, COLLECTION) as client:
        read = client.collection.get(ids=IDS, include=["embeddings"])["embeddings"]
    read[7][3] += 0.001
    with ManagedClient.open(other, COLLECTION) as client:
        client.collection.update(ids=IDS, embeddings=read.tolist())

    assert ["r7"] == list(unlike_vectors(directory, other, COLLECTION, IDS))
