"""``plan``: what a collection of some size would take, before anything is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from chroma_lifecycle.cli.options import JsonOption
from chroma_lifecycle.cli.output import Output, Table
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import parse_json
from chroma_lifecycle.sizing.answer import Sizing, size_up
from chroma_lifecycle.sizing.demand import MEBIBYTE, Demand
from chroma_lifecycle.sizing.measured import Measured, measured
from chroma_lifecycle.sizing.prices import Prices
from chroma_lifecycle.words import duration, number, share, size

_USUAL = Demand(vectors=1, dimension=1)
"""For what is left out."""


def plan(
    vectors: Annotated[int, typer.Option("--vectors", help="Records.")],
    dimension: Annotated[int, typer.Option("--dimension", help="Of their vectors.")],
    changes: Annotated[
        float, typer.Option("--changes-per-second", help="Changed labels and fields, on the average of a month.")
    ] = _USUAL.changes_per_second,
    new_vectors: Annotated[
        float, typer.Option("--vectors-per-second", help="New or replaced vectors, likewise.")
    ] = _USUAL.vectors_per_second,
    readers: Annotated[int, typer.Option("--readers", help="Processes that query.")] = _USUAL.readers,
    window: Annotated[
        float, typer.Option("--window", help="Seconds for which changes are gathered.")
    ] = _USUAL.window_seconds,
    refresh: Annotated[
        float, typer.Option("--refresh", help="Seconds after which a reader asks again.")
    ] = _USUAL.refresh_seconds,
    record_bytes: Annotated[
        float | None,
        typer.Option("--record-bytes", help="Document, metadata and indexes of a record; by default those measured."),
    ] = None,
    memory: Annotated[int, typer.Option("--memory", help="The most memory of a function, in MB.")] = 10_240,
    disk: Annotated[int, typer.Option("--disk", help="The most disk of a function, in MB.")] = 10_240,
    days: Annotated[float, typer.Option("--days", help="For how long replaced versions are kept.")] = _USUAL.days_kept,
    mirror: Annotated[bool, typer.Option("--with-mirror", help="Count a mirror on EFS.")] = False,
    prices: Annotated[
        Path | None,
        typer.Option(
            "--prices", metavar="FILE", help="A JSON file with your prices in dollars, by the names of --json."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many shards, how much memory, disk, time and money a collection would take."""
    output, constants = Output(as_json), measured()
    demand = Demand(
        vectors,
        dimension,
        changes,
        new_vectors,
        readers,
        window,
        refresh,
        record_bytes,
        memory * MEBIBYTE,
        disk * MEBIBYTE,
        days,
        mirror,
    )
    charged = Prices.of(_read_prices(prices) if prices else {})
    found = size_up(demand, constants, charged)
    rows = [(cost.component, f"{cost.dollars:,.2f}", cost.of) for cost in found.costs]
    rows.append(("sum", f"{found.dollars:,.2f}", ""))
    output.result(
        _value(found, demand, constants, charged),
        *_told(found),
        "",
        table=Table(("component", "$ a month", "of"), rows),
    )
    output.tell("", *(f"note: {note}" for note in found.notes), f"measured on {constants.machine}")


def _read_prices(path: Path) -> dict[str, Any]:
    try:
        given = parse_json(path.read_text("utf-8"))
    except OSError as problem:
        raise BadInput(
            f"{path} cannot be read: {problem.strerror}", hint="name a file with your prices after --prices"
        ) from problem
    except ValueError as problem:
        raise BadInput(f"{path} is refused: {problem}", hint='write it as {"write": 0.000005}') from problem
    if not isinstance(given, dict):
        raise BadInput(f"{path} holds no JSON object", hint='write it as {"write": 0.000005}')
    return given


def _told(found: Sizing) -> Iterator[str]:
    one = found.shard
    why = f"; {found.decided_by} decides" if found.shards > 1 else ""
    yield f"{found.shards:,} shard{'s' if found.shards > 1 else ''} of {number(one.records)} records{why}"
    yield f"  snapshot   {size(one.snapshot_bytes)}, cold from S3 in {duration(1000 * one.cold_seconds)}"
    yield f"  disk       {size(one.disk_bytes)} in a cycle"
    yield f"  memory     {size(one.memory_bytes)} at its peak"
    yield f"  cycle      {duration(1000 * one.cycle_seconds)}, {size(one.published_bytes)} published"
    yield f"  busy       {share(one.busy_share, 1)} of the time, new bases included"


def _value(found: Sizing, demand: Demand, constants: Measured, prices: Prices) -> dict[str, Any]:
    return {
        "shards": found.shards,
        "decided_by": found.decided_by,
        "shard": asdict(found.shard),
        "costs": [asdict(cost) for cost in found.costs],
        "dollars_per_month": found.dollars,
        "notes": list(found.notes),
        "demand": asdict(demand),
        "measured": asdict(constants),
        "prices": asdict(prices),
    }


COMMANDS = (plan,)
