"""``init`` and ``compact``: a collection begins, and events become versions of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.cli.options import (
    ChecksumsOption,
    CollectionOption,
    DeltasOption,
    JsonOption,
    MappingOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    WorkspaceOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import EXIT_PARTLY, Output
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import DEFAULT_TAIL_BUDGET, DEFAULT_WORKSPACE, PREFIX, Settings
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import parse_json
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.report import Report
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import compactor, create_store, writer

_FAILURES_SHOWN = 20


class SpaceName(StrEnum):
    """How distances are measured."""

    COSINE = "cosine"
    L2 = "l2"
    IP = "ip"


def init(
    store: StoreOption,
    dimension: Annotated[int | None, typer.Option("--dimension", help="Of the collection's vectors.", min=1)] = None,
    space: Annotated[SpaceName, typer.Option("--space", help="How distances are measured.")] = SpaceName.COSINE,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Adopt the collection of this name from a Chroma directory that nobody has open."),
    ] = None,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin a collection: publish its version 1, empty or adopted. Dimension and space stay for ever."""
    from chroma_lifecycle.chroma.client import CollectionSettings  # imports chromadb, which takes seconds
    from chroma_lifecycle.lifecycle import Beginning, adopt, begin

    if (dimension is None) == (source is None):
        raise BadInput(
            "a collection begins empty or adopted",
            hint="give --dimension N for an empty one, or --from DIRECTORY, which has dimension and space already",
        )
    output, name = Output(as_json), choose_collection(collection, mapping)
    table = load_mapping(mapping) if mapping else None
    target = create_store(store, checksums=checksums)
    with output.doing(f"publishing version 1 of {name}"), Workspace.open(workspace / name) as local:
        beginning = Beginning(name, table.digest if table else None, target, local, SYSTEM_CLOCK, writer())
        if source is None:
            assert dimension is not None
            published = begin(beginning, CollectionSettings(space.value, dimension))
        else:
            fits = partial(table.fits, name) if table and name in table.collections else bool
            published = adopt(beginning, source, fits, tail_budget=DEFAULT_TAIL_BUDGET)
    details = published.manifest.details
    output.result(
        {
            "collection": name,
            "version": 1,
            "lineage": published.head.lineage,
            "store": target.address,
            "records": details.counts.records,
            "dimension": details.dimension,
            "space": details.space,
        },
        f"{name}: version 1 in {target.address} "
        f"({details.counts.records:,} records, {details.dimension} dimensions, {details.space})",
    )


def compact(
    store: StoreOption,
    mapping: MappingOption,
    events: Annotated[
        list[str], typer.Argument(help="Files with events as Lambda receives them; - for standard input.")
    ],
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    deltas: DeltasOption = None,
    table: Annotated[
        str | None,
        typer.Option("--table", envvar=f"{PREFIX}TABLE", help="The DynamoDB table whose run items get their status."),
    ] = None,
    checksums: ChecksumsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and plan only; publish nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the changes of events into published versions, one batch for each file."""
    output = Output(as_json)
    settings = Settings.read(
        store=store,
        mapping=mapping,
        mirror=mirror,
        workspace=str(workspace),
        deltas=deltas,
        table=table,
        s3_checksums=checksums,
    )
    batches = list(read_events(events))  # all of them first: nothing is published beside a misspelt name
    reports: list[tuple[str, Report]] = []
    try:
        with compactor(settings) as machine:
            for number, (name, event) in enumerate(batches, 1):
                with output.doing(f"compacting {name} ({number} of {len(batches)})"):
                    report = machine.compact(event, dry_run=dry_run)
                reports.append((name, report))
                output.tell(*_lines(name, report, dry_run=dry_run))
    finally:
        if as_json:  # also when a later file failed: what was published before is told
            output.result([{"event": name, **report.as_json()} for name, report in reports])
    if any(report.failed for _, report in reports):
        raise typer.Exit(EXIT_PARTLY)


def read_events(names: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Yield the events in the files *names*; ``-`` is standard input.

    Raises:
        BadInput: A file cannot be read, or is not JSON.
    """
    for name, text in read_texts(names):
        try:
            yield name, parse_json(text)
        except ValueError as problem:
            raise BadInput(
                f"{name} is no event: {problem}",
                hint="give the event as Lambda receives it; see the examples in events/",
            ) from problem


def read_texts(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the texts of the files *names*, each with what to call it; ``-`` is standard input.

    Raises:
        BadInput: A file cannot be read, or is not UTF-8.
    """
    for given in names:
        name = "standard input" if given == "-" else given
        try:
            yield name, sys.stdin.read() if given == "-" else Path(given).read_text("utf-8")
        except OSError as problem:
            raise BadInput(
                f"{name} cannot be read: {problem.strerror}", hint="name files that are there, or - for standard input"
            ) from problem
        except UnicodeDecodeError as problem:
            raise BadInput(f"{name} is not UTF-8 text", hint="store the file as UTF-8") from problem


def _lines(name: str, report: Report, *, dry_run: bool) -> Iterator[str]:
    yield (
        f"{name}: {report.received:,} received, {report.applied:,} applied, {report.no_op:,} no-op, "
        f"{report.ignored:,} ignored, {report.failed:,} failed"
    )
    for each in report.collections:
        count = each.records
        change = f"{count['added']:,} added, {count['changed']:,} changed, {count['removed']:,} removed"
        if dry_run:
            yield f"  {each.collection}: would go on from version {each.version}: records {change}"
        elif each.published:
            yield f"  {each.collection}: version {each.version} published: records {change}"
        else:
            yield f"  {each.collection}: no fact moved; version {each.version} stays"
        if each.published and each.mirror != "none":
            yield f"  {each.collection}: mirror {each.mirror}"
        if each.rebase != "none":
            yield f"  {each.collection}: {each.rebase}"
    for failure in report.failures[:_FAILURES_SHOWN]:
        where = f" in {failure.collection}" if failure.collection else ""
        yield f"  failed: {failure.source}{where}: {failure.error.message}"
        yield f"    hint: {failure.error.hint}"
    if (more := len(report.failures) - _FAILURES_SHOWN) > 0:
        yield f"  ... and {more:,} more failures; --json names all of them"


COMMANDS = (init, compact)
