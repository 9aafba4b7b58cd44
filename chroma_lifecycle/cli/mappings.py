"""``mapping check``: what a mapping owns, and what an event would do under it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from chroma_lifecycle.cli.compaction import read_events
from chroma_lifecycle.cli.options import JsonOption
from chroma_lifecycle.cli.output import EXIT_PARTLY, Output
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.intake.envelopes import decode_event
from chroma_lifecycle.intake.explain import explain_events, explain_mapping
from chroma_lifecycle.intake.explain_text import events_text, mapping_text
from chroma_lifecycle.intake.mapping_file import load_mapping

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Look at mappings."""


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
    received = [each for _, event in read_events(events) for each in decode_event(event, table).received]
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
