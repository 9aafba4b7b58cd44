"""``rollback``, ``reapply``, ``resync``: back to an older version, forward again, and in step with the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    TableOption,
    WorkspaceOption,
    choose_collection,
    parse_moment,
)
from chroma_lifecycle.cli.output import EXIT_PARTLY, Output, gathering
from chroma_lifecycle.cli.shards import Given, each_shard, refuse_one_shard
from chroma_lifecycle.cli.upkeep import mirror_told, mirror_value, open_site
from chroma_lifecycle.config import DEFAULT_WORKSPACE, PREFIX, Settings
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.choosing import version_at
from chroma_lifecycle.publishing.layout import Layout, read_in_force
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import LARGEST_VERSION, Version
from chroma_lifecycle.wiring import open_scan, open_store, surroundings
from chroma_lifecycle.words import moved

if TYPE_CHECKING:
    from chroma_lifecycle.cycle import Surroundings
    from chroma_lifecycle.intake.mapping import TableMapping
    from chroma_lifecycle.planning.reading import Differences
    from chroma_lifecycle.repair.resyncing import Resynced


def _that_went_on(given: Given, shard: Shard, layout: Layout) -> Given | None:
    """Go back in the shards alone that have a version since then."""
    del layout
    store = open_store(given["store"], checksums=given["checksums"])
    head = read_published(store, shard.name).head
    return None if version_at(store, head, parse_moment(given["at"])).version == head.version else given


_AGAIN = "{:,} runs that were withheld count again; `chroma-lifecycle resync` says whether their items tell it"


@each_shard(_that_went_on)
def rollback(
    store: StoreOption,
    version: Annotated[
        int | None, typer.Argument(help="The version to go back to.", min=1, max=LARGEST_VERSION)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="Go back to the version of this time (UTC): 2026-01-31, 2026-01-31T12:00."),
    ] = None,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish an older version's records as the newest version; what came since is withheld until `reapply`."""
    from chroma_lifecycle.repair.rollback import rollback as roll_back  # what only looks needs none of it

    output, name, target = Output(as_json), choose_collection(collection, mapping), _target(version, at)
    with (
        open_site(name, store, mirror, workspace, checksums) as site,
        output.watching(f"reading every object of the older version of {name}", site.store) as watched,
    ):
        done = roll_back(replace(site, store=watched), target)
    manifest = done.published.manifest
    summary = manifest.details.summary
    records = {"added": summary.added, "changed": summary.changed, "removed": summary.removed}
    output.result(
        {
            "collection": name,
            "version": manifest.version.number,
            "records_of": done.source.number,
            "left": done.left.number,
            "withheld": done.withheld,
            "runs_again": done.runs_again,
            "records": records,
            "stored_bytes": manifest.stored_bytes,
            "mirror": mirror_value(done.mirror),
        },
        f"{name} version {manifest.version.number} has the records of version {done.source.number}: {moved(records)}",
        f"{done.withheld:,} facts are withheld; `chroma-lifecycle reapply` makes them count again",
        *([_AGAIN.format(done.runs_again)] if done.runs_again else []),
        *mirror_told(done.mirror),
    )


def _target(version: int | None, at: str | None) -> Version | datetime:
    if (version is None) == (at is None):
        raise BadInput(
            "a rollback goes back to one version",
            hint="give its number, as `chroma-lifecycle log` lists it, or --at TIME",
        )
    return Version(version) if version is not None else parse_moment(at or "")


@each_shard()
def reapply(
    store: StoreOption,
    mapping: MappingOption,
    collection: CollectionOption = None,
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    deltas: DeltasOption = None,
    table: TableOption = None,
    checksums: ChecksumsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and plan only; publish nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make what a rollback withholds count again: publish the records of all changes received."""
    from chroma_lifecycle.repair.reapplying import reapply as reapply_all  # imports chromadb, which takes seconds

    output, name = Output(as_json), choose_collection(collection, mapping)
    settings = Settings.read(
        store=store,
        mapping=mapping,
        mirror=mirror,
        workspace=str(workspace),
        table=table,
        deltas=deltas,
        s3_checksums=checksums,
    )
    with open_cycle(name, settings) as (around, local), output.doing(f"reapplying what {name} withholds"):
        report = reapply_all(around, local, name, dry_run=dry_run)
    change, untold = moved(report.records), report.outcomes.get("failed", 0)
    output.result(
        {
            "collection": name,
            "version": report.version,
            "published": report.published,
            "records": report.records,
            "mirror": mirror_value(report.mirror),
            "untold_runs": untold,
        },
        f"{name}: would go on from version {report.version}: records {change}"
        if dry_run
        else f"{name} version {report.version} published: records {change}"
        if report.published
        else f"{name}: nothing is withheld; version {report.version} stays",
        *mirror_told(report.mirror),
        *([f"the table was not told of {untold:,} runs: `chroma-lifecycle resync` tells it"] if untold else []),
    )


_MEANINGS = {
    "missing": "items that give values and were not known",
    "stale": "items that give other values",
    "withdrawn": "items that are gone, or were never there, and give nothing any more",
    "missed": "runs that were not merged",
    "unmerged": "runs that cannot be merged",
    "unwritten": "merged runs whose items do not say so",
    "orphaned": "items that are gone and have records",
    "refused": "items with a value that no record can take",
    "withheld": "items and runs that a rollback withholds",
    "left": "items that gave values, and that no rule takes any more",
}
_MENDED = _MEANINGS.keys() - {"unmerged", "refused", "withheld"}
_EXAMPLES = 10


def resync(
    store: StoreOption,
    mapping: MappingOption,
    table: Annotated[str, typer.Option("--table", envvar=f"{PREFIX}TABLE", help="The DynamoDB table, by its name.")],
    collection: CollectionOption = None,
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    deltas: DeltasOption = None,
    checksums: ChecksumsOption = None,
    rate: Annotated[
        float, typer.Option("--rate", help="Read units per second; a unit reads 4 KB.", min=1, max=1_000_000)
    ] = 200,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Place runs that were never merged below all that is published.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Mend what differs; without it nothing is written.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the newest version with the table itself, and say or mend what differs."""
    from chroma_lifecycle.repair.resyncing import resync as resync_table  # imports chromadb, which takes seconds

    output, name = Output(as_json), choose_collection(collection, mapping)
    settings = Settings.read(
        store=store,
        mapping=mapping,
        table=table,
        mirror=mirror,
        workspace=str(workspace),
        deltas=deltas,
        s3_checksums=checksums,
    )
    refuse_one_shard(name, mapping, "a resync")
    with output.counting(f"items of {table} read") as tell:
        if not read_in_force(open_store(store, checksums=checksums), name).layout.in_one_piece:
            found = _resync_shards(output, name, settings, table, rate, backfill=backfill, apply=apply, tell=tell)
        else:
            with open_cycle(name, settings) as (around, local):
                scan = open_scan(table, around.mapping, rate)
                done = resync_table(around, local, name, scan, backfill=backfill, dry_run=not apply, progress=tell)
            _tell_resynced(output, name, table, done, around.mapping, apply=apply)
            found = [done]
    if any(done.problems for done in found):
        raise typer.Exit(EXIT_PARTLY)


def _resync_shards(
    output: Output,
    name: str,
    settings: Settings,
    table: str,
    rate: float,
    *,
    backfill: bool,
    apply: bool,
    tell: Callable[[int], None],
) -> list[Resynced]:
    """Read the table once, and bring each shard in step with it."""
    from chroma_lifecycle.repair.resyncing_shards import resync_shards  # imports chromadb, which takes seconds

    around = surroundings(settings)
    scan = open_scan(table, around.mapping, rate)

    def own(shard: str) -> Workspace:
        return Workspace.open(Path(settings.workspace) / shard)

    found, told = [], []
    for shard, done in resync_shards(around, own, name, scan, backfill=backfill, dry_run=not apply, progress=tell):
        with gathering() as results:
            _tell_resynced(output, shard.name, table, done, around.mapping, apply=apply)
        told.append({"shard": shard.name, "result": results[0] if results else None})
        found.append(done)
    output.result({"collection": name, "shards": told})
    return found


def _tell_resynced(
    output: Output, name: str, table: str, done: Resynced, mapping: TableMapping, *, apply: bool
) -> None:
    found = _found(done.differences, mapping)
    output.result(
        {
            "collection": name,
            "version": done.report.version,
            "published": done.report.published,
            "items": done.items,
            "taken": done.taken,
            "mapping": list(done.mapping),
            "differences": found,
            "unread_runs": len(done.unread),
            "records": done.report.records,
            "problems": [problem.message for problem in done.problems],
            "mirror": mirror_value(done.report.mirror),
        },
        f"{name}: {done.items:,} items of {table} read, {done.taken:,} of them in the mapping",
        *([f"  the mapping is another one than that of version {_of(done)}:"] if done.mapping else []),
        *(f"    {line}" for line in done.mapping),
        *(f"  {found[kind]['count']:,} {meaning}" for kind, meaning in _MEANINGS.items() if found[kind]["count"]),
        *(f"  {line}" for line in _unread(done, mapping)),
        *(f"  {problem.message}" for problem in done.problems[:_EXAMPLES]),
        _ended(done, found, apply=apply),
    )


def _found(differences: Differences, mapping: TableMapping) -> dict[str, Any]:
    """Return how many items there are of each kind, and the keys of some."""
    kinds = {each.name: getattr(differences, each.name) for each in fields(differences)}
    return {
        kind: {"count": len(items), "items": [mapping.spell(item) for item in items[:_EXAMPLES]]}
        for kind, items in kinds.items()
    }


def _of(done: Resynced) -> int:
    """Return the number of the version that was compared."""
    return done.report.version - done.report.published


def _unread(done: Resynced, mapping: TableMapping) -> Iterator[str]:
    """Say which deltas are gone that had to be read again."""
    if done.unread:
        names = ", ".join(mapping.spell(item) if item.partition else "the adoption" for item in done.unread[:_EXAMPLES])
        yield f"{len(done.unread):,} runs whose deltas cannot be read again ({names}): what they gave to keys that no"
        yield "rule sets any more is gone from their records"


def _ended(done: Resynced, found: Mapping[str, Any], *, apply: bool) -> str:
    report, name, records = done.report, done.report.collection, done.report.records
    if report.published:
        return f"{name} version {report.version} published: records {moved(records)}"
    if apply:
        return f"{name}: version {report.version} stays"
    if not (done.mapping or any(records.values()) or any(found[kind]["count"] for kind in _MENDED)):
        return f"{name}: version {report.version} has nothing to mend; --apply would note when the table was read"
    # What is written again with the values that it has counts as changed, too.
    change = f"{records['added']:,} added, at most {records['changed']:,} changed, {records['removed']:,} removed"
    return f"{name}: would go on from version {report.version}: records {change}; --apply mends it"


@contextmanager
def open_cycle(name: str, settings: Settings) -> Iterator[tuple[Surroundings, Workspace]]:
    """Own the workspace of a collection, with what a cycle needs beside it."""
    from chroma_lifecycle.sharding.works import lineage_surroundings  # what only looks needs none of it

    around = lineage_surroundings(surroundings(settings), name)
    with Workspace.open(Path(settings.workspace) / name) as local:
        yield around, local


COMMANDS = (rollback, reapply, resync)
