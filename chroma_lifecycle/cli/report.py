"""``report``: a collection's history, growth and health as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chroma_lifecycle.cli.new_files import write_whole
from chroma_lifecycle.cli.options import (
    MOST_LISTED,
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output
from chroma_lifecycle.cli.shards import each_shard, into_files_of_their_own
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.page.health import State, checks
from chroma_lifecycle.page.history import read_history
from chroma_lifecycle.page.html import page
from chroma_lifecycle.wiring import open_mirror, open_store, require_local


@each_shard(into_files_of_their_own("to"))
def report(
    store: StoreOption,
    to: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The HTML file to write; an older one is replaced.", callback=require_local
        ),
    ],
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="How many versions, the newest ones.", min=1, max=MOST_LISTED)
    ] = 1_000,
    as_json: JsonOption = False,
) -> None:
    """Draw a collection's history, growth and health into one HTML file, which needs no network."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    if to.is_dir():
        raise BadInput(f"{to} is a directory", hint="name a file, such as report.html")
    with output.counting(f"reading versions of {name}") as tell:
        history = read_history(open_store(store), name, mirror=open_mirror(mirror, store), most=limit, tell=tell)
    write_whole(to, page(history))
    found = checks(history)
    output.result(
        {
            "collection": name,
            "output": str(to),
            "version": history.head.version.number,
            "versions": len(history.rows),
            "checks": [{"state": each.state, "text": each.text, "way_out": each.way_out} for each in found],
        },
        f"{name}: {len(history.rows):,} versions drawn in {to}",
        *(f"  {each.text} {each.way_out}".rstrip() for each in found if each.state is not State.GOOD),
    )


COMMANDS = (report,)
