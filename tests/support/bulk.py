"""Data sets to build from, and an engine that runs the tasks of a build one after the other, here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chroma_lifecycle.bulk.here import Here
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.wiring import open_store

COLLECTION = "notes"
DIMENSION = 4
RULES = """\
mapping: 1
table: {partition_key: PK, sort_key: SK}
collections:
  notes: USER#{user}#NOTE#{note}
rules:
  note:
    item: {PK: "USER#{user}", SK: "NOTE#{note}"}
    set:
      notes: [title]
    removal_deletes: [notes]
"""

Records = Mapping[str, tuple[tuple[float, ...], str | None, Mapping[str, Any]]]
"""Vector, document and metadata of each record, by id."""


def ids(first: int, last: int) -> list[str]:
    """Return some ids, of several users."""
    return [f"USER#{number % 13}#NOTE#{number}" for number in range(first, last)]


def write_input(path: Path, names: Sequence[str], *, dimension: int = DIMENSION) -> Path:
    """Write a file of a data set; a record's content follows from its id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seeds = [sum(name.encode()) for name in names]
    with DeltaWriter(path, dimension=dimension) as writer:
        writer.add(
            list(names),
            np.array([[seed % (at + 7) + at for at in range(dimension)] for seed in seeds], np.float32),
            [f"text of {name}" if seed % 3 else None for name, seed in zip(names, seeds, strict=True)],
            [{"n": seed, "odd": bool(seed % 2)} for seed in seeds],
        )
    return path


@dataclass
class Build:
    """A data set and a store below one directory, and the build between them.

    Attributes:
        shards: 0 for a collection that is not in shards.
    """

    home: Path
    shards: int = 0
    work: str = "work"

    @property
    def here(self) -> Here:
        mapping = self.home / "mapping.yaml"
        mapping.write_text(RULES + (f"shards:\n  notes: {self.shards}\n" if self.shards else ""))
        return Here(str(self.home / "store"), self.home / "workspace", str(mapping), 500)

    @property
    def event(self) -> dict[str, Any]:
        return {
            "task": "plan",
            "collection": COLLECTION,
            "source": str(self.home / "data"),
            "work": str(self.home / self.work),
            "dimension": DIMENSION,
            "space": "l2",
        }

    @property
    def store(self) -> Store:
        return open_store(str(self.home / "store"))

    def write(self, *files: Sequence[str]) -> Build:
        """Write the data set."""
        for number, names in enumerate(files):
            write_input(self.home / f"data/part-{number}.parquet", names)
        return self

    def events(self, event: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the event of each task, in the order in which an engine runs them; the plan is made at once."""
        begin = dict(event or self.event)
        planned = run_task(begin, self.here)
        what = {key: begin[key] for key in ("collection", "work")}
        yield from ({**what, "task": "split", "number": number} for number in planned["inputs"])
        yield {**what, "task": "gather"}
        yield from ({**what, "task": "build", "number": number} for number in planned["shards"])
        yield {**what, "task": "finish"}

    def run(self, tell: Callable[[int], None] = lambda _: None, **changed: Any) -> list[dict[str, Any]]:
        """Run every task; return what each said."""
        return [run_task(event, self.here, tell) for event in self.events({**self.event, **changed})]

    def lineages(self) -> list[str]:
        """Return the names under which the records are published."""
        if not self.shards:
            return [COLLECTION]
        return [shard.name for shard in read_layout(self.store, COLLECTION).layout.shards]

    def records(self) -> Records:
        """Return every record of the collection; each of them lies where the layout says."""
        found: dict[str, Any] = {}
        for name in self.lineages():
            records = published_records(self.store, name)
            if self.shards:
                layout = read_layout(self.store, COLLECTION).layout
                assert {name} >= {layout.shard_of(record_id).name for record_id in records}
            found |= records
        return found

    def left(self) -> list[str]:
        """Return what tasks have left in the workspace."""
        tasks = self.home / "workspace/.bulk/tasks"
        return sorted(path.name for path in tasks.iterdir()) if tasks.exists() else []


def published_records(store: Store, name: str) -> Records:
    """Return the records of the newest version of a lineage."""
    with files_of(read_published(store, name).manifest, Stores(store)) as files:
        return directory_records(files / CHROMA, name)


def directory_records(directory: Path, name: str) -> Records:
    """Return the records of a Chroma directory; it is copied before it is opened."""
    scratch = directory.parent / "reading"
    scratch.mkdir()
    expected = Expectation(name, None, None, bool)
    return _records(
        open_delta(directory.name, directory_deltas(directory.parent), scratch, expected, read_chroma_delta)
    )


def _records(delta: Any) -> Records:
    return {
        record_id: (tuple(vector.tolist()), document, metadata)
        for rows in delta.batches()
        for record_id, vector, document, metadata in zip(
            rows.ids, rows.embeddings, rows.documents, rows.metadatas, strict=True
        )
    }


def data_set_records(*paths: Path) -> Records:
    """Return the records of the files of a data set."""
    found: dict[str, Any] = {}
    for path in paths:
        scratch = path.parent.parent / f"reading-{path.stem}"
        scratch.mkdir()
        expected = Expectation(COLLECTION, None, None, bool)
        found |= _records(open_delta(path.name, directory_deltas(path.parent), scratch, expected))
    return found
