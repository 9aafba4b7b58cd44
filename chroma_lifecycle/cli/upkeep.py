"""``rebase``, ``rebuild``, ``erase``: what keeps a collection cheap to restore, small, and rid of what must go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    MOST_DIMENSIONS,
    ChecksumsOption,
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    SpaceName,
    StoreOption,
    WorkspaceOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import EXIT_PARTLY, EXIT_RETRYABLE, Output, printable
from chroma_lifecycle.cli.shards import Given, each_shard, nowhere_else, of_its_records, require_nowhere_else, same
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import DEFAULT_TAIL_BUDGET, DEFAULT_WORKSPACE, Checksums
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.layout import Layout, Vectors, read_in_force
from chroma_lifecycle.publishing.shard import Shard, whole_of
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import BUCKET, open_delta_at, open_mirror, open_store, require_place, writer
from chroma_lifecycle.words import size, version_range

if TYPE_CHECKING:
    from chroma_lifecycle.deltas.model import Delta
    from chroma_lifecycle.ports import Store
    from chroma_lifecycle.publishing.erasing import Remains
    from chroma_lifecycle.publishing.mirror import MirrorOutcome
    from chroma_lifecycle.publishing.published import Published
    from chroma_lifecycle.rebuild import Renewal
    from chroma_lifecycle.upkeep import Site


_SHOWN = 10


@each_shard()
def rebase(
    store: StoreOption,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the newest version a new base: the same content, with fewer objects to read. Checks every page."""
    from chroma_lifecycle.upkeep import rebase_now  # as all that follows: what only looks needs none of it

    output, name = Output(as_json), choose_collection(collection, mapping)
    with (
        open_site(name, store, mirror, workspace, checksums) as site,
        output.moving(f"giving {name} a new base") as progress,
    ):
        based = rebase_now(site, progress=progress)
    manifest = based.published.manifest
    number, base = manifest.version.number, manifest.chain.base
    output.result(
        {
            "collection": name,
            "version": number,
            "packs_before": based.packs,
            "base_bytes": base.stored_bytes,
            "stored_bytes": manifest.stored_bytes if based.packs else 0,
            "mirror": mirror_value(based.mirror),
        },
        f"{name} version {number} has a new base of {size(base.stored_bytes)} in place of {based.packs} packs; "
        f"{size(manifest.stored_bytes)} were new to the store"
        if based.packs
        else f"{name} version {number} has no packs: there is nothing to do",
        *mirror_told(based.mirror),
    )


def _without_vectors(given: Given, shard: Shard, layout: Layout) -> Given:
    """Refuse new vectors for one shard after the other: readers would see two dimensions."""
    if given["vectors"] is not None:
        raise _in_shards(layout.collection)
    return same(given, shard, layout)


def _in_shards(collection: str) -> BadInput:
    return BadInput(
        f"{collection} is in shards, and all of them get new vectors at once",
        hint="`chroma-lifecycle bulk reembed` does it, and puts them in force by one swap",
    )


@each_shard(_without_vectors)
def rebuild(
    store: StoreOption,
    space: Annotated[
        SpaceName | None, typer.Option("--space", help="Another way to measure distances; by default the same.")
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option("--vectors", help="Data set with a new vector for every record: Parquet deltas, or s3://…"),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option("--dimension", help="Of the new vectors.", min=1, max=MOST_DIMENSIONS)
    ] = None,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the collection anew from its own records: without what was deleted, with another space or new vectors."""
    from chroma_lifecycle.rebuild import rebuild as rebuild_collection  # imports chromadb, which takes seconds

    output, name = Output(as_json), choose_collection(collection, mapping)
    if (vectors is None) != (dimension is None):
        raise BadInput("--vectors and --dimension go together", hint="say both, or neither")
    renewal = _renewal(name, vectors, dimension, checksums) if vectors is not None and dimension is not None else None
    with (
        open_site(name, store, mirror, workspace, checksums) as site,
        output.watching(f"rebuilding {name}", site.store) as watched,
    ):
        rebuilt = rebuild_collection(
            replace(site, store=watched),
            space=space,
            action="rebuild" if renewal is None else "reembed",
            tail_budget=DEFAULT_TAIL_BUDGET,
            renewal=renewal,
        )
    manifest, before = rebuilt.published.manifest, rebuilt.before
    details = manifest.details
    made = details.space if renewal is None else f"{details.dimension:,} dimensions, {details.space}"
    output.result(
        {
            "collection": name,
            "version": manifest.version.number,
            "records": details.counts.records,
            "space": details.space,
            "dimension": details.dimension,
            "size_bytes": manifest.size,
            "size_bytes_before": rebuilt.bytes_before,
            "elements": details.counts.elements,
            "elements_before": before.counts.elements,
            "mirror": mirror_value(rebuilt.mirror),
        },
        f"{name} version {manifest.version.number} has the same {details.counts.records:,} records, made anew "
        f"({made}): {size(manifest.size)}, where it was {size(rebuilt.bytes_before)}",
        *mirror_told(rebuilt.mirror),
    )


def _renewal(name: str, source: str, dimension: int, checksums: Checksums | None) -> Renewal:
    """Return what gives records the vectors of a data set."""
    from chroma_lifecycle.bulk.vectors import read_vectors, reembedded  # imports pyarrow, which takes a while
    from chroma_lifecycle.rebuild import Renewal  # imports chromadb, which takes seconds

    if (whole := whole_of(name)) is not None:
        raise _in_shards(whole)
    require_place(source)
    wanted = Vectors(source if source.startswith(BUCKET) else str(Path(source).absolute()), dimension)
    address, deltas = open_delta_at(wanted.source.rstrip("/"), checksums=checksums)

    def renewed(records: Delta, space: str, scratch: Path) -> Delta:
        found = read_vectors(wanted, name, deltas, address, records.ids, space, scratch)
        return reembedded(records, found, dimension)

    return Renewal(dimension, renewed)


@each_shard(nowhere_else(of_its_records("ids")))
def erase(
    store: StoreOption,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of the records.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Do it; without this, say what would go.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Ids of which the newest version has no trace are no mistake.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether anything older than the newest era is left.")
    ] = False,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase records from everything that is stored: the newest version, every older one, the mirror."""
    from chroma_lifecycle.erase import check_erasable  # imports chromadb, which takes seconds
    from chroma_lifecycle.erase import erase as erase_records

    if bool(ids) == check:
        raise BadInput("erase takes ids of records, or --check", hint="give the ids; --check stands alone")
    output, name = Output(as_json), choose_collection(collection, mapping)
    if check:
        _check_erased(output, name, open_store(store, checksums=checksums), open_mirror(mirror, store))
        return
    given, source = tuple(dict.fromkeys(ids or ())), open_store(store, checksums=checksums)
    if (seen := read_in_force(source, name)).layout.in_one_piece:  # in shards, they are asked together
        require_nowhere_else(source, seen.layout)
    with open_site(name, store, mirror, workspace, checksums) as site:
        if not delete:
            newest = check_erasable(site, given, unknown=unknown)
            output.result(_erasable(newest, given), *_erasable_told(newest, given))
            return
        with output.watching(f"rebuilding {name} without {len(given)} record(s)", site.store) as watched:
            erased = erase_records(
                replace(site, store=watched), given, tail_budget=DEFAULT_TAIL_BUDGET, unknown=unknown
            )
    number = erased.published.manifest.version.number
    output.result(
        {
            "collection": name,
            "version": number,
            "floor": number,
            "records": erased.records,
            "removed": {address: _remains_value(each) for address, each in erased.removed.items()},
            "mirror": mirror_value(erased.mirror),
        },
        f"{name} version {number} holds nothing of {len(given)} record(s), of which {erased.records} were still there; "
        "no version before it lives",
        *(line for address, each in erased.removed.items() for line in _removed_told(address, each)),
        *mirror_told(erased.mirror),
        "when work in progress has ended (24 hours), see that nothing came back: `chroma-lifecycle erase --check`",
    )
    if not erased.done:
        raise typer.Exit(EXIT_RETRYABLE)


def _erasable(newest: Published, ids: Sequence[str]) -> dict[str, Any]:
    head = newest.head
    return {"collection": head.collection, "ids": list(ids), "floor": head.floor.number, "version": head.version.number}


def _erasable_told(newest: Published, ids: Sequence[str]) -> Iterator[str]:
    head = newest.head
    yield f"{head.collection}: a version would be published without {len(ids)} record(s), rebuilt and stored whole;"
    yield (
        f"{version_range(head.floor.number, head.version.number)} would end at once, and everything that was stored "
        "before would be removed, older versions of objects included"
    )
    yield "nothing was done; do it with --delete"


def _check_erased(output: Output, name: str, source: Store, second: Store | None) -> None:
    from chroma_lifecycle.publishing.erasing import left_over

    found = dict(left_over(source, name, second))
    condemned = [row for each in found.values() for row in each.condemned]
    output.result(
        {address: _remains_value(each) for address, each in found.items()},
        *(line for address, each in found.items() for line in _left_told(address, each)),
    )
    if condemned:
        raise typer.Exit(EXIT_PARTLY)


def _left_told(address: str, left: Remains) -> Iterator[str]:
    if left.condemned:
        yield f"{address}: {len(left.condemned)} files of older eras, of which nothing lives:"
        yield from (f"  {printable(row.name)}  {size(row.size)}" for row in left.condemned[:_SHOWN])
        yield "hint: a writer that slept brought them; `chroma-lifecycle sweep --delete` removes them, or erase again"
    else:
        yield f"{address}: nothing of an older era is left but what the newest versions need"
    yield from _foreign_told(left)


def _removed_told(address: str, removed: Remains) -> Iterator[str]:
    yield f"{address}: {len(removed.condemned)} files removed, {size(sum(row.size for row in removed.condemned))}"
    yield from _foreign_told(removed)


def _foreign_told(each: Remains) -> Iterator[str]:
    if each.foreign:
        yield f"  {len(each.foreign)} files are of another lineage or unknown, and may hold anything; see them by sweep"


def _remains_value(each: Remains) -> dict[str, Any]:
    return {pile: [row.name for row in getattr(each, pile)] for pile in ("condemned", "foreign")}


def mirror_value(mirror: MirrorOutcome | None) -> dict[str, str] | None:
    """Return what became of the mirror, if there is one, for programs."""
    return mirror.as_json() if mirror else None


def mirror_told(mirror: MirrorOutcome | None) -> Iterator[str]:
    """Yield the same for people."""
    if mirror is not None:
        yield f"mirror {mirror}"


@contextmanager
def open_site(
    name: str, store: str, mirror: str | None, workspace: Path, checksums: Checksums | None
) -> Iterator[Site]:
    """Own the workspace of a collection, for as long as the block lasts."""
    from chroma_lifecycle.upkeep import Site

    source, second = open_store(store, checksums=checksums), open_mirror(mirror, store)
    with Workspace.open(workspace / name) as local:
        yield Site(name, source, second, local, SYSTEM_CLOCK, writer())


COMMANDS = (rebase, rebuild, erase)
