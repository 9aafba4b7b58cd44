"""What is built from settings and addresses; everything below takes it as arguments."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import Checksums, Settings
from chroma_lifecycle.deltas.addresses import BucketRoot, DirectoryRoot, Root, Roots, parse_root
from chroma_lifecycle.deltas.snapshots import SnapshotSource
from chroma_lifecycle.deltas.sources import DeltaSource, DirectorySource, RootedDeltas
from chroma_lifecycle.errors import BadInput, StoreUnavailable
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.export import ExportTarget
from chroma_lifecycle.publishing.mirror import Mirror
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.stores.exporting import DirectoryTarget

if TYPE_CHECKING:
    from chroma_lifecycle.aws.dynamodb import DynamoRunStatus
    from chroma_lifecycle.batch.phases import Trace
    from chroma_lifecycle.compactor import Compactor
    from chroma_lifecycle.cycle import Surroundings
    from chroma_lifecycle.deltas.delivery import Delivery
    from chroma_lifecycle.intake.mapping import TableMapping
    from chroma_lifecycle.intake.scanned import TableScan

BUCKET = "s3://"


class Place(Protocol):
    """What people look at when a collection is not where they thought it to be."""

    def folders(self) -> Sequence[str]:
        """Return the names of what lies there, collections and others; some of them where there are very many."""
        ...

    def has_begun(self, collection: str) -> bool:
        """Return whether a collection of this name has a HEAD there."""
        ...


_OF_ANOTHER_KIND = re.compile(r"[a-z][a-z0-9+.-]*:/|(s3|s3a|s3n|https?|file):|arn:aws", re.IGNORECASE)


def open_store(address: str, *, checksums: Checksums | None = None) -> Store:
    """Return the store at *address*: ``s3://bucket/prefix``, or a directory."""
    if not address.startswith(BUCKET):
        require_place(address)
        if (directory := Path(address)).exists() and not directory.is_dir():
            raise BadInput(f"{address} is a file, and no directory", hint="give a directory, or s3://bucket/prefix")
        return DirectoryStore(directory)
    from chroma_lifecycle.aws.s3 import S3Store  # boto3 takes longer to import than a directory to read

    return S3Store.open(address, checksums=checksums)


def open_place(address: str) -> Place:
    """Return what lies at *address*, a store or what may be the place above one."""
    store = open_store(address)
    if isinstance(store, DirectoryStore):
        return store
    from chroma_lifecycle.aws.s3 import S3Store  # as above

    assert isinstance(store, S3Store)
    return store


def require_place(address: str) -> None:
    """Refuse what is neither ``s3://`` nor a path.

    It would become a directory of that name here, and nobody would find it.

    Raises:
        BadInput: It is empty, an address of another kind, or begins with ``~``, which only a shell knows.
    """
    if not address.strip():
        raise BadInput("the address of a store is empty", hint="give a directory, or s3://bucket/prefix")
    if address.startswith("~"):
        raise BadInput(
            f"{address!r} begins with ~, which stands for a home directory in a shell alone",
            hint=f"write the whole path, or ./{address} for that name",
        )
    if not address.startswith(BUCKET) and _OF_ANOTHER_KIND.match(address):
        path = address.partition("://")[2]
        way = f"{path} for that directory" if address.lower().startswith("file:///") else "the path of a directory"
        raise BadInput(f"{address!r} is no address of a store", hint=f"write s3://bucket/prefix, or {way}")


def require_local(path: Path) -> Path:
    """Return *path*, where only one of this machine is of use.

    Raises:
        BadInput: It is an address of another kind, or begins with ``~``.
    """
    if str(path).startswith("~") or _OF_ANOTHER_KIND.match(str(path)):
        raise BadInput(f"{path} is no path of this machine", hint="write the whole path of a file or directory")
    return path


def create_store(address: str, *, checksums: Checksums | None = None) -> Store:
    """Return the store at *address*; a directory is made if it is not there. For `init` alone."""
    store = open_store(address, checksums=checksums)
    if isinstance(store, DirectoryStore):
        store.create_root()
    return store


def open_mirror(address: str | None, store: str) -> Store | None:
    """Return the mirror in the mounted directory *address*, if there is to be one.

    A mount that hangs or fails is no error here: each call of the mirror says so, and who can goes on without it.

    Raises:
        BadInput: It is no directory, or the *store* that it should be a mirror of.
    """
    if not address:
        return None
    directory = Path(address)
    none = BadInput(f"{address}: a mirror is a mounted directory", hint="give the path of one with --mirror")
    if _OF_ANOTHER_KIND.match(address):
        raise none
    require_place(address)

    def look() -> None:
        if directory.exists() and not directory.is_dir():
            raise none
        if not store.startswith(BUCKET) and directory.resolve() == Path(store).resolve():
            raise BadInput(f"the mirror {address} is the store itself", hint="give another directory with --mirror")

    mirror = Mirror(DirectoryStore(directory, mirror_only=True))
    with suppress(OSError, StoreUnavailable):
        mirror.within_time(look)
    return mirror


def open_deltas(roots: Sequence[str], store: str, *, checksums: Checksums | None = None) -> RootedDeltas:
    """Return what reads deltas below *roots*; by default those are the store's own bucket or directory."""
    parsed = Roots.parse(roots or (_home_of(store),))
    sources: dict[type[Root], DeltaSource] = {DirectoryRoot: DirectorySource()}
    if any(isinstance(root, BucketRoot) for root in parsed.roots):
        from chroma_lifecycle.aws.clients import make_client  # boto3, as above
        from chroma_lifecycle.aws.deltas import S3DeltaSource

        sources[BucketRoot] = S3DeltaSource(make_client("s3", checksums=checksums))
    return RootedDeltas(parsed, sources)


def open_delta_at(address: str, *, checksums: Checksums | None = None) -> tuple[str, RootedDeltas]:
    """Return one delta that a person names, a path or ``s3://bucket/key``: its address, and what reads it.

    Raises:
        BadInput: It is no address, or there is no such path.
    """
    if address.startswith(BUCKET):
        return address, open_deltas((_home_of(address),), address, checksums=checksums)
    require_place(address)
    whole = Path(address).resolve()
    if not whole.exists():
        raise BadInput(
            f"there is no delta {address!r}", hint="give the path of a file or directory, or s3://bucket/key"
        )
    return whole.name, open_deltas((str(whole.parent),), address)


def open_deliveries(root: str, *, checksums: Checksums | None = None) -> Mapping[type[Root], Delivery]:
    """Return what puts deltas below *root*."""
    if isinstance(parse_root(root), DirectoryRoot):
        from chroma_lifecycle.deltas.delivery import DirectoryDelivery  # pyarrow, as above

        return {DirectoryRoot: DirectoryDelivery()}
    from chroma_lifecycle.aws.clients import make_client  # boto3, as above
    from chroma_lifecycle.aws.deltas import S3DeltaSource

    return {BucketRoot: S3DeltaSource(make_client("s3", checksums=checksums))}


def open_snapshots(address: str) -> SnapshotSource:
    """Return what reads the snapshot of another system at *address*: ``s3://bucket/prefix``, or a path."""
    if not address.startswith(BUCKET):
        require_place(address)
        return SnapshotSource.in_directory(Path(address), DirectorySource())
    from chroma_lifecycle.aws.address import S3Address
    from chroma_lifecycle.aws.clients import make_client  # boto3, as above
    from chroma_lifecycle.aws.deltas import S3DeltaSource

    at = S3Address.parse(address)
    return SnapshotSource.in_bucket(at.bucket, at.prefix, S3DeltaSource(make_client("s3")))


def open_export(address: str, *, checksums: Checksums | None = None) -> ExportTarget:
    """Return the place *address*, ``s3://bucket/prefix`` or a directory, for another system to read from."""
    if not address.startswith(BUCKET):
        require_place(address)
        return DirectoryTarget(Path(address))
    from chroma_lifecycle.aws.exporting import S3Target  # boto3, as above

    return S3Target.open(address, checksums=checksums)


def first_root(deltas: str | None, store: str) -> str:
    """Return the root at which relative addresses of deltas begin."""
    return next((root for root in map(str.strip, (deltas or "").split(",")) if root), "") or _home_of(store)


def _home_of(store: str) -> str:
    return f"{BUCKET}{store.removeprefix(BUCKET).partition('/')[0]}/" if store.startswith(BUCKET) else store


def open_status(table: str | None) -> DynamoRunStatus | None:
    """Return what announces runs in the table and tells it how they ended, if there is a table to be told."""
    if not table:
        return None
    from chroma_lifecycle.aws.dynamodb import DynamoRunStatus  # boto3, as above

    return DynamoRunStatus.open(table)


def open_scan(table: str, mapping: TableMapping, units_per_second: float) -> TableScan:
    """Return what reads the whole table, whose key must be the mapping's."""
    from chroma_lifecycle.aws.scanning import DynamoScan  # boto3, as above

    return DynamoScan.open(table, mapping.key_names, units_per_second)


def compactor(settings: Settings, *, trace: Trace | None = None) -> Compactor:
    """Return what compacts batch after batch; close it at the end."""
    from chroma_lifecycle.compactor import Compactor  # imports chromadb, which takes seconds

    return Compactor(surroundings(settings, trace=trace), settings.workspace)


def surroundings(settings: Settings, *, trace: Trace | None = None) -> Surroundings:
    """Return what a cycle needs beside its changes."""
    from chroma_lifecycle.batch.phases import untraced
    from chroma_lifecycle.cycle import Surroundings  # as above

    return Surroundings(
        mapping=load_mapping(settings.mapping),
        store=open_store(settings.store, checksums=settings.s3_checksums),
        mirror=open_mirror(settings.mirror, settings.store),
        deltas=open_deltas(settings.deltas, settings.store, checksums=settings.s3_checksums),
        status=open_status(settings.table),
        clock=SYSTEM_CLOCK,
        reserve_seconds=settings.deadline_reserve_seconds,
        tail_budget=settings.tail_budget,
        writer=writer(),
        trace=trace or untraced,
    )


def writer() -> str:
    """Return who this process is, for the people who read HEAD."""
    return f"{socket.gethostname()} process {os.getpid()}"
