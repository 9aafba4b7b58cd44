"""Where the tasks of a job leave what the next ones need: below a directory, or a prefix of a bucket.

::

    <collection>/job.json                       what is built, written once
    <collection>/split/<input>.json             an input is done: how many records it has of each shard
    <collection>/shards/<shard>/<input>-<digest>.parquet   its records of a shard
    <collection>/expected.json                  every input is done: how many records each shard must have

Nothing is ever replaced: of two who do the same, the second finds it done.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chroma_lifecycle.deltas.addresses import DirectoryRoot, Root
from chroma_lifecycle.deltas.delivery import Delivery
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.intake.json_text import parse_json
from chroma_lifecycle.snapshot.fields import canonical

JOB, EXPECTED = "job.json", "expected.json"


@dataclass(frozen=True, slots=True)
class Work:
    """The place of one collection's job.

    Attributes:
        deltas: Reads below the place's root.
        deliveries: Write there.
    """

    collection: str
    deltas: RootedDeltas
    deliveries: Mapping[type[Root], Delivery]

    @property
    def address(self) -> str:
        """Where that is, for messages to people."""
        place, _ = self.deltas.locate(self.collection)
        return f"{place.root}{place.path}"

    def shard(self, number: int) -> str:
        """Return the address of a shard's records."""
        return f"{self.collection}/shards/{number}"

    def put(self, name: str, file: Path) -> bool:
        """Store *file* unless there is one of this name; return whether it was stored."""
        place, _ = self.deltas.locate(f"{self.collection}/{name}")
        return self.deliveries[type(place.root)].put(place, file)

    def put_bytes(self, name: str, body: bytes) -> bool:
        """Store *body* likewise."""
        with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
            file = Path(scratch) / "file"
            file.write_bytes(body)
            return self.put(name, file)

    def put_json(self, name: str, value: Mapping[str, Any]) -> bool:
        """Store *value* likewise."""
        return self.put_bytes(name, canonical(dict(value)))

    def read(self, name: str) -> bytes | None:
        """Return what is stored under *name*; ``None`` if nothing is."""
        place, source = self.deltas.locate(f"{self.collection}/{name}")
        found = [file for file in source.list(place) if not file.name]
        if not found:
            return None
        with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
            file = Path(scratch) / "file"
            source.fetch(place, found[0], file)
            return file.read_bytes()

    def read_json(self, name: str) -> Any:
        """Return the value that is stored under *name*; ``None`` if nothing is."""
        body = self.read(name)
        return None if body is None else parse_json(body.decode())

    def remove(self) -> bool:
        """Remove all of it, where it is a directory; return whether it was."""
        place, _ = self.deltas.locate(self.collection)
        if isinstance(place.root, DirectoryRoot):
            shutil.rmtree(place.root.path / place.path, ignore_errors=True)
            return True
        return False
