"""One version that is served: open in a copy of its own, after it has answered a probe."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import version
from typing import Any, Self

from chroma_lifecycle.chroma.client import ManagedClient, installed_migrations
from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER, FileEntry
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.workspace import Workspace


class Serving:
    """A version, open for reading until it is closed.

    Attributes:
        manifest: The version; it is replaced when another one has the same Chroma files.
        readers: How many read it now; the shelf counts.
        ended: Whether it is closed, or about to be.
    """

    def __init__(self, manifest: Manifest, client: ManagedClient, closing: ExitStack) -> None:
        self.manifest = manifest
        self.readers = 0
        self.ended = False
        self._client = client
        self._closing = closing

    @classmethod
    def open(cls, workspace: Workspace, manifest: Manifest) -> Self:
        """Open the version that the workspace's pristine copy is, and let it answer.

        Raises:
            Corrupt: It does not hold what its manifest says.
            NoRoom: The disk lacks the room for a copy.
            BadInput: A newer Chroma wrote it.
        """
        with ExitStack() as closing:
            directory = closing.enter_context(workspace.serving())
            client = closing.enter_context(ManagedClient.open(directory / CHROMA, manifest.collection))
            probe(client, manifest)
            return cls(manifest, client, closing.pop_all())

    @property
    def number(self) -> int:
        """The number of the version."""
        return self.manifest.version.number

    def call(self, method: str, *arguments: object, **named: object) -> Any:
        """Return what Chroma's collection answers; its errors become ours.

        Raises:
            BadInput: Chroma refuses the arguments.
            Corrupt: Its engine fails.
        """
        with self._client.errors(f"{method}()", asked=True):
            return getattr(self._client.collection, method)(*arguments, **named)

    def attribute(self, name: str) -> Any:
        """Return an attribute of Chroma's collection."""
        return getattr(self._client.collection, name)

    def close(self) -> None:
        """Close the client, prove it, and remove the copy.

        Raises:
            NotClosed: Somebody else has the copy open; it is removed all the same.
        """
        self._closing.close()


def chroma_files(manifest: Manifest) -> tuple[FileEntry, ...]:
    """Return the files of a version that Chroma reads; two versions with the same ones answer alike."""
    return tuple(entry for entry in manifest.files if entry.path != LEDGER)


def require_readable(manifest: Manifest) -> None:
    """Refuse, before a byte of it is fetched, a version that the installed Chroma would spoil.

    Raises:
        BadInput: A newer Chroma wrote it; both releases are named.
    """
    wrote, installed = manifest.details.chroma, version("chromadb")
    if wrote.version != installed and (newer := sorted(set(wrote.migrations) - installed_migrations())):
        raise BadInput(
            f"version {manifest.version.number} of {manifest.collection} was written by chromadb {wrote.version}, "
            f"and chromadb {installed} is installed here, which does not know its migration {newer[-1]}",
            hint=f"install chromadb {wrote.version} or newer where the reader runs; upgrade readers before writers",
        )


def probe(client: ManagedClient, manifest: Manifest) -> None:
    """Ask a version for its count and for the nearest neighbour of a record: what a user will ask first.

    It also makes Chroma load the vectors and replay the write-ahead tail, so that no user waits for it.

    Raises:
        Corrupt: The answers are not what the manifest says.
    """
    expected = manifest.details.counts.records
    with client.errors("the probe"):
        found, some = client.collection.count(), client.collection.get(limit=1, include=["embeddings"])
        nearest = [[True]]
        if some["ids"]:
            nearest = client.collection.query(query_embeddings=some["embeddings"], n_results=1, include=[])["ids"]
    if found != expected or not nearest[0]:
        raise Corrupt(
            f"version {manifest.version.number} of {manifest.collection} has {expected:,} records, and Chroma finds "
            f"{found:,} of them{'' if nearest[0] else ', none by its vector'}",
            hint="run `chroma-lifecycle verify --deep`; `chroma-lifecycle log` lists older versions",
        )
