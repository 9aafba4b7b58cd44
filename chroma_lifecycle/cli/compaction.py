"""``compact``: events become versions."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.cli.options import (
    ChecksumsOption,
    DeltasOption,
    JsonOption,
    MappingOption,
    MirrorOption,
    StoreOption,
    TableOption,
    WorkspaceOption,
)
from chroma_lifecycle.cli.output import EXIT_PARTLY, Output, printable
from chroma_lifecycle.config import DEFAULT_WORKSPACE, Settings
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.envelopes import require_event
from chroma_lifecycle.intake.json_text import parse_json
from chroma_lifecycle.report import Report
from chroma_lifecycle.wiring import compactor
from chroma_lifecycle.words import moved

_FAILURES_SHOWN = 20


def compact(
    store: StoreOption,
    mapping: MappingOption,
    events: Annotated[
        list[str], typer.Argument(help="Files with events as Lambda receives them; - for standard input.")
    ],
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    deltas: DeltasOption = None,
    table: TableOption = None,
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
                    with naming(name):
                        require_event(event)
                    report = machine.compact(event, dry_run=dry_run)
                reports.append((name, report))
                output.tell(*_lines(name, report, dry_run=dry_run))
    finally:
        if as_json:  # also when a later file failed: what was published before is told
            output.result([{"event": name, **report.as_json()} for name, report in reports])
    if any(report.failed for _, report in reports):
        raise typer.Exit(EXIT_PARTLY)


@contextmanager
def naming(event: str) -> Iterator[None]:
    """Say in which file the event is that is refused."""
    try:
        yield
    except BadInput as problem:
        raise BadInput(f"{event}: {problem.message}", hint=problem.hint) from problem


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
        change = moved(each.records)
        if dry_run:
            yield f"  {each.collection}: would go on from version {each.version}: records {change}"
        elif each.published:
            yield f"  {each.collection}: version {each.version} published: records {change}"
        else:
            yield f"  {each.collection}: no fact moved; version {each.version} stays"
        if each.published and each.mirror:
            yield f"  {each.collection}: mirror {each.mirror}"
        if each.rebase != "none":
            yield f"  {each.collection}: {each.rebase}"
    for failure in report.failures[:_FAILURES_SHOWN]:
        where = f" in {failure.collection}" if failure.collection else ""
        whose = f" ({printable(failure.subject)})" if failure.subject else ""
        yield f"  failed: {failure.source}{where}{whose}: {failure.error.message}"
        yield f"    hint: {failure.error.hint}"
    if (more := len(report.failures) - _FAILURES_SHOWN) > 0:
        yield f"  ... and {more:,} more failures; --json names all of them"


COMMANDS = (compact,)
