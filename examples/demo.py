"""The main job on real input, with an embedded store: ``make demo``.

Two thousand Debian packages stand in a table; an embedding job has made their vectors. What follows
is what the function does with the events of that table. Every line that is printed was read back
from the store, and every step is checked: take one out and the demo fails.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.chroma.records import Record, get_records, query_records
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.config import Settings
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin, verify
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of, find_manifest
from chroma_lifecycle.report import Report
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import compactor, create_store, open_mirror, writer
from examples.debian import story

HOME = Path(".work/demo").absolute()
QUESTION = "a program to draw vector graphics"

console = Console(highlight=False, width=112)


class NotSoError(Exception):
    """A fact that the demo tells does not hold."""


class Demo:
    """The table, the store, and what a reader sees of it."""

    def __init__(self, store: str) -> None:
        self.archive = story.Archive()
        self.packages = {each.package: each for each in story.packages()}
        self.settings = Settings(
            store=store,
            mapping=str(story.MAPPING),
            mirror=str(HOME / "mirror"),
            workspace=HOME / "workspace",
            deltas=(str(HOME / "deltas"),),
        )
        self.store = create_store(store)
        self.mirror = open_mirror(self.settings.mirror, self.settings.store)
        self._began = time.perf_counter()

    def title(self, text: str) -> None:
        console.print(f"\n[bold]{text}[/] [dim]({time.perf_counter() - self._began:.1f} s)[/]")

    def check(self, holds: bool, fact: str) -> None:
        """Print a fact that was read back, or end the demo."""
        if not holds:
            raise NotSoError(fact)
        console.print(f"  [green]✓[/] {fact}")

    def deliver(self, machine: Compactor, bodies: Iterable[Any]) -> Report:
        """Compact a batch, as a queue that EventBridge Pipes fills would bring it."""
        report = machine.compact(story.through_queue(bodies))
        counts = {"applied": report.applied, "no-op": report.no_op, "ignored": report.ignored, "failed": report.failed}
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        console.print(f"  {report.received:,} messages: {told}; newest version: {self.version()}")
        return report

    def version(self) -> int:
        """Return the newest version."""
        return read_published(self.store, story.COLLECTION).manifest.version.number

    def records(self, *names: str) -> dict[str, Record]:
        """Return the records of packages that exist, by package."""
        with self._opened(None) as client:
            found = get_records(client, [story.record_id(name) for name in names])
        return {record.id.rpartition("#")[2]: record for record in found}

    def nearest(self, *, version: int | None = None, where: dict[str, object] | None = None) -> list[Record]:
        """Return the records nearest to the question, in a version."""
        with self._opened(version) as client:
            return list(query_records(client, story.queries()[QUESTION].tolist(), limit=5, where=where))

    @contextmanager
    def _opened(self, version: int | None) -> Iterator[ManagedClient]:
        manifest = find_manifest(self.store, read_published(self.store, story.COLLECTION), version)
        with (
            files_of(manifest, Stores(self.store, self.mirror)) as files,
            ManagedClient.open(files / "chroma", story.COLLECTION) as client,
        ):
            yield client


def begin_collection(demo: Demo) -> None:
    """Publish the empty version 1."""
    demo.title(f"A collection begins: {story.DIMENSION} dimensions, cosine")
    with Workspace.open(demo.settings.workspace / story.COLLECTION) as workspace:
        digest = load_mapping(str(story.MAPPING)).digest
        beginning = Beginning(story.COLLECTION, digest, demo.store, workspace, SYSTEM_CLOCK, writer())
        begin(beginning, CollectionSettings("cosine", story.DIMENSION))
    demo.check(demo.version() == 1, f"version 1 is in {demo.store.address}")


def merge_delta(demo: Demo, machine: Compactor) -> None:
    """An embedding job hands in its vectors: a delta, and an item that announces it."""
    demo.title("A run item says PENDING: its delta becomes records")
    story.write_delta(HOME / "deltas" / "run-1.parquet", demo.packages.values())
    demo.deliver(machine, [demo.archive.begin_run("run-1", "run-1.parquet")])
    print_hits(QUESTION, demo.nearest())
    demo.check(any("inkscape" in hit.id for hit in demo.nearest()), "a question in words finds inkscape")


def change_metadata(demo: Demo, machine: Compactor) -> None:
    """Items of packages and their tags become metadata."""
    demo.title("Items change: section, maintainer and tags become metadata of the records")
    records = [demo.archive.list_package(package) for package in demo.packages.values()]
    records += [demo.archive.review_tag(p.package, tag) for p in demo.packages.values() for tag in p.tags[:3]]
    demo.deliver(machine, records)
    inkscape = demo.records("inkscape")["inkscape"].metadata
    shown = {key: inkscape[key] for key in sorted(inkscape) if key in ("section", "maintainer") or "tag_" in key}
    demo.check(
        inkscape["section"] == demo.packages["inkscape"].section
        and all(inkscape[f"tag_{tag}"] is True for tag in demo.packages["inkscape"].tags[:3]),
        f"inkscape now has {shown}",
    )
    games = demo.nearest(where={"section": "games"})
    demo.check(
        bool(games) and all(hit.metadata["section"] == "games" for hit in games),
        f"the same question among games finds {', '.join(name(hit) for hit in games[:3])}",
    )


def remove_records(demo: Demo, machine: Compactor) -> None:
    """An item is removed, and a tag of another one."""
    demo.title("inkscape is removed from the table, and a tag of gimp")
    tag = demo.packages["gimp"].tags[0]
    before = dict(demo.records("gimp")["gimp"].metadata)
    demo.deliver(machine, [demo.archive.remove_package("inkscape"), demo.archive.drop_tag("gimp", tag)])
    left = demo.records("inkscape", "gimp")
    demo.check("inkscape" not in left, "its record is gone")
    del before[f"tag_{tag}"]
    demo.check(before == left["gimp"].metadata, f"gimp has lost the key tag_{tag}, and only that")


def repeat_and_disorder(demo: Demo, machine: Compactor) -> None:
    """A duplicate and a straggler arrive."""
    demo.title("What was sent before comes again, and what is older comes last")
    older = demo.archive.list_package(demo.packages["gimp"], section="oldlibs")
    newer = demo.archive.list_package(demo.packages["gimp"], section="graphics")
    demo.deliver(machine, [newer])
    before = demo.version()
    report = demo.deliver(machine, [newer, older])
    demo.check((report.no_op, demo.version()) == (2, before), "duplicate and straggler moved nothing")
    demo.check(demo.records("gimp")["gimp"].metadata["section"] == "graphics", "gimp is still in section graphics")


def poison_fails_alone(demo: Demo, machine: Compactor) -> None:
    """One message cannot be read, another names a delta that is not there."""
    demo.title("A poison message, and a run without its delta, among good ones")
    report = demo.deliver(
        machine,
        [
            demo.archive.list_package(demo.packages["blender"], section="movies"),
            story.poison(),
            demo.archive.begin_run("run-2", "run-2.parquet"),
        ],
    )
    for failure in report.failures:
        console.print(f"  [yellow]failed:[/] {failure.source[:8]}…: {failure.error.message}", markup=True)
    demo.check((report.applied, report.failed) == (1, 2), "two messages failed; they go back to the queue by name")
    demo.check(demo.records("blender")["blender"].metadata["section"] == "movies", "the good one is published")


def look_back(demo: Demo) -> None:
    """History, one query before and after, and the proof."""
    demo.title("The history, and the same question before and after")
    published = read_published(demo.store, story.COLLECTION)
    for _, manifest in walk(demo.store, published.head):
        summary, pack = manifest.details.summary, manifest.chain.packs[-1:]
        stored = pack[0].stored_bytes if pack else sum(part.stored_bytes for part in manifest.chain.base.parts)
        console.print(
            f"  version {manifest.version.number}: {summary.action:8} +{summary.added:,} ~{summary.changed:,} "
            f"-{summary.removed:,} of {manifest.details.counts.records:,} records; "
            f"{stored / 1000:,.0f} kB stored for {manifest.size / 1e6:,.1f} MB"
        )
    then, now = [name(hit) for hit in demo.nearest(version=2)], [name(hit) for hit in demo.nearest()]
    console.print(f"  version 2: {', '.join(then)}\n  newest:    {', '.join(now)}")
    demo.check("inkscape" in then and "inkscape" not in now, "an old version still answers as it did")
    found = verify(story.COLLECTION, Stores(demo.store), every_version=True, deep=True)
    demo.check(
        not found.stored.damage and found.records == len(demo.packages) - 1,
        f"verified: {found.stored.objects} objects of {found.stored.versions} versions, {found.records:,} records; "
        f"{found.probes[0].found} of {found.probes[0].asked} found themselves",
    )
    assert demo.mirror is not None
    mirrored = read_published(demo.mirror, story.COLLECTION)
    demo.check(mirrored.manifest == published.manifest, f"the mirror holds version {mirrored.manifest.version.number}")


def name(hit: Record) -> str:
    """Return the package of a record."""
    return hit.id.rpartition("#")[2]


def print_hits(question: str, hits: list[Record]) -> None:
    """Print what a question found."""
    console.print(f"  “{question}”")
    for hit in hits:
        console.print(f"    {hit.distance:.3f}  {name(hit):12}  {(hit.document or '').partition(chr(10))[0]}")


def main() -> None:
    """Run the demo on the store that STORE names, by default a directory made anew."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    shutil.rmtree(HOME, ignore_errors=True)
    (HOME / "mirror").mkdir(parents=True)
    try:
        demo = Demo(os.environ.get("STORE") or str(HOME / "store"))
        begin_collection(demo)
        with compactor(demo.settings) as machine:
            merge_delta(demo, machine)
            change_metadata(demo, machine)
            remove_records(demo, machine)
            repeat_and_disorder(demo, machine)
            poison_fails_alone(demo, machine)
        look_back(demo)
    except (NotSoError, LifecycleError) as problem:
        console.print(f"  [red]✗[/] {problem}")
        sys.exit(1)
    if not os.environ.get("STORE"):
        console.print(
            f"\nLook around: [bold].venv/bin/chroma-lifecycle log -c {story.COLLECTION} --store .work/demo/store[/]"
        )


if __name__ == "__main__":
    main()
