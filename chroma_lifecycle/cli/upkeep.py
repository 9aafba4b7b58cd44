"""``rebase``: what keeps a collection cheap to restore and small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chroma_lifecycle.cli.options import (
    ChecksumsOption,
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    WorkspaceOption,
    choose_collection,
)
from chroma_lifecycle.cli.output import Output
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import DEFAULT_WORKSPACE, Checksums
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import open_mirror, open_store, writer
from chroma_lifecycle.words import size

if TYPE_CHECKING:
    from chroma_lifecycle.upkeep import Site


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
            "mirror": based.mirror,
        },
        f"{name} version {number} has a new base of {size(base.stored_bytes)} in place of {based.packs} packs; "
        f"{size(manifest.stored_bytes)} were new to the store"
        if based.packs
        else f"{name} version {number} has no packs: there is nothing to do",
        *([f"mirror {based.mirror}"] if based.mirror != "none" else []),
    )


@contextmanager
def open_site(
    name: str, store: str, mirror: str | None, workspace: Path, checksums: Checksums | None
) -> Iterator[Site]:
    """Own the workspace of a collection, for as long as the block lasts."""
    from chroma_lifecycle.upkeep import Site

    source, second = open_store(store, checksums=checksums), open_mirror(mirror)
    with Workspace.open(workspace / name) as local:
        yield Site(name, source, second, local, SYSTEM_CLOCK, writer())


COMMANDS = (rebase,)
