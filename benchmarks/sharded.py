"""Measure a collection in shards, and write the tables of ``docs/shards.md``: ``python -m benchmarks.sharded``.

One collection and the same in four shards, drained by one, two and four processes that share a queue; and the recall
of one, two, four and eight shards beside the exact answer. ``--records N`` and ``--dry`` make it short, and leave the
page alone. The figures are kept in ``docs/shards.json``, and the page is made from them.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import queue
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
RESULTS = PAGE.with_suffix(".json")
SHARDS = 4
READ_SHARDS = (1, 2, 4, 8)
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
            metadatas = [{**each, "image": some[0].image} for each in made.metadatas]
            writer.add(made.ids, made.vectors, made.documents, metadatas)
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
    batches_taken: int
    labels_of_a_batch: int
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
    labels = sum(map(len, batches))
    return Drained(
        place.shards, kind, len(batches), labels // len(batches), workers, labels / seconds, cycles, lost, back
    )


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


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a reader answered, beside the exact answer.

    Attributes:
        recall: Share of the nearest that were found.
        milliseconds: Of a query of the whole collection.
        partition_milliseconds: Of a query of one partition.
        partition_shards: How many shards a query of one partition asks.
    """

    shards: int
    recall: float
    milliseconds: float
    partition_milliseconds: float
    partition_shards: int


def measured_recall(home: Path, words: int, dimension: int) -> list[Recalled]:
    """Return recall and milliseconds of a query, by the number of shards; those not filled yet are filled."""
    questions = np.random.default_rng(5).standard_normal((_QUESTIONS, dimension)).astype(np.float32)
    found = []
    for shards in READ_SHARDS:
        if not (home / f"of-{shards}").exists():
            fill(home / f"of-{shards}", shards, words, dimension)
        store, workspace = DirectoryStore(home / f"of-{shards}" / "store"), home / f"reading-{shards}"

        def reader(store: DirectoryStore = store, workspace: Path = workspace, *, shards: int = shards) -> Any:
            if shards > 1:
                return ShardedReader(store, COLLECTION, partition_key="image", workspace=workspace)
            return SnapshotReader(store, COLLECTION, workspace=workspace)

        image = Word(words // 2).image
        with reader() as of_one:  # which opens the shards that it asks, and no others
            of_one.client().get_collection(COLLECTION).query(questions[:1], where={"image": image})
            asked = len(of_one.status().shards) if shards > 1 else 1
        with reader() as of_all, of_all.collection() as asking:
            exact = _exact(asking.get(include=["embeddings"]), questions)
            answers, milliseconds = _answers(asking, questions)
            _, of_partition = _answers(asking, questions, where={"image": image})
        right = sum(len({*given} & {*wanted}) for given, wanted in zip(answers, exact, strict=True))
        found.append(Recalled(shards, right / (_QUESTIONS * _NEAREST), milliseconds, of_partition, asked))
    return found


def _answers(asking: Any, questions: Any, **more: Any) -> tuple[list[list[str]], float]:
    """Return the ids that were found for each question, and milliseconds of a query."""
    began = time.monotonic()
    found = [asking.query(each[None], n_results=_NEAREST, include=[], **more)["ids"][0] for each in questions]
    return found, 1_000 * (time.monotonic() - began) / len(questions)


def _exact(everything: Any, questions: Any) -> list[list[str]]:
    vectors = np.asarray(everything["embeddings"])
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = np.argsort(-(questions @ vectors.T), axis=1)[:, :_NEAREST]
    return [[everything["ids"][row] for row in rows] for rows in near]


# The page.


def render(text: str, results: Mapping[str, Any]) -> str:
    """Return the page *text* with its figures written anew."""
    before, begins, rest = text.partition("<!-- begin figures -->\n")
    _, ends, after = rest.partition("<!-- end figures -->")
    return f"{before}{begins}{tables(results)}\n{ends}{after}"


def tables(results: Mapping[str, Any]) -> str:
    """Return what the page shows."""
    drained = [
        [
            f"{each['shards']}",
            each["batches"],
            f"{each['workers']}",
            f"{each['labels_per_second']:,.0f}",
            f"{each['cycles']}",
            f"{each['swaps_lost']}",
            f"{each['handed_back']}",
        ]
        for each in results["drained"]
    ]
    recalled = [
        [
            f"{each['shards']}",
            f"{each['recall']:.3f}",
            f"{each['milliseconds']:.1f} ms",
            f"{each['partition_milliseconds']:.1f} ms",
            f"{each['partition_shards']}",
        ]
        for each in results["recalled"]
    ]
    columns = ["shards", "labels of a batch", "processes", "labels a second", "cycles", "swaps lost"]
    asked = ["shards", f"recall of the {_NEAREST} nearest", "a query", "a query of one partition", "asks shards"]
    return "\n".join(
        [
            f"{results['records']:,} records of {results['dimension']} dimensions in a directory store;",
            f"{_BATCHES} batches of {_LABELS} labels; {results['cores']} cores, load {results['load']:.0f}.",
            "",
            table([*columns, "batches handed back"], drained),
            "",
            table(asked, recalled),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=12_000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--dry", action="store_true", help="Print the tables only.")
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory(prefix="sharded-") as home:
        drained = measured_throughput(Path(home), given.records, given.dimension)
        recalled = measured_recall(Path(home), given.records, given.dimension)
    results = {
        "records": given.records,
        "dimension": given.dimension,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[1], 1),
        "drained": [asdict(each) for each in drained],
        "recalled": [asdict(each) for each in recalled],
    }
    print(tables(results))
    if not given.dry:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(render(PAGE.read_text("utf-8"), results), "utf-8")


if __name__ == "__main__":
    main()
