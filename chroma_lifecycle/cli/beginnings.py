"""``init`` and ``export``: a collection begins, empty or adopted; and the way back to the system before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chroma_lifecycle.cli.options import (
    ChecksumsOption,
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    SpaceName,
    StoreOption,
    VersionOption,
    WorkspaceOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import DEFAULT_TAIL_BUDGET, DEFAULT_WORKSPACE, Checksums
from chroma_lifecycle.deltas.snapshots import POINTER, SNAPSHOT, Fetched
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.export import export_version
from chroma_lifecycle.publishing.head import find_head
from chroma_lifecycle.publishing.publication import already_initialised
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.unpack import Stores, find_manifest
from chroma_lifecycle.snapshot.soundness import DATABASE
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import (
    BUCKET,
    create_store,
    open_export,
    open_mirror,
    open_snapshots,
    open_store,
    writer,
)
from chroma_lifecycle.words import size

if TYPE_CHECKING:
    from chroma_lifecycle.lifecycle import Beginning

_AFTER_ADOPTING = (
    "next: drain the queue of changes from before, let the function take events, and compare some records with `query`"
)


def init(
    store: StoreOption,
    dimension: Annotated[int | None, typer.Option("--dimension", help="Of the collection's vectors.", min=1)] = None,
    space: Annotated[SpaceName, typer.Option("--space", help="How distances are measured.")] = SpaceName.COSINE,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Adopt the collection of this name: from a Chroma directory that nobody has open, a .tar.gz of one, "
            "or a place with a latest-pointer.txt; a path or s3://bucket/prefix.",
        ),
    ] = None,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    checksums: ChecksumsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check only; publish nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Begin a collection: publish its version 1, empty or adopted. Dimension and space stay for ever."""
    if (dimension is None) == (source is None):
        raise BadInput(
            "a collection begins empty or adopted",
            hint="give --dimension N for an empty one, or --from DIRECTORY, which has dimension and space already",
        )
    output, name = Output(as_json), choose_collection(collection, mapping)
    table = load_mapping(mapping) if mapping else None
    target = _require_unused(store, name, checksums) if dry_run else create_store(store, checksums=checksums)
    doing = f"checking what would become version 1 of {name}" if dry_run else f"publishing version 1 of {name}"
    with output.doing(doing), Workspace.open(workspace / name) as local:
        begun = _Begun(name, table, local, target, dry_run=dry_run)
        told = begun.empty(space, dimension) if dimension else begun.adopted(source or "")
    told = {"collection": name, "version": 1, "dry_run": dry_run, "store": target.address, **told}
    what = f"({told['records']:,} records, {told['dimension']} dimensions, {told['space']})"
    lines = [f"{name}: {'would be ' if dry_run else ''}version 1 in {target.address} {what}"]
    if source is not None:
        lines += [f"  from {told['from']}", *([] if dry_run else [_AFTER_ADOPTING])]
    output.result(told, *lines)


def _require_unused(address: str, collection: str, checksums: Checksums | None) -> Store:
    """Refuse a collection that has begun already, as publishing would; make nothing."""
    store = open_store(address, checksums=checksums)
    if (address.startswith(BUCKET) or Path(address).is_dir()) and (seen := find_head(store, collection)):
        raise already_initialised(collection, seen.head, store)
    return store


@dataclass(frozen=True, slots=True)
class _Begun:
    """How a collection begins, for people and programs."""

    name: str
    mapping: TableMapping | None
    local: Workspace
    store: Store
    dry_run: bool

    def empty(self, space: SpaceName, dimension: int) -> dict[str, Any]:
        from chroma_lifecycle.chroma.client import CollectionSettings  # imports chromadb, which takes seconds
        from chroma_lifecycle.lifecycle import begin

        if self.dry_run:
            return {"records": 0, "dimension": dimension, "space": space.value}
        return _told(begin(self._beginning(), CollectionSettings(space.value, dimension)))

    def adopted(self, source: str) -> dict[str, Any]:
        from chroma_lifecycle.lifecycle import adopt, examine_adoption  # as above

        known = self.mapping is not None and self.name in self.mapping.collections
        fits = partial(self.mapping.fits, self.name) if known and self.mapping else bool
        with self.local.blank() as scratch:
            found = _fetched(source, self.name, scratch)
            if self.dry_run:
                checked = examine_adoption(self.name, found.directory, fits, scratch)
                settings = checked.settings
                told = {"records": len(checked.delta.ids), "dimension": settings.dimension, "space": settings.space}
            else:
                told = _told(adopt(self._beginning(), found.directory, fits, tail_budget=DEFAULT_TAIL_BUDGET))
        return {**told, "from": found.place}

    def _beginning(self) -> Beginning:
        from chroma_lifecycle.lifecycle import Beginning  # as above

        digest = self.mapping.digest if self.mapping else None
        return Beginning(self.name, digest, self.store, self.local, SYSTEM_CLOCK, writer())


def _fetched(source: str, collection: str, scratch: Path) -> Fetched:
    """Return the snapshot at *source*; a plain directory is used where it lies, and not changed."""
    if not source.startswith(BUCKET) and (Path(source) / DATABASE).is_file():
        return Fetched(Path(source), source)
    return open_snapshots(source).fetch(collection, scratch)


def _told(published: Published) -> dict[str, Any]:
    details = published.manifest.details
    return {
        "lineage": published.head.lineage,
        "records": details.counts.records,
        "dimension": details.dimension,
        "space": details.space,
    }


def export(
    store: StoreOption,
    to: Annotated[
        str, typer.Option("--to", help="Where the other system reads from: a directory, or s3://bucket/prefix.")
    ],
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    mirror: MirrorOption = None,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version as a whole directory with a latest-pointer.txt, for the system that was there before."""
    output, name = Output(as_json), choose_collection(collection, mapping)
    source, target = open_store(store, checksums=checksums), open_export(to, checksums=checksums)
    manifest = find_manifest(source, read_published(source, name), version)
    with output.doing(f"exporting {name}, {size(manifest.size)}"):
        done = export_version(manifest, Stores(source, open_mirror(mirror)), target, SYSTEM_CLOCK.now())
    output.result(
        {"collection": name, "version": manifest.version.number, **asdict(done)},
        f"{name} version {manifest.version.number} is in {done.place}: {done.files} files, {size(done.size_bytes)}",
        f"{target.address}/{name}/{SNAPSHOT}/{POINTER} names it",
    )


COMMANDS = (init, export)
