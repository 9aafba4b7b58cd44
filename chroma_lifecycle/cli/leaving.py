"""``export`` and ``upload``: a version leaves, as a file, as a directory for another system, into a Chroma server."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from chroma_lifecycle.cli.new_files import new_file
from chroma_lifecycle.cli.options import (
    ChecksumsOption,
    CollectionOption,
    JsonOption,
    MirrorOption,
    OptionalMappingOption,
    StoreOption,
    VersionOption,
    choose_collection,
    require_name,
)
from chroma_lifecycle.cli.output import Output
from chroma_lifecycle.cli.progress import stored_size
from chroma_lifecycle.cli.shards import Given, Portion, each_shard, into_files_of_their_own, require_no_version
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import TOKEN_NAME, Checksums
from chroma_lifecycle.deltas.snapshots import POINTER, SNAPSHOT
from chroma_lifecycle.errors import BadInput, Sharded
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.export import export_version
from chroma_lifecycle.publishing.layout import Layout, read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.publishing.unpack import Stores, find_manifest
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.wiring import open_export, open_mirror, open_store
from chroma_lifecycle.words import size


def _with_records(portion: Portion) -> Portion:
    """Return *portion* for a file of records: a shard that has none gets no file, unless none of them has any."""

    def narrowed(given: Given, shard: Shard, layout: Layout) -> Given | None:
        if given["to_file"] is None:
            return portion(given, shard, layout)
        store = open_store(given["store"], checksums=given["checksums"])
        some = [each for each in layout.shards if _records(store, each)]
        return portion(given, shard, layout) if shard in (some or layout.shards) else None

    return narrowed


def _records(store: Store, shard: Shard) -> int:
    return read_published(store, shard.name).manifest.details.counts.records


@each_shard(_with_records(into_files_of_their_own("to_file")))
def export(
    store: StoreOption,
    to_file: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="A new file of the records, .parquet or .jsonl by its name; a path or s3://."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Where another system reads whole directories from: a directory, or s3://bucket/prefix."
        ),
    ] = None,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    mirror: MirrorOption = None,
    checksums: ChecksumsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version's records to a file that `init --from` takes, or a directory for the system that was before."""
    if (to is None) == (to_file is None):
        raise BadInput(
            "a version is exported as a file of records, or as a directory",
            hint="give --output FILE.parquet or FILE.jsonl, or --to PLACE for a system that reads latest-pointer.txt",
        )
    output, name = Output(as_json), choose_collection(collection, mapping)
    source = open_store(store, checksums=checksums)
    stores = Stores(source, open_mirror(mirror, store))
    manifest = find_manifest(source, read_published(source, name), version)
    if to_file is not None:
        _as_records(output, manifest, stores, to_file, checksums)
    else:
        _as_directory(output, manifest, stores, to or "", checksums)


def _as_records(output: Output, manifest: Manifest, stores: Stores, to: str, checksums: Checksums | None) -> None:
    from chroma_lifecycle.exporting import export_records  # imports chromadb, which takes seconds

    name, number = manifest.collection, manifest.version.number
    with output.counting(f"exporting {name}") as tell, new_file(to, checksums) as path:
        written = export_records(manifest, stores, path, tell)
        length = path.stat().st_size
    output.result(
        {
            "collection": name,
            "version": number,
            "output": to,
            "records": len(written.ids),
            "digest": written.digest,
            "size_bytes": length,
        },
        f"{name} version {number} is in {to}: {len(written.ids):,} records, {size(length)}",
        f"`chroma-lifecycle init --from {to}` makes a collection of it",
    )


def _as_directory(output: Output, manifest: Manifest, stores: Stores, to: str, checksums: Checksums | None) -> None:
    name, number, target = manifest.collection, manifest.version.number, open_export(to, checksums=checksums)
    source = stores.mirror or stores.store
    with output.watching(f"exporting {name}", source, stored_size(manifest)) as watched:
        stores = Stores(stores.store, watched) if stores.mirror else Stores(watched)
        done = export_version(manifest, stores, target, SYSTEM_CLOCK.now())
    output.result(
        {"collection": name, "version": number, **asdict(done)},
        f"{name} version {number} is in {done.place}: {done.files} files, {size(done.size_bytes)}",
        f"{target.address}/{name}/{SNAPSHOT}/{POINTER} names it",
    )


class TokenHeader(StrEnum):
    """Which header carries the token."""

    AUTHORIZATION = "authorization"
    CHROMA = "x-chroma-token"


def upload(
    store: StoreOption,
    to: Annotated[str, typer.Option("--to", help="The server: http://host:8000, or https://host.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Of the collection there; by default the same as here.")
    ] = None,
    delete_others: Annotated[
        bool, typer.Option("--delete-others", help="Delete what else the collection there holds.")
    ] = False,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose it is there.")] = "default_tenant",
    database: Annotated[str, typer.Option("--database", help="Where it is there.")] = "default_database",
    token: Annotated[
        str | None, typer.Option("--token", envvar=TOKEN_NAME, help="What the server wants of whoever asks.")
    ] = None,
    token_header: Annotated[
        TokenHeader, typer.Option("--token-header", help="Which header carries it; authorization as a bearer's.")
    ] = TokenHeader.AUTHORIZATION,
    collection: CollectionOption = None,
    mapping: OptionalMappingOption = None,
    version: VersionOption = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a version's records into a collection of a Chroma server, and prove that they are there."""
    from chroma_lifecycle.chroma.server import ServerAddress  # imports chromadb, which takes seconds
    from chroma_lifecycle.exporting import upload_records

    header = "Authorization" if token_header is TokenHeader.AUTHORIZATION else "X-Chroma-Token"
    address = ServerAddress(to, tenant, database, token, header)
    output, source_name = Output(as_json), choose_collection(collection, mapping)
    there = require_name(name, "--name") if name else source_name
    source = open_store(store)
    manifests = _manifests(source, source_name, version)
    with output.counting(f"uploading {source_name}") as tell:
        done = upload_records(
            manifests,
            Stores(source, open_mirror(mirror, store)),
            address,
            there,
            tell=tell,
            delete_others=delete_others,
        )
    in_shards = manifests[0].collection != source_name
    which = f", {len(manifests)} shards," if in_shards else f" version {manifests[0].version.number}"
    output.result(
        {
            "collection": source_name,
            "version": None if in_shards else manifests[0].version.number,
            "shards": {each.collection: each.version.number for each in manifests} if in_shards else None,
            "server": to,
            "name": there,
            **asdict(done),
        },
        f"{source_name}{which} is in {there} on {to}: {done.records:,} records, "
        f"every one compared; {done.sent:,} were sent, {done.deleted:,} others deleted",
    )


def _manifests(store: Store, name: str, version: int | None) -> list[Manifest]:
    """Return the version that is meant; of a collection in shards the newest of each.

    Raises:
        BadInput: There is no such version, or each shard has versions of its own.
    """
    try:
        return [find_manifest(store, read_published(store, name), version)]
    except Sharded:
        require_no_version(name, version)
        shards = read_layout(store, name).layout.shards
        return [read_published(store, shard.name).manifest for shard in shards]


COMMANDS = (export, upload)
"""What the application takes from here."""
