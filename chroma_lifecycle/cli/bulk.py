"""``bulk build``: a collection made from a data set of any size, by tasks side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    MOST_DIMENSIONS,
    ChecksumsOption,
    CollectionOption,
    JsonOption,
    OptionalMappingOption,
    SpaceName,
    StoreOption,
    WorkspaceOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output, Table
from chroma_lifecycle.cli.resharding import reembed, reshard, sweep
from chroma_lifecycle.config import DEFAULT_TAIL_BUDGET, DEFAULT_WORKSPACE
from chroma_lifecycle.processors import processor_count
from chroma_lifecycle.sizing.bulk import Estimate, estimate
from chroma_lifecycle.sizing.measured import measured
from chroma_lifecycle.sizing.prices import Prices
from chroma_lifecycle.words import duration, size

if TYPE_CHECKING:
    from chroma_lifecycle.bulk.job import Input, Request

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command()(reshard)
app.command()(reembed)
app.command()(sweep)

_NEXT = "next: let the function take events; what it brings is newer than everything that was built"


@app.command()
def build(
    source: Annotated[str, typer.Argument(help="A directory of Parquet deltas, or s3://bucket/prefix.")],
    store: StoreOption,
    dimension: Annotated[
        int, typer.Option("--dimension", help="Of the collection's vectors.", min=1, max=MOST_DIMENSIONS)
    ],
    space: Annotated[SpaceName, typer.Option("--space", help="How distances are measured.")] = SpaceName.COSINE,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Tasks at once; by default one for each processor.", min=1, max=256)
    ] = None,
    work: Annotated[
        str | None,
        typer.Option("--work", help="Where tasks meet: a directory or s3://bucket/prefix; by default the workspace."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, from the sizes of the files; begin nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build version 1 of a collection, and of its shards, from a data set; run again, it goes on."""
    from chroma_lifecycle.bulk.here import WORK, Here
    from chroma_lifecycle.bulk.local import run_job  # imports pyarrow, which takes a while
    from chroma_lifecycle.bulk.tasks import estimated_records, inputs_of, request_of

    output, name = Output(as_json), choose_collection(collection, mapping)
    here = Here(store, workspace, mapping, DEFAULT_TAIL_BUDGET, checksums)
    source = source if "://" in source else str(Path(source).absolute())
    meeting = work or str(workspace.absolute() / WORK)
    event = {
        "task": "plan",
        "collection": name,
        "source": source,
        "work": meeting,
        "dimension": dimension,
        "space": space.value,
    }
    at_once = workers or processor_count()
    if dry_run:
        request = request_of(event, here)
        inputs = inputs_of(request, here)
        with output.doing(f"reading the smallest file of {source}"):
            records = estimated_records(request, inputs, here)
        found = estimate(records, dimension, request.shards, len(inputs), at_once, measured(), Prices())
        output.result(
            _estimate_value(request, inputs, at_once, found), *_estimate_told(request, inputs, at_once, found)
        )
        return
    job, built = run_job(event, here, at_once, output.moving)
    if work is None:
        here.work(meeting, name).remove()
    total = sum(each["records"] for each in built)
    rows = [(each["name"], each["records"], size(each["size_bytes"]), _memory(each)) for each in built]
    output.result(
        {
            "collection": name,
            "store": store,
            "dry_run": False,
            "records": total,
            "dimension": dimension,
            "space": space.value,
            "inputs": len(job.inputs),
            "shards": [{key: each[key] for key in _OF_A_SHARD} for each in built],
        },
        f"{name}: version 1 in {store} ({total:,} records, {dimension:,} dimensions, {space.value})",
        *([] if job.request.segments else [_NEXT]),
        table=Table(("lineage of", "records", "size", "memory"), rows) if job.request.segments else None,
    )
    if job.request.segments:
        output.tell(_NEXT)


_OF_A_SHARD = ("name", "lineage", "records", "size_bytes", "peak_bytes", "already")


def _memory(built: dict[str, Any]) -> str:
    return "was there" if built["already"] else size(built["peak_bytes"])


def _estimate_value(request: Request, inputs: tuple[Input, ...], workers: int, found: Estimate) -> dict[str, Any]:
    return {
        "collection": request.collection,
        "dry_run": True,
        "inputs": len(inputs),
        "input_bytes": sum(each.size for each in inputs),
        "shards": request.shards,
        "workers": workers,
        "dimension": request.dimension,
        "space": request.space,
        **asdict(found),
    }


def _estimate_told(request: Request, inputs: tuple[Input, ...], workers: int, found: Estimate) -> Iterator[str]:
    whole = sum(each.size for each in inputs)
    yield f"{request.collection}: {len(inputs):,} files, {size(whole)}, about {found.records:,} records"
    yield (
        f"  {request.shards:,} task{'s' if request.shards > 1 else ''} of about "
        f"{duration(1000 * found.shard_seconds)}, {size(found.memory_bytes)} of memory and "
        f"{size(found.disk_bytes)} of disk each"
    )
    yield f"  here, {workers} at once: about {duration(1000 * found.seconds)}"
    dollars = sum(cost.dollars for cost in found.costs)
    yield f"  by functions in AWS: about ${dollars:,.2f} once ({'; '.join(cost.of for cost in found.costs)})"
    yield from (f"  note: {note}" for note in found.notes)
