"""Chroma alone: what a cycle cannot do without, and is measured against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings

from benchmarks.figures import seconds_of
from benchmarks.receipts import COLLECTION

Call = Callable[[Any], object]
"""One batched call of a collection."""


class ChromaAlone:
    """A Chroma directory that gets the same changes as ours, and nothing else is done for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def cycle(self, call: Call) -> float:
        """Open, make one batched call, close; return the seconds."""
        return seconds_of(lambda: self._cycle(call))

    def _cycle(self, call: Call) -> None:
        client = chromadb.PersistentClient(str(self.directory), settings=Settings(anonymized_telemetry=False))
        call(client.get_collection(COLLECTION, embedding_function=None))
        client.close()
