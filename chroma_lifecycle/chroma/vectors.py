"""Comparing vectors: only Chroma can tell them, since they lie in its queue or in the HNSW files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import Corrupt

_PAGE_RECORDS = 1_000
# A cosine space gives vectors back rounded, so a vector that was read and written again is not quite the same.
_ROUNDING = 1e-6


def unlike_vectors(before: Path, after: Path, collection: str, ids: Sequence[str]) -> Iterator[str]:
    """Yield those of *ids* whose vectors differ between two directories, beyond what rounding does.

    Args:
        before: A closed Chroma directory of nobody else; opening it changes its files.
        after: Another one.
        collection: In both of them.
        ids: Of records that are in both.

    Raises:
        Corrupt: A record has no vector, or the files are not whole.
    """
    with ManagedClient.open(before, collection) as old, ManagedClient.open(after, collection) as new:
        for start in range(0, len(ids), _PAGE_RECORDS):
            page = ids[start : start + _PAGE_RECORDS]
            was, now = _vectors(old, page), _vectors(new, page)
            close = np.isclose(was, now, rtol=_ROUNDING, atol=_ROUNDING * np.abs(was).max(axis=1, keepdims=True))
            yield from (page[row] for row in np.flatnonzero(~close.all(axis=1)).tolist())


def _vectors(client: ManagedClient, ids: Sequence[str]) -> npt.NDArray[np.float32]:
    with client.errors("reading vectors"):
        found = client.collection.get(ids=list(ids), include=["embeddings"])
    vectors = dict(zip(found["ids"], found["embeddings"], strict=True))
    if missing := [id_ for id_ in ids if vectors.get(id_) is None]:
        raise Corrupt(
            f"{len(missing):,} records of {client.directory} have no vector",
            hint="run `chroma-lifecycle verify --deep`, and restore the last sound version",
        )
    return np.array([vectors[id_] for id_ in ids], np.float32)
