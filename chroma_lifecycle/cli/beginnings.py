"""``init``: a collection begins, empty, adopted, or with the records of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from chroma_lifecycle.cli.output import Output
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import DEFAULT_TAIL_BUDGET, DEFAULT_WORKSPACE, Checksums
from chroma_lifecycle.deltas.snapshots import Fetched
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.beside import require_never_cut, require_no_shards
from chroma_lifecycle.publishing.head import find_head
from chroma_lifecycle.publishing.publication import already_initialised
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.shard import shard_name
from chroma_lifecycle.snapshot.soundness import DATABASE
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Ordering
from chroma_lifecycle.wiring import (
    BUCKET,
    create_store,
    open_delta_at,
    open_snapshots,
    open_store,
    writer,
)

if TYPE_CHECKING:
    from chroma_lifecycle.lifecycle import Adoption, Beginning

_AFTER_ADOPTING = (
    "next: drain the queue of changes from before, let the function take events, and compare some records with `query`"
)


def init(
    store: StoreOption,
    dimension: Annotated[
        int | None, typer.Option("--dimension", help="Of the collection's vectors.", min=1, max=MOST_DIMENSIONS)
    ] = None,
    space: Annotated[
        SpaceName | None, typer.Option("--space", help="How distances are measured; by default cosine, or as it was.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Adopt the collection of this name: from a Chroma directory that nobody has open, a .tar.gz of one, "
            "or a place with a latest-pointer.txt; or take the records of a .parquet or .jsonl file, such as `export` "
            "writes; a path or s3://.",
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
            hint="give --dimension N for an empty one, or --from DIRECTORY or FILE, which has a dimension already",
        )
    if source is not None and space is not None and not _is_file_of_records(source):
        raise BadInput(
            "--space: an adopted directory keeps the space that it has", hint="leave --space out, and `rebuild` then"
        )
    output, name = Output(as_json), choose_collection(collection, mapping)
    table = load_mapping(mapping) if mapping else None
    if table is not None and name not in table.collections:
        raise BadInput(
            f"the mapping has no collection {name}: it has {', '.join(table.collections)}; no event would reach it",
            hint="name one of them, add it to the mapping first, or leave the mapping out",
        )
    shards = table.shards.get(name) if table is not None else None
    if table is not None and shards and dimension is not None:
        _in_shards(output, name, table, store, space or SpaceName.COSINE, dimension, workspace, checksums, dry_run)
        return
    if table is not None and shards and table.ordering is not Ordering.EXACT:
        raise _begun_by_bulk(name, source or "")
    target = (
        _require_unused(store, name, checksums, require_no_shards)
        if dry_run
        else create_store(store, checksums=checksums)
    )
    doing = f"checking what would become version 1 of {name}" if dry_run else f"publishing version 1 of {name}"
    with output.watching(doing, target) as watched, Workspace.open(workspace / name) as local:
        begun = _Begun(name, table, local, watched, dry_run=dry_run)
        if dimension is not None:
            told = begun.empty(space or SpaceName.COSINE, dimension)
        elif _is_file_of_records(source or ""):
            told = begun.imported(source or "", space, checksums)
        else:
            told = begun.adopted(source or "")
    told = {"collection": name, "version": 1, "dry_run": dry_run, "store": target.address, **told}
    what = f"({told['records']:,} records, {told['dimension']} dimensions, {told['space']})"
    lines = [f"{name}: {'would be ' if dry_run else ''}version 1 in {target.address} {what}"]
    if source is not None:
        lines += [f"  from {told['from']}", *([] if dry_run else [_AFTER_ADOPTING])]
    if shards and not dry_run:
        lines.append(f"it is in one piece; `chroma-lifecycle bulk reshard --shards {shards}` cuts it")
    output.result(told, *lines)


def _begun_by_bulk(name: str, source: str) -> BadInput:
    """Return the refusal of records that cannot be cut into shards later; it names the commands that take them."""
    build, file = "chroma-lifecycle bulk build {} --dimension N", f"{name}.parquet"
    if source.lower().endswith(".parquet"):
        way = f"`{build.format(source)}`"
    else:
        way = f"`chroma-lifecycle delta convert {source} {file}`, then `{build.format(file)}`"
    return BadInput(
        f"the mapping has {name} in shards and orders to the second, so that no reshard cuts one piece into them",
        hint=f"to begin them with these records: {way}",
    )


def _in_shards(
    output: Output,
    name: str,
    mapping: TableMapping,
    address: str,
    space: SpaceName,
    dimension: int,
    workspaces: Path,
    checksums: Checksums | None,
    dry_run: bool,
) -> None:
    """Begin every shard of a collection, and put its layout in force."""
    from chroma_lifecycle.chroma.client import CollectionSettings  # imports chromadb, which takes seconds
    from chroma_lifecycle.lifecycle import begin_in_shards

    count, by = mapping.shards[name], mapping.routing(name)
    told: dict[str, Any] = {
        "version": 1,
        "dry_run": dry_run,
        "records": 0,
        "dimension": dimension,
        "space": space.value,
    }
    if dry_run:
        target = _require_unused(address, name, checksums, require_never_cut)
        names = [(shard_name(name, 1, number), "") for number in range(count)]
    else:
        target = create_store(address, checksums=checksums)
        settings = CollectionSettings(space.value, dimension)
        with output.doing(f"publishing version 1 of {count} shards of {name}"):
            seen = begin_in_shards(
                name,
                mapping,
                settings,
                store=target,
                workspaces=workspaces,
                clock=SYSTEM_CLOCK,
                writer=writer(),
            )
        names = [(shard.name, shard.lineage) for shard in seen.layout.shards]
    results = [
        {"collection": shard, "store": target.address, **told, **({"lineage": lineage} if lineage else {})}
        for shard, lineage in names
    ]
    output.result(
        {"collection": name, "shards": [{"shard": each["collection"], "result": each} for each in results]},
        f"{name}: {'would be ' if dry_run else ''}{count} shards in {target.address}, by {by}: "
        f"{names[0][0]} to {names[-1][0]} ({dimension} dimensions, {space.value})",
    )


def _require_unused(
    address: str, collection: str, checksums: Checksums | None, require_uncut: Callable[[Store, str], None]
) -> Store:
    """Refuse a collection that has begun already, or was cut into shards, as publishing would; make nothing."""
    store = open_store(address, checksums=checksums)
    if address.startswith(BUCKET) or Path(address).is_dir():
        if seen := find_head(store, collection):
            raise already_initialised(collection, store, seen.head)
        require_uncut(store, collection)
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

        fits = self._fits()
        with self.local.blank() as scratch:
            found = _fetched(source, self.name, scratch)
            if self.dry_run:
                checked = examine_adoption(self.name, found.directory, fits, scratch)
                told = _checked_told(checked)
            else:
                told = _told(adopt(self._beginning(), found.directory, fits, tail_budget=DEFAULT_TAIL_BUDGET))
        return {**told, "from": found.place}

    def imported(self, source: str, space: SpaceName | None, checksums: Checksums | None) -> dict[str, Any]:
        from chroma_lifecycle.lifecycle import examine_import, import_records  # as above

        address, deltas = open_delta_at(source, checksums=checksums)
        wanted = space.value if space else None
        if self.dry_run:
            with self.local.blank() as scratch:
                checked = examine_import(self.name, address, deltas, self._fits(), scratch, wanted)
                told = _checked_told(checked)
        else:
            begun = import_records(
                self._beginning(), address, deltas, self._fits(), space=wanted, tail_budget=DEFAULT_TAIL_BUDGET
            )
            told = _told(begun)
        return {**told, "from": source}

    def _fits(self) -> Callable[[str], bool]:
        known = self.mapping is not None and self.name in self.mapping.collections
        return partial(self.mapping.fits, self.name) if known and self.mapping else bool

    def _beginning(self) -> Beginning:
        from chroma_lifecycle.lifecycle import Beginning  # as above

        digest = self.mapping.digest if self.mapping else None
        return Beginning(self.name, digest, self.store, self.local, SYSTEM_CLOCK, writer())


def _is_file_of_records(source: str) -> bool:
    return source.lower().endswith((".parquet", ".jsonl"))


def _checked_told(checked: Adoption) -> dict[str, Any]:
    settings = checked.settings
    return {"records": len(checked.delta.ids), "dimension": settings.dimension, "space": settings.space}


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


COMMANDS = (init,)
