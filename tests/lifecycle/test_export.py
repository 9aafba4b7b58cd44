"""Export and import: what a version holds is in a file, and a collection that is made of the file is like it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pyarrow.parquet as pq
import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.convert import convert
from chroma_lifecycle.deltas.marks import DELTA, ORIGIN, Origin
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.exporting import export_records
from chroma_lifecycle.lifecycle import Beginning, adopt, import_records
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.rebuild import rebuild
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.upkeep import Site
from tests.support.deltas import record, write_parquet

OWN: dict[str, Any] = {"owner": "é", "count": 3, "share": 1.0, "open": True, "hnsw:num_threads": 3}
INDEX: dict[str, Any] = {"ef_construction": 77, "ef_search": 33, "max_neighbors": 9, "resize_factor": 1.5}
VECTORS = np.array([[1e-30, -0.0, 3e15], [0.1, 1 / 3, -2.5], [7.0, 8.0, 9.0]], np.float32)
RECORDS: list[tuple[str, str | None, dict[str, Any]]] = [
    ("a\u2028é", 'two\nlines, "quotes" and \U0001f40d', {"i": (1 << 63) - 1, "f": 1.0, "t": True, "s": "1", "n": -0.5}),
    ("b#1", None, {}),
    ("c", "", {"i": 1, "t": False}),
]


def store_in(home: Path, name: str) -> DirectoryStore:
    store = DirectoryStore(home / name)
    store.create_root()
    return store


def begun(store: DirectoryStore, workspace: Workspace, name: str = "words") -> Beginning:
    return Beginning(name, None, store, workspace, SYSTEM_CLOCK, "test")


def imported(home: Path, file: Path, store: DirectoryStore, name: str = "words", space: str | None = None) -> None:
    with Workspace.open(home / f"importing-{store.address.rpartition('/')[2]}") as workspace:
        import_records(
            begun(store, workspace, name),
            file.name,
            directory_deltas(file.parent),
            bool,
            space=space,
            tail_budget=500,
        )


@dataclass(frozen=True)
class Exported:
    """A collection with everything that a record and a collection can have, and its two exports."""

    store: DirectoryStore
    parquet: Path
    jsonl: Path
    before: dict[str, Any]


@pytest.fixture(scope="session", params=["l2", "cosine"])
def first(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    home, space = tmp_path_factory.mktemp("exported"), str(request.param)
    origin = Origin("words", 1, 3, space, "any", OWN, INDEX)
    ids, documents, metadatas = zip(*RECORDS, strict=True)
    with DeltaWriter(home / "first.parquet", dimension=3, origin=origin) as writer:
        writer.add(ids, VECTORS, documents, metadatas)
    store = store_in(home, "first")
    imported(home, home / "first.parquet", store)
    manifest, told = read_published(store, "words").manifest, list[int]()
    export_records(manifest, Stores(store), home / "words.jsonl", told.append)
    assert [3] == told
    (home / "delta").mkdir()
    records = open_delta("words.jsonl", directory_deltas(home), home / "delta", Expectation("words", 3, None, bool))
    convert(records, home / "words.parquet")
    return Exported(store, home / "words.parquet", home / "words.jsonl", content(store))


only_l2 = pytest.mark.parametrize("first", ["l2"], indirect=True)


def content(store: DirectoryStore, name: str = "words") -> dict[str, Any]:
    """Return everything that a reader can see of the newest version."""
    manifest = read_published(store, name).manifest
    with files_of(manifest, Stores(store)) as files, ManagedClient.open(files / "chroma", name) as client:
        found = client.collection.get(include=["documents", "metadatas", "embeddings"])
        configuration = client.collection.configuration["hnsw"]
        own = client.collection.metadata
    order = np.argsort(found["ids"])
    return {
        "ids": [found["ids"][at] for at in order],
        "vectors": np.array(found["embeddings"], np.float32)[order],
        "documents": [found["documents"][at] for at in order],
        # JSON tells 1, 1.0 and true apart, where Python's == does not.
        "metadatas": [json.dumps(found["metadatas"][at], sort_keys=True) for at in order],
        "own": json.dumps(own, sort_keys=True),
        "index": {key: configuration[key] for key in ("space", *INDEX)},
    }


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_what_is_exported_and_imported_is_the_same(tmp_path: Path, first: Exported, suffix: str) -> None:
    """Ids, documents, metadata to the type, the collection's own metadata and index; vectors bit for bit.

    In a cosine space Chroma gives vectors back rounded: there they are the same to the last digits.
    """
    second, space = store_in(tmp_path, "second"), first.before["index"]["space"]

    imported(tmp_path, first.parquet if suffix == "parquet" else first.jsonl, second)

    after = content(second)
    assert first.before | {"vectors": None} == after | {"vectors": None}
    assert (json.dumps(OWN, sort_keys=True), INDEX | {"space": space}) == (after["own"], after["index"])
    assert [json.dumps(metadata or None, sort_keys=True) for _, _, metadata in RECORDS] == after["metadatas"]
    assert [document for _, document, _ in RECORDS] == after["documents"]
    details = read_published(second, "words").manifest.details
    assert ("import", 3, space) == (details.summary.action, details.counts.records, details.space)
    if space == "cosine":
        np.testing.assert_allclose(VECTORS, after["vectors"], rtol=1e-6, atol=1e-6)
    else:
        assert VECTORS.tobytes() == after["vectors"].tobytes()


def test_an_adopted_collection_and_a_rebuilt_one_keep_what_they_say_of_themselves(tmp_path: Path) -> None:
    """Their metadata and their index: of a directory that Chroma wrote, and in another space."""
    client = chromadb.PersistentClient(str(tmp_path / "old"))
    configuration: Any = {"hnsw": {"space": "l2", **INDEX}}
    collection = client.create_collection("words", embedding_function=None, metadata=OWN, configuration=configuration)
    collection.add(ids=["a"], embeddings=VECTORS[:1])
    close_client(client)
    store = store_in(tmp_path, "adopted")
    with Workspace.open(tmp_path / "adopting") as workspace:
        adopt(begun(store, workspace), tmp_path / "old", bool, tail_budget=500)
    adopted = content(store)
    with Workspace.open(tmp_path / "rebuilding") as local:
        rebuild(Site("words", store, None, local, SYSTEM_CLOCK, "test"), space="ip", tail_budget=500)
    rebuilt = content(store)

    for found, space in ((adopted, "l2"), (rebuilt, "ip")):
        assert (json.dumps(OWN, sort_keys=True), INDEX | {"space": space}) == (found["own"], found["index"])


@only_l2
def test_an_import_may_have_another_name_and_space(tmp_path: Path, first: Exported) -> None:
    """A copy for trying something: the same records, measured otherwise."""
    second = store_in(tmp_path, "second")

    imported(tmp_path, first.jsonl, second, "trial", "ip")

    after = content(second, "trial")
    assert ("ip", 33) == (after["index"]["space"], after["index"]["ef_search"])
    assert first.before["metadatas"] == after["metadatas"]


@only_l2
def test_a_torn_export_is_refused(tmp_path: Path, first: Exported) -> None:
    """A line that is missing, a digit that differs, a file that was cut off: the digest says so, and nothing begins."""
    lines = first.jsonl.read_text("utf-8").splitlines(keepends=True)
    torn = {
        "short.jsonl": "".join(lines[:-1]).encode(),
        "changed.jsonl": "".join(lines).replace("-2.5", "-2.25").encode(),
        "cut.parquet": first.parquet.read_bytes()[:-20],
    }
    second = store_in(tmp_path, "second")
    for name, body in torn.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(BadInput, match=r"its content is not what its writer put there|no sound Parquet"):
            imported(tmp_path, tmp_path / name, second)
    assert [] == [path for path in (tmp_path / "second").rglob("*") if path.is_file()]


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "has format 2 of deltas; this release knows 1"),
    ({"format": "1"}, "is damaged"),
    ({"space": "l3"}, "is damaged"),
    ({"space": ["l2"]}, "is damaged"),
    ({"collection": "../x"}, "is damaged"),
    ({"version": 0}, "is damaged"),
    ({"dimension": True}, "is damaged"),
    ({"metadata": {"a": [1]}}, "is damaged"),
    ({"metadata": {"a": "x" * 70_000}}, "is damaged"),
    ({"hnsw": {"ef_search": 1 << 40}}, "is damaged"),
    ({"hnsw": {"resize_factor": 0.5}}, "is damaged"),
    ({"hnsw": {"num_threads": 1}}, "is damaged"),
    ({"hnsw": {"ef_search": 1.5}}, "is damaged"),
    ({"hnsw": {"ef_search": True}}, "is damaged"),
    ({"hnsw": []}, "is damaged"),
]


@pytest.mark.parametrize(("changes", "problem"), HOSTILE, ids=lambda each: str(each)[:40])
def test_what_a_file_says_of_its_collection_is_not_believed_unseen(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    """A file comes from anybody: what is no setting is refused, in both forms, before anything is made of it."""
    origin = {
        "format": 1,
        "collection": "words",
        "version": 1,
        "dimension": 3,
        "space": "l2",
        "chroma": "1.5.9",
        "metadata": {},
        "hnsw": {},
    }
    marks = {DELTA: {"format": 1, "count": 1, "content": "0" * 64}, ORIGIN: origin | changes}
    (tmp_path / "bad.jsonl").write_text(f"{json.dumps(marks)}\n{json.dumps(record('a'))}\n")
    table = pq.ParquetFile(_parquet(tmp_path)).read()
    footer = {name.encode(): json.dumps(value).encode() for name, value in marks.items()}
    pq.write_table(table.replace_schema_metadata(footer), tmp_path / "bad.parquet")
    second = store_in(tmp_path, "second")

    for name in ("bad.jsonl", "bad.parquet"):
        with pytest.raises(BadInput, match=problem):
            imported(tmp_path, tmp_path / name, second)
    assert [] == [path for path in (tmp_path / "second").rglob("*") if path.is_file()]


def _parquet(home: Path) -> Path:
    return write_parquet(home / "plain.parquet", [record("a")])


def test_any_file_of_records_begins_a_collection(tmp_path: Path) -> None:
    """Without marks: the dimension is that of the records, and the space the one that is given, or cosine."""
    given, default = store_in(tmp_path, "given"), store_in(tmp_path, "default")
    file = _parquet(tmp_path)

    imported(tmp_path, file, given, space="ip")
    imported(tmp_path, file, default)

    assert (3, "ip") == (lambda details: (details.dimension, details.space))(
        read_published(given, "words").manifest.details
    )
    assert "cosine" == read_published(default, "words").manifest.details.space
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(BadInput, match=r"there is no record in 'none.jsonl' .*init with --dimension"):
        imported(tmp_path, tmp_path / "none.jsonl", store_in(tmp_path, "third"))


@only_l2
def test_damage_in_the_store_is_no_export(tmp_path: Path, first: Exported) -> None:
    """C8: every byte of the version is proven before a record of it is written; no file appears."""
    shutil.copytree(first.store.address, tmp_path / "damaged")
    damaged = DirectoryStore(tmp_path / "damaged")
    for path in (tmp_path / "damaged" / "words" / "objects").rglob("*"):
        if path.is_file():
            body = bytearray(path.read_bytes())
            body[len(body) // 2] ^= 1
            path.write_bytes(body)

    with pytest.raises(Corrupt):
        export_records(
            read_published(damaged, "words").manifest, Stores(damaged), tmp_path / "words.parquet", lambda _: None
        )
    assert not (tmp_path / "words.parquet").exists()
