"""``mapping new`` and ``mapping check``: a first mapping from a sample; what a mapping owns and would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.cli.compaction import naming, read_events, read_texts
from chroma_lifecycle.cli.new_files import write_whole
from chroma_lifecycle.cli.options import JsonOption, require_name
from chroma_lifecycle.cli.output import EXIT_PARTLY, Output
from chroma_lifecycle.errors import BadInput, LifecycleError
from chroma_lifecycle.intake.envelopes import Received, decode_event
from chroma_lifecycle.intake.explain import explain_events, explain_mapping
from chroma_lifecycle.intake.explain_text import events_text, mapping_text
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping, parse_mapping
from chroma_lifecycle.intake.sample import read_sample
from chroma_lifecycle.intake.shapes import guess_keys
from chroma_lifecycle.intake.sketch import sketch_mapping
from chroma_lifecycle.wiring import require_local

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Look at mappings."""


@app.command()
def new(
    samples: Annotated[
        list[str],
        typer.Argument(help="Files with items: from `aws dynamodb scan`, an export, JSON; - for standard input."),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A new file for the mapping; by default it is printed.", callback=require_local
        ),
    ] = None,
    keys: Annotated[
        list[str] | None, typer.Option("--key", help="A key attribute of the table, the partition key first.")
    ] = None,
    records: Annotated[
        str | None, typer.Option("--records", help="The kind of items that the records stand for, such as `word`.")
    ] = None,
    collection: Annotated[str | None, typer.Option("--name", help="Name of the collection.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a first mapping, with comments, from a sample of a table's items; a start for you to correct."""
    output = Output(as_json)
    if to is not None and to.exists():
        raise BadInput(f"{to} is there already", hint="name a new file, so that no mapping is lost")
    if collection is not None:
        require_name(collection, "--name")
    items = [item for name, text in read_texts(samples) for item in read_sample(text, name)]
    text = sketch_mapping(items, keys or guess_keys(items), records=records, collection=collection)
    table = parse_mapping(text, "mapping")
    if to is None:
        output.result({"mapping": text}, text.rstrip("\n"))
        return
    write_whole(to, text)
    rules, names = len(table.rules), ", ".join(table.collections)
    output.result(
        {"mapping": text, "output": str(to)},
        f"{to}: {rules} rules for {names}, from {len(items):,} items; read it, and correct what was guessed wrong",
        f"`chroma-lifecycle mapping check {to}` says what it owns",
    )


@app.command()
def check(
    mapping: Annotated[str, typer.Argument(help="A mapping file, or the name of a shipped mapping.")],
    events: Annotated[
        list[str] | None, typer.Argument(help="Events as Lambda receives them; - for standard input.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a mapping and say what it owns; with events, what each of their records would do."""
    output, table = Output(as_json), load_mapping(mapping)
    if not events:
        explained = explain_mapping(table)
        output.result(asdict(explained), mapping_text(explained).rstrip("\n"))
        return
    received = list(_received(events, table))
    readable = [each.record for each in received if not isinstance(each.record, LifecycleError)]
    told = explain_events(table, readable)
    unread = [(each.source, each.record) for each in received if isinstance(each.record, LifecycleError)]
    output.result(
        {
            "records": [asdict(each) for each in told],
            "unreadable": [{"source": source, "error": error.message, "hint": error.hint} for source, error in unread],
        },
        events_text(told).rstrip("\n"),
        *(f"{source}\n  cannot be read: {error}" for source, error in unread),
    )
    if unread or any(each.problem for each in told):
        raise typer.Exit(EXIT_PARTLY)


def _received(events: Sequence[str], mapping: TableMapping) -> Iterator[Received]:
    for name, event in read_events(events):
        with naming(name):
            yield from decode_event(event, mapping).received
