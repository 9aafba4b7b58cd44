"""Real version directories, and a place to publish them from.

The Chroma directory is made once by Chroma itself; tests change it through plain SQLite, which
changes pages as Chroma does and needs no client.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from chroma_lifecycle.clock import SYSTEM_CLOCK, Clock, Deadline
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.publish import Published, initialise, publish
from chroma_lifecycle.publishing.restore import bring_forward, read_published
from chroma_lifecycle.snapshot.details import Details, Summary
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.sealed import SealedSnapshot, seal
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.versions import COLLECTION, DETAILS

RECORDS = 1_200


@cache
def chroma_template() -> Path:
    """A Chroma directory of 1,200 records with vectors in HNSW files and a tail; made once a process."""
    import chromadb
    from chromadb.config import Settings

    directory = Path(mkdtemp(prefix="chroma-template-"))
    client = chromadb.PersistentClient(str(directory / CHROMA), settings=Settings(anonymized_telemetry=False))
    collection = client.create_collection(COLLECTION, embedding_function=None)
    collection.add(
        ids=[f"WORD#{n:05d}" for n in range(RECORDS)],
        embeddings=[[float((n * k) % 97) / 97 for k in range(1, 17)] for n in range(RECORDS)],
        documents=[f"document number {n}" for n in range(RECORDS)],
        metadatas=[{"n": n, "label": "none"} for n in range(RECORDS)],
    )
    client.close()
    return directory


def make_version(directory: Path) -> None:
    """Fill *directory* with the files of a version: Chroma's, and a ledger."""
    shutil.copytree(chroma_template() / CHROMA, directory / CHROMA)
    with closing(sqlite3.connect(directory / LEDGER)) as ledger, ledger:
        ledger.execute("CREATE TABLE facts (item TEXT PRIMARY KEY, value TEXT)")


def note_fact(directory: Path, item: str, value: str = "x") -> None:
    """Change the ledger."""
    with closing(sqlite3.connect(directory / LEDGER)) as ledger, ledger:
        ledger.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (item, value))


def facts(directory: Path) -> dict[str, str]:
    """What the ledger holds."""
    with closing(sqlite3.connect(f"file:{directory / LEDGER}?mode=ro&immutable=1", uri=True)) as ledger:
        return dict(ledger.execute("SELECT item, value FROM facts"))


def set_labels(directory: Path, label: str, numbers: range) -> None:
    """Change the metadata of some records."""
    with closing(sqlite3.connect(directory / CHROMA / "chroma.sqlite3")) as database, database:
        database.execute(
            "UPDATE embedding_metadata SET string_value = ? WHERE key = 'label' AND id BETWEEN ? AND ?",
            (label, numbers.start + 1, numbers.stop),
        )


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file below *directory*."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def details(action: str = "compact", **changes: object) -> Details:
    """Details of a version; the digest of the mapping and the rest do not matter to publishing."""
    return replace(DETAILS, summary=Summary(action), **changes)  # type: ignore[arg-type]


@dataclass
class Site:
    """A workspace and a store: what one compactor has."""

    workspace: Workspace
    store: Store
    mirror: Store | None = None
    writer: str = "test"
    clock: Clock = SYSTEM_CLOCK

    def initialise(self) -> Published:
        with self.workspace.blank() as directory:
            make_version(directory)
            return initialise(
                seal(directory),
                collection=COLLECTION,
                details=details("init"),
                workspace=self.workspace,
                store=self.store,
                deadline=Deadline(),
                clock=self.clock,
                writer=self.writer,
            )

    def restore(self) -> Published:
        published = read_published(self.store, COLLECTION, local=self.workspace.pristine.version())
        return bring_forward(self.workspace, published, self.store, self.mirror, Deadline()).published

    @contextmanager
    def sealed(
        self, *, fact: str | None = None, label: str | None = None, numbers: range = range(100)
    ) -> Iterator[SealedSnapshot]:
        """A cycle's work on what the workspace holds: a new fact, and labels if *label* is given."""
        version = self.workspace.pristine.version()
        assert version is not None
        with self.workspace.working(chroma=label is not None) as directory:
            if fact is not None:
                note_fact(directory, fact)
            if label is not None:
                set_labels(directory, label, numbers)
            rest = [entry.path for entry in version.manifest.files if not (directory / entry.path).exists()]
            yield seal(directory, pristine=self.workspace.pristine.root, pristine_files=rest)

    def publish(self, sealed: SealedSnapshot, parent: Published, *, deadline: Deadline | None = None) -> Published:
        return publish(
            sealed,
            parent=parent,
            details=details(),
            workspace=self.workspace,
            store=self.store,
            deadline=deadline or Deadline(),
            clock=self.clock,
            writer=self.writer,
        )

    def cycle(self, **changes: object) -> Published:
        """Restore, change, seal, publish."""
        parent = self.restore()
        with self.sealed(**changes) as sealed:  # type: ignore[arg-type]
            return self.publish(sealed, parent)

    def publish_base(self, *, fact: str) -> Published:
        """A cycle without a proven local copy: it publishes a base."""
        parent = self.restore()
        with self.workspace.blank() as directory:
            shutil.copytree(self.workspace.pristine.root, directory, dirs_exist_ok=True)
            note_fact(directory, fact)
            sealed = seal(directory)
            self.workspace.pristine.forget()
            return self.publish(sealed, parent)
