"""``rollback``, ``reapply``: back to an older version, and forward again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    WorkspaceOption,
    choose_collection,
    parse_moment,
)
from chroma_lifecycle.cli.output import Output
from chroma_lifecycle.cli.upkeep import open_site
from chroma_lifecycle.config import DEFAULT_WORKSPACE, Settings
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Version
from chroma_lifecycle.wiring import surroundings

if TYPE_CHECKING:
    from chroma_lifecycle.cycle import Surroundings


def rollback(
    store: StoreOption,
    version: Annotated[int | None, typer.Argument(help="The version to go back to.", min=1)] = None,
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
        output.doing(f"reading every object of the older version of {name}"),
    ):
        done = roll_back(site, target)
    manifest = done.published.manifest
    summary = manifest.details.summary
    output.result(
        {
            "collection": name,
            "version": manifest.version.number,
            "records_of": done.source.number,
            "left": done.left.number,
            "withheld": done.withheld,
            "records": {"added": summary.added, "changed": summary.changed, "removed": summary.removed},
            "stored_bytes": manifest.stored_bytes,
            "mirror": done.mirror,
        },
        f"{name} version {manifest.version.number} has the records of version {done.source.number}: "
        f"{summary.added:,} added, {summary.changed:,} changed, {summary.removed:,} removed",
        f"{done.withheld:,} facts are withheld; `chroma-lifecycle reapply` makes them count again",
        *([f"mirror {done.mirror}"] if done.mirror != "none" else []),
    )


def _target(version: int | None, at: str | None) -> Version | datetime:
    if (version is None) == (at is None):
        raise BadInput(
            "a rollback goes back to one version",
            hint="give its number, as `chroma-lifecycle log` lists it, or --at TIME",
        )
    return Version(version) if version is not None else parse_moment(at or "")


def reapply(
    store: StoreOption,
    mapping: MappingOption,
    collection: CollectionOption = None,
    mirror: MirrorOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    deltas: DeltasOption = None,
    checksums: ChecksumsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and plan only; publish nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make what a rollback withholds count again: publish the records of all changes received."""
    from chroma_lifecycle.repair.reapplying import reapply as reapply_all  # imports chromadb, which takes seconds

    output, name = Output(as_json), choose_collection(collection, mapping)
    settings = Settings.read(
        store=store, mapping=mapping, mirror=mirror, workspace=str(workspace), deltas=deltas, s3_checksums=checksums
    )
    with open_cycle(name, settings) as (around, local), output.doing(f"reapplying what {name} withholds"):
        report = reapply_all(around, local, name, dry_run=dry_run)
    count = report.records
    change = f"{count['added']:,} added, {count['changed']:,} changed, {count['removed']:,} removed"
    output.result(
        {
            "collection": name,
            "version": report.version,
            "published": report.published,
            "records": count,
            "mirror": report.mirror,
        },
        f"{name}: would go on from version {report.version}: records {change}"
        if dry_run
        else f"{name} version {report.version} published: records {change}"
        if report.published
        else f"{name}: nothing is withheld; version {report.version} stays",
        *([f"mirror {report.mirror}"] if report.mirror != "none" else []),
    )


@contextmanager
def open_cycle(name: str, settings: Settings) -> Iterator[tuple[Surroundings, Workspace]]:
    """Own the workspace of a collection, with what a cycle needs beside it."""
    around = surroundings(settings)
    if name not in around.mapping.collections:
        raise BadInput(
            f"the mapping has no collection {name}: it has {', '.join(around.mapping.collections)}",
            hint="name one of them with --collection, or give the mapping of the collection",
        )
    with Workspace.open(Path(settings.workspace) / name) as local:
        yield around, local


COMMANDS = (rollback, reapply)
