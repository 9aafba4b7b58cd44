"""The whole product on real parts: real Chroma, real files, the receipts mapping, a directory store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient, Space
from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.config import Settings
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping, parse_mapping
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import Layout
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.report import Report
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.wiring import compactor, open_store
from tests.model.reference import Record
from tests.support.table import Table, in_sqs

COLLECTIONS = ("words", "lines")
DIMENSION = 4
IMAGE = "IMAGE#a"
LINE = f"{IMAGE}#RECEIPT#00001#LINE#00001"
WORD = f"{LINE}#WORD#00001"
RUN = (IMAGE, "RECEIPT#00001#COMPACTION_RUN#r1")


def vector(tag: int) -> list[float]:
    """Return the vector that stands for a tag of the model."""
    return [float(tag), 1.0, 0.0, 0.5]


@dataclass
class World:
    """A store, a mirror, a place for deltas, and what compacts, below one directory.

    Attributes:
        home: The directory.
        address: Where the store is; by default in the directory too.
        dimension: Of the vectors; those of the model have numbers at the beginning alone.
        space: How distances are measured.
        table: The name of one in DynamoDB that is told how runs ended.
    """

    home: Path
    address: str | None = None
    dimension: int = DIMENSION
    space: Space = "l2"
    table: str | None = None

    @property
    def settings(self) -> Settings:
        return Settings(
            store=self.address or str(self.home / "store"),
            mapping="receipts",
            mirror=str(self.home / "mirror"),
            workspace=self.home / "workspace",
            deltas=(str(self.home / "deltas"),),
            table=self.table,
            deadline_reserve_seconds=1.0,
        )

    @property
    def store(self) -> Store:
        return open_store(self.settings.store)

    @property
    def mirror(self) -> Store:
        return DirectoryStore(self.home / "mirror", mirror_only=True)

    def begin(self) -> World:
        """Begin both collections."""
        for name in ("store", "mirror", "deltas"):
            (self.home / name).mkdir(parents=True)
        for collection in COLLECTIONS:
            with Workspace.open(self.home / "beginning" / collection) as workspace:
                digest = load_mapping("receipts").digest
                beginning = Beginning(collection, digest, self.store, workspace, SYSTEM_CLOCK, "test")
                begin(beginning, CollectionSettings(self.space, self.dimension))
        return self

    def vector(self, tag: int) -> list[float]:
        """Return the vector that stands for a tag, as long as this world's are."""
        return vector(tag) + [0.0] * (self.dimension - DIMENSION)

    def compactor(self, workspace: str = "workspace", *, store: Store | None = None) -> Compactor:
        """Return a container: warm as long as it is used; *store* may stand before the real one."""
        made = compactor(replace(self.settings, workspace=self.home / workspace))
        return made if store is None else Compactor(replace(made._around, store=store), made._root)

    def mapping_of(self, rules: str | None = None) -> TableMapping:
        """Return what the text of a mapping says, by default that of receipts."""
        return load_mapping("receipts") if rules is None else parse_mapping(rules, "test.yaml")

    def lineages(self, collection: str) -> list[str]:
        """Return the names of the lineages that make up a collection."""
        return [collection]

    def layout_of(self, collection: str) -> Layout | None:
        """Return the layout of a collection, if it is in shards."""
        del collection
        return None

    def compact(self, records: list[Any], *, deadline: Deadline | None = None) -> Report:
        """Compact one SQS batch in a container of its own."""
        with self.compactor() as machine:
            return machine.compact(in_sqs(records), deadline)

    def write_delta(self, address: str, records: Mapping[str, Record]) -> None:
        """Write a delta where its run will look for it."""
        path = self.home / "deltas" / f"{address}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with DeltaWriter(path, dimension=self.dimension) as writer:
            writer.add(
                list(records),
                np.array([self.vector(tag) for tag, _, _ in records.values()], np.float32).reshape(-1, self.dimension),
                [document for _, document, _ in records.values()],
                [metadata for _, _, metadata in records.values()],
            )

    def published(self, collection: str = "words", store: Store | None = None) -> Published:
        return read_published(store or self.store, collection)

    def version(self, collection: str = "words") -> int:
        return read_head(self.store, collection).head.version.number

    def records(self, collection: str = "words", store: Store | None = None) -> dict[str, Record]:
        """Return the records of the newest version as the model writes them, by id."""
        source = store or self.store
        manifest = self.published(collection, source).manifest
        with files_of(manifest, Stores(source)) as files:
            return records_of(manifest, files, collection)

    def everything(self, store: Store | None = None) -> dict[str, dict[str, Record]]:
        """Return the records of all collections, as the model has them."""
        return {collection: self.records(collection, store) for collection in COLLECTIONS}

    def stored(self) -> dict[str, bytes]:
        """Return every file of the store."""
        root = self.home / "store"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


_read: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, Record]] = {}
"""What Chroma gave back of files by their digests; of the same bytes it gives the same."""


def records_of(manifest: Manifest, files: Path, collection: str) -> dict[str, Record]:
    """Return the records of a version as the model writes them, by id; *files* are proven to be the version's."""
    digests = tuple(sorted((file.path, file.digest) for file in manifest.files if file.path.startswith("chroma/")))
    if (known := _read.get((collection, digests))) is not None:
        return dict(known)
    with ManagedClient.open(files / "chroma", collection, everywhere=False) as client:
        found = client.collection.get(include=["documents", "metadatas", "embeddings"])
    rows = zip(found["ids"], found["embeddings"], found["documents"], found["metadatas"], strict=True)
    records = {id_: (_tag(vector_), document, metadata or {}) for id_, vector_, document, metadata in rows}
    _read[collection, digests] = records
    return dict(records)


def _tag(found: Any) -> int:
    """Return the tag of a vector, of which every number is what was written."""
    tag = int(found[0])
    assert vector(tag) == list(found)
    return tag


def label(table: Table, name: str, status: str = "VALID", word: int = 1) -> dict[str, Any]:
    """Label a word of the first line."""
    return table.put(IMAGE, f"RECEIPT#00001#LINE#00001#WORD#{word:05d}#LABEL#{name}", validation_status=status)


def with_word(world: World, table: Table) -> None:
    """Publish one record."""
    world.write_delta("r1", {WORD: (1, "text", {"x": 1})})
    assert 1 == world.compact([table.put(*RUN, **begins("r1"))]).applied


def begins(address: str, collection: str = "words") -> dict[str, str]:
    """Return the attributes with which a run announces a delta."""
    return {f"{collection}_delta_prefix": f"{address}.parquet", f"{collection}_state": "PENDING"}
