"""``init`` and ``compact``: a collection begins, and events become versions of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.cli.options import (
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
from chroma_lifecycle.config import DEFAULT_WORKSPACE, Settings
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.report import Report
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import compactor, create_store, writer


class SpaceName(StrEnum):
    """How distances are measured."""

    COSINE = "cosine"
    L2 = "l2"
    IP = "ip"


def init(
    store: StoreOption,
    dimension: Annotated[int, typer.Option("--dimension", help="Of the collection's vectors.", min=1)],
    space: Annotated[SpaceName, typer.Option("--space", help="How distances are measured.")] = SpaceName.COSINE,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Begin a collection: publish its empty version 1. Dimension and space stay for ever."""
    from chroma_lifecycle.chroma.client import CollectionSettings  # imports chromadb, which takes seconds
    from chroma_lifecycle.lifecycle import begin

    output, name = Output(as_json), choose_collection(collection, mapping)
    digest = load_mapping(mapping).digest if mapping else None
    target = create_store(store)
    with output.doing(f"publishing version 1 of {name}"), Workspace.open(workspace / name) as local:
        published = begin(
            name,
            settings=CollectionSettings(space.value, dimension),
            mapping=digest,
            store=target,
            workspace=local,
            clock=SYSTEM_CLOCK,
            writer=writer(),
        )
    output.result(
        {"collection": name, "version": 1, "lineage": published.head.lineage, "store": target.address},
        f"{name}: version 1 in {target.address} ({dimension} dimensions, {space.value})",
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and plan only; publish nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the changes of events into published versions, one batch for each file."""
    output = Output(as_json)
    settings = Settings(
        store=store,
        mapping=mapping,
        mirror=mirror,
        workspace=workspace,
        deltas=tuple(root.strip() for root in deltas.split(",")) if deltas else (),
    )
    reports = []
    with compactor(settings) as machine:
        for name, event in read_events(events):
            with output.doing(f"compacting {name}"):
                reports.append((name, machine.compact(event, dry_run=dry_run)))
    output.result(
        [{"event": name, **report.as_json()} for name, report in reports],
        *(line for name, report in reports for line in _lines(name, report, dry_run=dry_run)),
    )
    if any(report.failed for _, report in reports):
        raise typer.Exit(EXIT_PARTLY)


def read_events(names: Sequence[str]) -> Iterator[tuple[str, object]]:
    """Yield the events in the files *names*.

    Raises:
        BadInput: A file cannot be read, or is not JSON.
    """
    for name in names:
        try:
            text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise BadInput(
                f"the event {name} cannot be read: {problem}", hint="name a file with one event"
            ) from problem
        try:
            yield name, json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise BadInput(
                f"the event {name} is not JSON: {problem}", hint="give the event as Lambda receives it; see events/"
            ) from problem


def _lines(name: str, report: Report, *, dry_run: bool) -> Iterator[str]:
    yield (
        f"{name}: {report.received} received, {report.applied} applied, {report.no_op} no-op, "
        f"{report.ignored} ignored, {report.failed} failed"
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
    for failure in report.failures:
        yield f"  failed: {failure.source}{f' in {failure.collection}' if failure.collection else ''}: {failure.error}"


COMMANDS = (init, compact)
