"""Adoption: an existing Chroma directory becomes version 1, its records older than every change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.config import Settings
from chroma_lifecycle.errors import BadInput, NotClosed
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, adopt
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.wiring import compactor
from tests.support.table import Table, in_sqs

MAPPING = load_mapping("receipts")
RECEIPT = "IMAGE#a#RECEIPT#00001"
WORDS = [f"{RECEIPT}#LINE#00001#WORD#{number:05d}" for number in range(1, 31)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A directory as people have them: two collections, another space each."""
    directory = tmp_path / "old"
    client = chromadb.PersistentClient(str(directory))
    for name, space in (("words", "ip"), ("others", "cosine")):
        collection = client.create_collection(name, embedding_function=None, configuration={"hnsw": {"space": space}})
        collection.add(
            ids=WORDS,
            embeddings=np.eye(30, 4, dtype=np.float32),
            documents=[f"{name} {number}" for number in range(30)],
            metadatas=[{"merchant_name": "stale", "x": number} for number in range(30)],
        )
    close_client(client)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "store")
    made.create_root()
    return made


def adopted(tmp_path: Path, old: Path, store: DirectoryStore, collection: str = "words") -> Published:
    with Workspace.open(tmp_path / "adopting") as workspace:
        beginning = Beginning(collection, MAPPING.digest, store, workspace, SYSTEM_CLOCK, "test")
        return adopt(beginning, old, lambda _: True, tail_budget=500)


def records(store: DirectoryStore, collection: str = "words") -> dict[str, Any]:
    """Return document and metadata of the newest version, by id."""
    manifest = read_published(store, collection).manifest
    with files_of(manifest, Stores(store)) as files, ManagedClient.open(files / "chroma", collection) as client:
        found = client.collection.get(include=["documents", "metadatas"])
    return dict(zip(found["ids"], zip(found["documents"], found["metadatas"], strict=True), strict=True))


def machine(tmp_path: Path, store: DirectoryStore) -> Compactor:
    return compactor(Settings(store=store.address, mapping="receipts", workspace=tmp_path / "workspace"))


def test_one_of_several_collections_becomes_version_1(tmp_path: Path, old: Path, store: DirectoryStore) -> None:
    """The collection of this name alone is taken, with its space, dimension and every record."""
    published = adopted(tmp_path, old, store, "others")

    details = published.manifest.details
    assert (1, "adopt", "cosine", 4) == (
        published.manifest.version.number,
        details.summary.action,
        details.space,
        details.dimension,
    )
    assert {id_: (f"others {n}", {"merchant_name": "stale", "x": n}) for n, id_ in enumerate(WORDS)} == records(
        store, "others"
    )


def test_the_directory_itself_is_not_changed(tmp_path: Path, old: Path, store: DirectoryStore) -> None:
    """What is adopted can go on being used beside."""
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    adopted(tmp_path, old, store)

    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}


def test_every_change_is_newer_than_what_was_adopted(tmp_path: Path, old: Path, store: DirectoryStore) -> None:
    """An edit beats the adopted metadata, and a removal deletes adopted records."""
    adopted(tmp_path, old, store)
    table = Table()
    table.put("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00002")
    with machine(tmp_path, store) as compacting:
        compacting.compact(
            in_sqs(
                [
                    table.put("IMAGE#a", "RECEIPT#00001#PLACE", merchant_name="new"),
                    table.remove("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00002"),
                ]
            )
        )

    found = records(store)
    assert set(WORDS) - {WORDS[1]} == set(found)
    assert {"new"} == {metadata["merchant_name"] for _, metadata in found.values()}
    assert set(range(30)) - {1} == {metadata["x"] for _, metadata in found.values()}


def test_an_id_that_does_not_fit_the_mapping_is_refused(tmp_path: Path, old: Path, store: DirectoryStore) -> None:
    """Nothing is published of a collection whose ids the mapping could never reach."""
    with Workspace.open(tmp_path / "adopting") as workspace:
        beginning = Beginning("words", MAPPING.digest, store, workspace, SYSTEM_CLOCK, "test")
        with pytest.raises(BadInput, match="WORD"):
            adopt(beginning, old, lambda id_: not id_.endswith("7"), tail_budget=500)

    assert [] == list(store.list("words/"))


def test_a_collection_that_is_not_there_is_named_with_those_that_are(
    tmp_path: Path, old: Path, store: DirectoryStore
) -> None:
    """Several collections are told apart by name."""
    with pytest.raises(BadInput, match="no collection 'lines'; allowed: others, words"):
        adopted(tmp_path, old, store, "lines")


def test_a_directory_that_is_open_is_refused(tmp_path: Path, old: Path, store: DirectoryStore) -> None:
    """What somebody may be writing is not adopted."""
    client = chromadb.PersistentClient(str(old))
    try:
        with pytest.raises(NotClosed, match="old"):
            adopted(tmp_path, old, store)
    finally:
        close_client(client)


def test_a_second_adoption_is_refused(tmp_path: Path, old: Path, store: DirectoryStore) -> None:
    """There is one lineage for a collection in a store."""
    adopted(tmp_path, old, store)

    with pytest.raises(BadInput, match="initialised"):
        adopted(tmp_path, old, store)
