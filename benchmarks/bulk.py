"""A first load: the same records by cycles, from one file, and by `bulk build` with one and two workers."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cycles import traffic
from benchmarks.figures import Spread, by_turns, ratio, seconds_of
from benchmarks.reaping import run_command
from benchmarks.receipts import COLLECTION, MAPPING, WORDS_OF_AN_IMAGE, Editor, Word, by_image, records
from benchmarks.servers import endpoint
from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.clock import SYSTEM_CLOCK, new_id
from chroma_lifecycle.config import Settings
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import begin_in_shards
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.wiring import compactor, open_store
from tests.support.s3 import FaultProxy, fault_proxy
from tests.support.table import in_sqs

SHARDS = 4
_GROWTH_STEPS = 24
_ADDED_AT_ONCE = 2_500
FILES = 8
_RUNS_OF_A_BATCH = 20
_FEW_OF_A_FILE = 10


@dataclass(frozen=True, slots=True)
class Load:
    """A data set in a bucket behind a proxy that counts, and the deltas of the same records.

    Attributes:
        room: For mappings and workspaces, and a file of all records.
        shards: How many the mapping has the collection in.
        images: Each image and the address of its delta.
    """

    bucket: str
    room: Path
    records: int
    dimension: int
    shards: int
    images: Sequence[tuple[str, str]] = ()

    def store(self, name: str) -> str:
        return f"s3://{self.bucket}/{name}"

    def mapping(self, *, shards: bool) -> Path:
        path = self.room / f"mapping-{'in-shards' if shards else 'whole'}.yaml"
        path.write_text(MAPPING.read_text() + (f"shards: {{{COLLECTION}: {self.shards}}}\n" if shards else ""))
        return path

    def run(self, *words: str) -> dict[str, Any]:
        """Run a command; return what it prints for programs."""
        return dict(json.loads(run_command(words).output))

    def put(self, key: str, parts: Sequence[Sequence[Word]], dimension: int, *, edition: int = 0) -> None:
        """Write them to an object of the bucket."""
        path = put_records(self.room / "put.parquet", parts, dimension, edition=edition)
        make_client("s3").upload_file(str(path), self.bucket, key)
        path.unlink()

    def put_data_set(self, name: str, dimension: int, *, edition: int = 0) -> None:
        """Write all records to the files of a data set."""
        for file in range(FILES):
            words = range(file * self.records // FILES, (file + 1) * self.records // FILES)
            self.put(f"{name}/part-{file:03}.parquet", [[Word(at) for at in words]], dimension, edition=edition)


def put_records(path: Path, parts: Sequence[Sequence[Word]], dimension: int, *, edition: int = 0) -> Path:
    """Write the records of some words to a new file; another edition has other vectors."""
    with DeltaWriter(path, dimension=dimension) as writer:
        for words in parts:
            made = records(words, dimension, edition=edition)
            writer.add(made.ids, made.vectors, made.documents, made.metadatas)
    return path


def new_load(number: int, dimension: int, room: Path, *, shards: int) -> Load:
    """Make a bucket, and room for what will be loaded from it."""
    load = Load(f"bench-bulk-{new_id()}", room / new_id(), number, dimension, shards)
    load.room.mkdir()
    make_client("s3").create_bucket(Bucket=load.bucket)
    return load


@dataclass(frozen=True, slots=True)
class Way:
    """How the records come into a store of this name; returns the most memory that a task took, if it says so."""

    title: str
    go: Callable[[Load, str], float | None]


def by_cycles(load: Load, name: str) -> None:
    """Begin the shards, and let a function compact runs, batch after batch."""
    mapping, workspace = load.mapping(shards=True), load.room / name
    begin_in_shards(
        COLLECTION,
        load_mapping(str(mapping)),
        CollectionSettings("cosine", load.dimension),
        store=open_store(load.store(name)),
        workspaces=workspace / "beginning",
        clock=SYSTEM_CLOCK,
        writer="bench",
    )
    settings = Settings(
        store=load.store(name),
        mapping=str(mapping),
        workspace=workspace / "compacting",
        deltas=(f"s3://{load.bucket}/deltas/",),
        deadline_reserve_seconds=1.0,
    )
    editor = Editor(load.records, generation=0)
    with compactor(settings) as machine:
        for start in range(0, len(load.images), _RUNS_OF_A_BATCH):
            report = machine.compact(in_sqs(editor.runs(load.images[start : start + _RUNS_OF_A_BATCH])))
            assert not report.failed, report


def from_one_file(load: Load, name: str) -> None:
    """Let `init --from` take a file of all records into one collection."""
    given = {"store": load.store(name), "mapping": load.mapping(shards=False), "workspace": load.room / name}
    options = [f"--{option}={value}" for option, value in given.items()]
    load.run("init", "--from", str(load.room / "all.parquet"), *options)


def by_tasks(workers: int, data_set: str = "data") -> Callable[[Load, str], float]:
    """Return what runs `bulk build` with so many workers."""

    def go(load: Load, name: str) -> float:
        given = {
            "store": load.store(name),
            "mapping": load.mapping(shards=True),
            "workspace": load.room / name,
            "dimension": load.dimension,
            "workers": workers,
        }
        options = [f"--{option}={value}" for option, value in given.items()]
        told = load.run("bulk", "build", f"s3://{load.bucket}/{data_set}", *options)
        return float(max(shard["peak_bytes"] for shard in told["shards"]))

    return go


_FEW = Way("next to nothing", by_tasks(1, "few"))
WAYS = (
    Way(f"cycles of {_RUNS_OF_A_BATCH} runs, in {SHARDS} shards", by_cycles),
    Way("`init --from` one file, in one piece", from_one_file),
    Way(f"`bulk build`, 1 worker, {SHARDS} shards", by_tasks(1)),
    Way(f"`bulk build`, 2 workers, {SHARDS} shards", by_tasks(2)),
)


def measure_bulk(url: str, number: int, dimension: int, rounds: int, room: Path) -> dict[str, Any]:
    """Load the same records in every way, by turns; count what passes on the way to the server."""
    peaks, processor = dict[str, float](), dict[str, list[float]]()
    with fault_proxy(url) as proxy, endpoint(proxy.url):
        load = _prepared(number, dimension, room)
        counted: dict[str, Any] = {}

        def turn(way: Way) -> Callable[[int], float]:
            def once(round_: int) -> float:
                name = f"{WAYS.index(way)}-{round_}"
                before = _processor_seconds()
                seconds = _timed(load, way, name, proxy, counted, peaks)
                processor.setdefault(way.title, []).append(_processor_seconds() - before)
                _require_all(load, name)
                return seconds

            return once

        seconds = by_turns(rounds, *map(turn, WAYS))
        before = _processor_seconds()
        few = [_timed(load, _FEW, f"few-{round_}", proxy, {}, {}) for round_ in range(rounds)]
        few_processor = (_processor_seconds() - before) / rounds
        shutil.rmtree(load.room)
    growth = _growth(number * 4, dimension, room / "growing")
    return {
        "records": number,
        "dimension": dimension,
        "shards": SHARDS,
        "files": FILES,
        "load": round(os.getloadavg()[1], 1),
        "few": {
            "records": FILES * _FEW_OF_A_FILE,
            "seconds": Spread.of(few).rounded(2),
            "processor_seconds": round(few_processor, 2),
        },
        "growth": growth,
        "ways": [
            {
                "title": way.title,
                "seconds": Spread.of(own).rounded(2),
                "times": ratio(seconds[0], own),
                "processor_seconds": Spread.of(processor[way.title]).rounded(2)["median"],
                "peak_megabytes": round(peaks[way.title] / 1e6) if way.title in peaks else None,
                **counted[way.title],
            }
            for way, own in zip(WAYS, seconds, strict=True)
        ],
    }


def _timed(
    load: Load, way: Way, name: str, proxy: FaultProxy, counted: dict[str, Any], peaks: dict[str, float]
) -> float:
    proxy.forget()
    told: list[float | None] = []
    seconds = seconds_of(lambda: told.append(way.go(load, name)))
    seen = traffic(proxy)
    counted[way.title] = {
        "requests": seen.requests,
        "sent_megabytes": round(seen.sent_bytes / 1e6, 1),
        "received_megabytes": round(seen.received_bytes / 1e6, 1),
    }
    if told[0] is not None:
        peaks[way.title] = max(told[0], peaks.get(way.title, 0.0))
    shutil.rmtree(load.room / name, ignore_errors=True)
    return seconds


def _growth(number: int, dimension: int, place: Path) -> list[dict[str, int]]:
    """Return what Chroma alone uses of a processor for a vector, by how many its index holds then."""
    found, step, before = [], number // _GROWTH_STEPS, _processor_seconds()
    with ManagedClient.open(place, COLLECTION, create=CollectionSettings("cosine", dimension)) as client:
        for start in range(0, number, step):
            for first in range(start, start + step, _ADDED_AT_ONCE):
                some = [Word(at) for at in range(first, min(first + _ADDED_AT_ONCE, start + step))]
                made = records(some, dimension)
                client.collection.add(ids=made.ids, embeddings=made.vectors, documents=made.documents)
            now = _processor_seconds()
            found.append({"records": start + step, "microseconds": round((now - before) / step * 1e6)})
            before = now
    return found


def _processor_seconds() -> float:
    """Return what this process and those that it waited for have used of the processors; the proxy's share is in it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _prepared(number: int, dimension: int, room: Path) -> Load:
    """Write the records as a data set, as deltas of one image each, and as one file."""
    load = new_load(number, dimension, room, shards=SHARDS)
    parts = list(by_image([Word(at) for at in range(number)]))
    images = [(words[0].image, f"{words[0].image.removeprefix('IMAGE#')}.parquet") for words in parts]
    for words, (_, address) in zip(parts, images, strict=True):
        load.put(f"deltas/{address}", [words], dimension)
    load.put_data_set("data", dimension)
    for file in range(FILES):
        few = [Word((file * _FEW_OF_A_FILE + at) * WORDS_OF_AN_IMAGE) for at in range(_FEW_OF_A_FILE)]
        load.put(f"few/part-{file:03}.parquet", [few], dimension)
    put_records(load.room / "all.parquet", parts, dimension)
    return replace(load, images=images)


def _require_all(load: Load, name: str) -> None:
    """Refuse a way that has lost something."""
    store = open_store(load.store(name))
    in_one_piece = name.startswith("1-")
    names = [COLLECTION] if in_one_piece else [shard.name for shard in read_layout(store, COLLECTION).layout.shards]
    found = sum(read_published(store, each).manifest.details.counts.records for each in names)
    if found != load.records:
        raise RuntimeError(f"{name}: {found} of {load.records} records")
