"""Measure a collection in shards, and write the tables of ``docs/shards.md``: ``python -m benchmarks.sharded``.

One collection and the same in four shards, drained by one, two and four processes that share a queue; and the recall
of both beside the exact answer. ``--records N`` and ``--dry`` make it short, and leave the page alone.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import queue
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from benchmarks.page import table
from benchmarks.receipts import COLLECTION, MAPPING, Editor, Word, by_image, records
from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.config import Settings
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin, begin_in_shards
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.reader import ShardedReader, SnapshotReader
from chroma_lifecycle.report import Report
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.wiring import compactor
from tests.support.table import in_sqs

PAGE = Path(__file__).parents[1] / "docs" / "shards.md"
SHARDS = 4
WORKERS = (1, 2, 4)
_BATCHES, _LABELS = 24, 400
_QUESTIONS, _NEAREST = 200, 10
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Place:
    """A filled store below a directory; by how many shards it is cut, or in one piece."""

    home: Path
    shards: int

    @property
    def mapping(self) -> Path:
        return self.home / "mapping.yaml"

    def settings(self, workspace: str) -> Settings:
        return Settings(
            store=str(self.home / "store"),
            mapping=str(self.mapping),
            workspace=self.home / workspace,
            deltas=(str(self.home / "deltas"),),
            deadline_reserve_seconds=1.0,
        )

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.home / "store")


def fill(home: Path, shards: int, words: int, dimension: int) -> Place:
    """Publish so many words."""
    place = Place(home, shards)
    for part in ("store", "deltas"):
        (home / part).mkdir(parents=True)
    cut = f"shards: {{{COLLECTION}: {shards}}}\n" if shards > 1 else ""
    place.mapping.write_text(MAPPING.read_text() + cut)
    mapping, settings = load_mapping(str(place.mapping)), CollectionSettings("cosine", dimension)
    if shards > 1:
        begin_in_shards(
            COLLECTION,
            mapping,
            settings,
            store=place.store,
            workspaces=home / "beginning",
            clock=SYSTEM_CLOCK,
            writer="bench",
        )
    else:
        with Workspace.open(home / "beginning") as workspace:
            begin(Beginning(COLLECTION, mapping.digest, place.store, workspace, SYSTEM_CLOCK, "bench"), settings)
    addresses = []
    for some in by_image([Word(number) for number in range(words)]):
        address = f"{some[0].image.removeprefix('IMAGE#')}.parquet"
        with DeltaWriter(home / "deltas" / address, dimension=dimension) as writer:
            made = records(some, dimension)
            writer.add(made.ids, made.vectors, made.documents, made.metadatas)
        addresses.append((some[0].image, address))
    editor = Editor(words, generation=0)
    with compactor(place.settings("filling")) as machine:
        for start in range(0, len(addresses), 20):
            assert not machine.compact(in_sqs(editor.runs(addresses[start : start + 20]))).failed
    return place


# Throughput.


@dataclass(frozen=True, slots=True)
class Drained:
    """How a queue was drained; of batches that concern any shards, or one each."""

    shards: int
    batches: str
    workers: int
    labels_per_second: float
    cycles: int
    swaps_lost: int
    handed_back: int


def drain(place: Place, workers: int, kind: str, batches: Sequence[list[Any]]) -> Drained:
    """Let *workers* processes, warm, take batches from one queue until all are published."""
    context = multiprocessing.get_context("spawn")
    todo, told, start = context.Queue(), context.Queue(), context.Barrier(workers + 1)
    for batch in batches:
        todo.put(batch)
    running = [
        context.Process(target=_work, args=(place.settings(f"worker-{workers}-{number}"), todo, told, start))
        for number in range(workers)
    ]
    for each in running:
        each.start()
    start.wait(_SECONDS)
    began = time.monotonic()
    counts = [told.get(timeout=_SECONDS) for _ in running]
    seconds = time.monotonic() - began
    for each in running:
        each.join()
    cycles, lost, back = (sum(column) for column in zip(*counts, strict=True))
    return Drained(place.shards, kind, workers, sum(map(len, batches)) / seconds, cycles, lost, back)


def _work(settings: Settings, todo: Any, told: Any, start: Any) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    cycles = lost = back = 0
    with compactor(settings) as machine:
        warm(machine)
        start.wait(_SECONDS)
        while True:
            try:
                batch = todo.get(timeout=0.2)
            except queue.Empty:
                break
            report, failed = _compact(machine, batch)
            if failed:
                back += 1
                todo.put(failed)
            if report is not None:
                cycles += len(report.collections)
                lost += sum(each.attempts - 1 for each in report.collections)
    told.put((cycles, lost, back))


def warm(machine: Compactor) -> None:
    """Have every shard on the local disk, as a container has that has worked for a while."""
    everywhere = [
        event
        for number in range(40)
        for event in Editor(600 * 40, generation=0).label([Word(600 * number)], "warm", valid=True).events
    ]
    machine.compact(in_sqs(everywhere), dry_run=True)


def _compact(machine: Compactor, batch: list[Any]) -> tuple[Report | None, list[Any]]:
    try:
        report = machine.compact(in_sqs(batch))
    except LifecycleError:
        return None, batch
    failed = set(report.failed_sources())
    return report, [each for number, each in enumerate(batch) if f"message-{number}" in failed]


def measured_throughput(home: Path, words: int, dimension: int) -> list[Drained]:
    """Return how fast queues are drained: of one collection, and of shards."""
    found = []
    for shards in (1, SHARDS):
        place, editor = fill(home / f"of-{shards}", shards, words, dimension), Editor(words, generation=1)
        for kind in ("anywhere", "of one shard") if shards > 1 else ("anywhere",):
            for workers in WORKERS:
                batches = [editor.labels(_LABELS).events for _ in range(_BATCHES)]
                found.append(drain(place, workers, kind, batches if kind == "anywhere" else apart(place, batches)))
    return found


def apart(place: Place, batches: Sequence[list[Any]]) -> list[list[Any]]:
    """Return the same events in batches that concern one shard each."""
    layout = read_layout(place.store, COLLECTION).layout
    by_shard: dict[str, list[Any]] = {}
    for event in [event for batch in batches for event in batch]:
        by_shard.setdefault(layout.shard_of(event["dynamodb"]["Keys"]["PK"]["S"]).name, []).append(event)
    pieces = [
        [events[start : start + _LABELS] for start in range(0, len(events), _LABELS)] for events in by_shard.values()
    ]
    return [piece for turn in zip_longest(*pieces) for piece in turn if piece]


# Recall.


def measured_recall(home: Path, dimension: int) -> list[tuple[str, float, float]]:
    """Return recall and milliseconds of a query of one collection and of shards; `measured_throughput` filled them."""
    questions = np.random.default_rng(5).standard_normal((_QUESTIONS, dimension)).astype(np.float32)
    found = []
    for shards in (1, SHARDS):
        store, workspace = DirectoryStore(home / f"of-{shards}" / "store"), home / f"reading-{shards}"
        reader: Any = (
            ShardedReader(store, COLLECTION, workspace=workspace)
            if shards > 1
            else SnapshotReader(store, COLLECTION, workspace=workspace)
        )
        with reader, reader.collection() as words:
            exact = _exact(words.get(include=["embeddings"]), questions)
            began = time.monotonic()
            answers = [words.query(question[None], n_results=_NEAREST, include=[])["ids"][0] for question in questions]
            milliseconds = 1_000 * (time.monotonic() - began) / _QUESTIONS
        right = sum(len({*asked} & {*wanted}) for asked, wanted in zip(answers, exact, strict=True))
        found.append((f"{shards}", right / (_QUESTIONS * _NEAREST), milliseconds))
    return found


def _exact(everything: Any, questions: Any) -> list[list[str]]:
    vectors = np.asarray(everything["embeddings"])
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = np.argsort(-(questions @ vectors.T), axis=1)[:, :_NEAREST]
    return [[everything["ids"][row] for row in rows] for rows in near]


# The page.


def tables(drained: Sequence[Drained], recalls: Sequence[tuple[str, float, float]], words: int, dimension: int) -> str:
    """Return what the page shows."""
    rows = [
        [
            f"{each.shards}",
            each.batches,
            f"{each.workers}",
            f"{each.labels_per_second:,.0f}",
            f"{each.cycles}",
            f"{each.swaps_lost}",
            f"{each.handed_back}",
        ]
        for each in drained
    ]
    load = os.getloadavg()[1]
    return "\n".join(
        [
            f"{words:,} records of {dimension} dimensions in a directory store; {_BATCHES} batches of {_LABELS}",
            f"labels; {os.cpu_count()} cores, load {load:.0f}.",
            "",
            table(
                [
                    "shards",
                    "labels of a batch",
                    "processes",
                    "labels a second",
                    "cycles",
                    "swaps lost",
                    "batches handed back",
                ],
                rows,
            ),
            "",
            table(
                ["shards", f"recall of the {_NEAREST} nearest", "a query"],
                [[shards, f"{recall:.3f}", f"{milliseconds:.1f} ms"] for shards, recall, milliseconds in recalls],
            ),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=24_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--dry", action="store_true", help="Print the tables only.")
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="sharded-") as home:
        drained = measured_throughput(Path(home), given.records, given.dimension)
        made = tables(drained, measured_recall(Path(home), given.dimension), given.records, given.dimension)
    print(made)
    if not given.dry:
        before, begins, rest = PAGE.read_text("utf-8").partition("<!-- begin figures -->\n")
        _, ends, after = rest.partition("<!-- end figures -->")
        PAGE.write_text(f"{before}{begins}{made}\n{ends}{after}", "utf-8")


if __name__ == "__main__":
    main()
