"""C12: a snapshot that an older Chroma wrote goes on as a new version, and stays what it was as the old one."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.client import ManagedClient, installed_migrations
from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.config import Settings
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.planning.facts import RunFact
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.publish import initialise
from chroma_lifecycle.publishing.restore import read_published, restore_to
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.details import ChromaVersion, Counts, Details, Summary
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from chroma_lifecycle.values import ADOPTED, ItemKey, digest_of
from chroma_lifecycle.wiring import compactor
from tests.support.chroma_directories import COLLECTION, vectors
from tests.support.table import Table, in_sqs

GOLDEN = sorted((Path(__file__).parents[1] / "closing" / "golden").glob("chromadb-*.tar.gz"))
MAPPING = """
mapping: 1
table: {partition_key: PK}
collections: {words: "r{number:d}"}
rules:
  label: {item: {PK: "r{number:d}"}, set: {words: {label: label}}}
"""


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name.removesuffix(".tar.gz"))
def older(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[DirectoryStore, Path]:
    """A store whose version 1 is as another Chroma wrote it, and the mapping under which it goes on."""
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(MAPPING)
    store = DirectoryStore(tmp_path / "store")
    store.create_root()
    with Workspace.open(tmp_path / "first") as workspace, workspace.blank() as working:
        with tarfile.open(request.param) as tar:
            tar.extractall(working, filter="data")
        written_by = frozenset(soundness.examine(working / "chroma").migrations)
        if not written_by <= installed_migrations():
            pytest.skip("written by a newer Chroma")
        ids = [f"r{number}" for number in range(25)]
        run = RunFact(ItemKey(""), "adopted", ADOPTED, digest_of(b"golden"), len(ids))
        with Ledger.create(working / "ledger.sqlite3") as ledger:
            written = {(run.item, run.address): ids}
            ledger.store(LedgerChanges(runs=(run,), written=written), received_seconds=1)
        sealed = seal(working, full=True, records=len(ids))
        initialise(
            sealed,
            collection=COLLECTION,
            details=_details(sealed.soundness, str(mapping)),
            workspace=workspace,
            store=store,
            deadline=Deadline(),
            clock=SYSTEM_CLOCK,
            writer="test",
        )
    return store, mapping


def _details(found: soundness.Soundness, mapping: str) -> Details:
    return Details(
        summary=Summary("adopt", added=25),
        counts=Counts(25, 1, tail=found.tail),
        chroma=ChromaVersion("an older one", found.migrations),
        dimension=found.collections[0].dimension or 0,
        space="cosine",
        mapping=load_mapping(mapping).digest,
        verified=True,
    )


def test_an_older_snapshot_goes_on_as_a_new_version(older: tuple[DirectoryStore, Path], tmp_path: Path) -> None:
    """Its migrations are those of the installed Chroma from then on; the version before can be restored as it was."""
    store, mapping = older
    before = _history(store)[-1]
    settings = Settings(store=str(tmp_path / "store"), mapping=str(mapping), workspace=tmp_path / "workspace")
    with compactor(settings) as machine:
        report = machine.compact(in_sqs([Table(sort_key=None).put("r7", label="seven")]))
    assert (1, ()) == (report.applied, report.failures)

    new, old = _history(store)
    assert (2, before) == (new.version.number, old)
    assert installed_migrations() == frozenset(new.details.chroma.migrations)
    restore_to(tmp_path / "old", old, store, None, Deadline())
    assert old.details.chroma.migrations == soundness.examine(tmp_path / "old" / "chroma", full=True).migrations
    restore_to(tmp_path / "new", new, store, None, Deadline())
    with ManagedClient.open(tmp_path / "new" / "chroma", COLLECTION) as client:
        assert 25 == client.collection.count()
        assert "seven" == client.collection.get(ids=["r7"])["metadatas"][0]["label"]
        assert [["r7"]] == client.collection.query(query_embeddings=vectors(8)[7:], n_results=1)["ids"]


def _history(store: DirectoryStore) -> list[Any]:
    return [manifest for _, manifest in walk(store, read_published(store, COLLECTION).head)]
