"""``bulk reshard`` and ``bulk sweep``: another number of shards, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    MOST_DIMENSIONS,
    ChecksumsOption,
    CollectionOption,
    JsonOption,
    MappingOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    WorkspaceOption,
    choose_collection,
    parse_age,
)
from chroma_lifecycle.cli.output import Output, Table
from chroma_lifecycle.config import DEFAULT_TAIL_BUDGET, DEFAULT_WORKSPACE
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.processors import processor_count
from chroma_lifecycle.publishing.layout import Layout, read_in_force, read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.sizing.bulk import Estimate, estimate
from chroma_lifecycle.sizing.measured import measured
from chroma_lifecycle.sizing.prices import Prices
from chroma_lifecycle.slots import MOST_SHARDS
from chroma_lifecycle.wiring import open_mirror, open_store, writer
from chroma_lifecycle.words import duration, size

if TYPE_CHECKING:
    from chroma_lifecycle.bulk.leftovers import LeftBehind
    from chroma_lifecycle.bulk.local_reshard import Resharded

_NEXT = "next: say the number in the mapping's 'shards' too; `chroma-lifecycle bulk sweep` removes what was before"
_IN_ONE_PIECE = (
    "note: its history ends where its shards begin; `copy` or `restore` what is wanted of it before. Readers that are "
    "to go on open a ShardedReader, which reads it in one piece too"
)


def reshard(
    store: StoreOption,
    mapping: MappingOption,
    shards: Annotated[
        int | None, typer.Option("--shards", help="How many there are to be.", min=1, max=MOST_SHARDS)
    ] = None,
    collection: CollectionOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Tasks at once; by default one for each processor.", min=1, max=256)
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Give a reshard up that is under way; writers go on as before.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take; begin nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Cut a collection into shards, or into another number of them, while its changes come; run again, it goes on."""
    from chroma_lifecycle.bulk.here import Here  # imports pyarrow, which takes a while
    from chroma_lifecycle.bulk.local_reshard import run_reshard

    output, name = Output(as_json), choose_collection(collection, mapping)
    here = Here(store, workspace, mapping, DEFAULT_TAIL_BUDGET, checksums)
    if undo and (shards is not None or workers is not None or dry_run):
        raise BadInput("--undo gives up what is under way", hint="leave --shards, --workers and --dry-run out")
    if undo:
        _give_up(output, here, name)
        return
    if shards is None:
        raise BadInput("how many shards are there to be?", hint="say it with --shards, or --undo what is under way")
    at_once = workers or processor_count()
    before = read_in_force(open_store(store, checksums=checksums), name).layout
    if dry_run:
        records, dimension = _size(before, store)
        found = estimate(records, dimension, shards, len(before.shards), at_once, measured(), Prices())
        output.result(
            {
                "collection": name,
                "outcome": "dry-run",
                "from": len(before.shards),
                "shards": shards,
                "workers": at_once,
                "dimension": dimension,
                **asdict(found),
            },
            *_estimate_told(before, shards, at_once, found),
        )
        return
    if before.in_one_piece and shards > 1:
        output.tell(_IN_ONE_PIECE)
    done = run_reshard({"task": "reshard", "collection": name, "shards": shards}, here, at_once, output.counting)
    output.result(*_told(name, store, before, done), table=_table(done))
    if done.shards:
        output.tell(_NEXT)


def reembed(
    source: Annotated[
        str, typer.Argument(help="A directory of Parquet deltas with the new vectors, or s3://bucket/prefix.")
    ],
    store: StoreOption,
    mapping: MappingOption,
    dimension: Annotated[int, typer.Option("--dimension", help="Of the new vectors.", min=1, max=MOST_DIMENSIONS)],
    collection: CollectionOption = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Tasks at once; by default one for each processor.", min=1, max=256)
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give every record of a collection in shards a new vector, while its changes come; run again, it goes on."""
    from chroma_lifecycle.bulk.here import Here  # imports pyarrow, which takes a while
    from chroma_lifecycle.bulk.local_reshard import run_reshard

    output, name = Output(as_json), choose_collection(collection, mapping)
    here = Here(store, workspace, mapping, DEFAULT_TAIL_BUDGET, checksums)
    source = source if "://" in source else str(Path(source).absolute())
    try:
        before = read_layout(open_store(store, checksums=checksums), name).layout
    except BadInput as problem:
        problem.hint += "; what is not in shards gets new vectors by `chroma-lifecycle rebuild --vectors`"
        raise
    event = {"task": "reshard", "collection": name, "source": source, "dimension": dimension}
    done = run_reshard(event, here, workers or processor_count(), output.counting)
    value, told = _told(name, store, before, done)
    del value["from"]
    outcome = "reembedded" if done.shards else "already"
    if not done.shards:
        told = f"{name} has the vectors of {source} already: there is nothing to do"
    output.result(value | {"outcome": outcome, "source": source, "dimension": dimension}, told, table=_table(done))
    if done.shards:
        output.tell(
            f"next: announce only deltas of {dimension:,} dimensions; "
            "`chroma-lifecycle bulk sweep` removes the shards before"
        )


def _give_up(output: Output, here: Any, name: str) -> None:
    from chroma_lifecycle.bulk.reshard_tasks import forget
    from chroma_lifecycle.bulk.resharding import give_up

    layout, opened = give_up(open_store(here.store, checksums=here.checksums), name, writer())
    forget(here, name, layout.newest_generation)
    output.result(
        {
            "collection": name,
            "outcome": "given-up",
            "generation": layout.generation,
            "shards": [shard.name for shard in layout.shards],
            "opened": opened,
        },
        f"{name}: {_in_force(layout)}, and no other shards come; "
        + (
            f"{', '.join(opened)} was closed and is open again"
            if len(opened) == 1
            else f"{len(opened)} were closed and are open again"
        ),
    )


def _in_force(layout: Layout) -> str:
    if layout.in_one_piece:
        return "it is in one piece"
    return f"it is in {_pieces(layout)} of generation {layout.generation}"


def _size(layout: Layout, store: str) -> tuple[int, int]:
    details = [read_published(open_store(store), shard.name).manifest.details for shard in layout.shards]
    return sum(each.counts.records for each in details), details[0].dimension


def _estimate_told(before: Layout, shards: int, workers: int, found: Estimate) -> Iterator[str]:
    yield f"{before.collection}: from {_pieces(before)} to {shards}, {found.records:,} records"
    yield (
        f"  {shards:,} tasks of about {duration(1000 * found.shard_seconds)}, {size(found.memory_bytes)} of memory "
        f"and {size(found.disk_bytes)} of disk each, and the shards that they read"
    )
    yield f"  here, {workers} at once: about {duration(1000 * found.seconds)}; changes go on meanwhile"
    dollars = sum(cost.dollars for cost in found.costs)
    yield f"  by functions in AWS: about ${dollars:,.2f} once ({'; '.join(cost.of for cost in found.costs)})"
    yield from (f"  note: {note}" for note in found.notes)
    if before.in_one_piece:
        yield f"  {_IN_ONE_PIECE}"


def _told(name: str, store: str, before: Layout, done: Resharded) -> tuple[dict[str, Any], str]:
    value = {
        "collection": name,
        "outcome": "resharded" if done.shards else "already",
        "store": store,
        "generation": done.generation,
        "from": len(before.shards),
        "rounds": done.rounds,
        "closed_seconds": done.closed_seconds,
        "shards": [{key: each[key] for key in _OF_A_SHARD} for each in done.shards],
    }
    if not done.shards:
        return value, f"{name} is in {_pieces(before)}: there is nothing to do"
    records = sum(each["records"] for each in done.shards)
    return value, (
        f"{name}: {_shards(len(done.shards))} in force, generation {done.generation} ({records:,} records); "
        f"writers waited {duration(1000 * done.closed_seconds)}"
    )


def _pieces(layout: Layout) -> str:
    return "one piece" if layout.in_one_piece else _shards(len(layout.shards))


def _shards(count: int) -> str:
    return f"{count} shard{'s' if count > 1 else ''}"


_OF_A_SHARD = ("name", "lineage", "version", "records", "size_bytes")


def _table(done: Resharded) -> Table | None:
    rows = [(each["name"], each["version"], each["records"], size(each["size_bytes"])) for each in done.shards]
    return Table(("lineage of", "version", "records", "size"), rows) if rows else None


def _many(left: Sequence[LeftBehind]) -> str:
    count = len(left)
    total = sum(each.size_bytes for each in left)
    return f"{count} lineage{'s' if count != 1 else ''}, {size(total)}"


def sweep(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    grace: Annotated[
        str, typer.Option("--grace", help="How old the layout must be: nobody reads the shards before it then.")
    ] = "24h",
    delete: Annotated[bool, typer.Option("--delete", help="Remove them; by default they are only listed.")] = False,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what reshards left behind: what was before the layout in force, and the shards that were given up."""
    from chroma_lifecycle.bulk.leftovers import (
        erase_left_behind,
        left_behind,
        removable_from,
        remove_left_behind,
        require_removable,
    )

    output, name, age = Output(as_json), choose_collection(collection, mapping), parse_age(grace)
    source, second = open_store(store, checksums=checksums), open_mirror(mirror, store)
    layout = read_in_force(source, name).layout
    mirrored = left_behind(second, layout) if second else []
    found = remove_left_behind(source, name, age) if delete else left_behind(source, layout)
    if delete and second is not None:
        # After the store's, which says whether they can go.
        require_removable(source, layout, age, mirrored)
        erase_left_behind(second, layout, mirrored)
    moment = removable_from(layout, age)
    done = "removed" if delete else f"left behind; --delete removes them, from {moment:%Y-%m-%d %H:%M:%S} UTC on"
    output.result(
        {
            "collection": name,
            "store": store,
            "deleted": delete,
            "removable_from": moment,
            "shards": [asdict(each) for each in found],
            "mirror": [asdict(each) for each in mirrored] if second else None,
        },
        f"{name}: {_many(found)}, {done}" if found else f"{name}: no shard is left behind",
        *([f"in the mirror {second.address}: {_many(mirrored)}"] if second else []),
        table=Table(("lineage of", "files", "size"), [(each.name, each.files, size(each.size_bytes)) for each in found])
        if found
        else None,
    )
