"""A collection's life beside its cycles: begin it, verify it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.chroma.deep import Probe, verify_deep
from chroma_lifecycle.clock import Clock, Deadline
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.history import Verified, verify_store
from chroma_lifecycle.publishing.publish import initialise
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.details import ChromaVersion, Counts, Details, Summary
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Digest


def begin(
    collection: str,
    *,
    settings: CollectionSettings,
    mapping: Digest | None,
    store: Store,
    workspace: Workspace,
    clock: Clock,
    writer: str,
) -> Published:
    """Publish version 1 of *collection*: no records, no facts; dimension and space are fixed for ever.

    Raises:
        BadInput: There is such a collection in the store, or what is left of one.
    """
    with workspace.blank() as working:
        with ManagedClient.open(working / CHROMA, collection, create=settings):
            pass
        Ledger.create(working / LEDGER).close()
        sealed = seal(working, full=True)
        details = Details(
            summary=Summary("init"),
            counts=Counts(records=0, facts=0),
            chroma=ChromaVersion(version("chromadb"), sealed.soundness.migrations),
            dimension=settings.dimension,
            space=settings.space,
            mapping=mapping,
            verified=True,
        )
        return initialise(
            sealed,
            collection=collection,
            details=details,
            workspace=workspace,
            store=store,
            deadline=Deadline(),
            clock=clock,
            writer=writer,
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Attributes:
        stored: What the store holds, every digest proven.
        records: How many there are, by a look at every page; ``None`` if the objects are damaged.
        probes: How records answered, if they were asked.
    """

    version: int
    stored: Verified
    records: int | None
    probes: tuple[Probe, ...] = ()


def verify(collection: str, stores: Stores, *, every_version: bool = False, deep: bool = False) -> Verification:
    """Prove every object in the store, then lay the newest version out and check every page of it.

    Args:
        collection: Whose.
        stores: The mirror is not looked at: what counts is the store.
        every_version: Prove the objects of every retained version.
        deep: Let records find themselves too, in a child process.

    Raises:
        Corrupt: The objects are as published, and the files that they make are not sound.
    """
    published = read_published(stores.store, collection)
    stored = verify_store(published, stores.store, every_version=every_version)
    number = published.manifest.version.number
    if stored.damage:
        return Verification(number, stored, None)
    with files_of(published.manifest, Stores(stores.store)) as files:
        found = seal(files, full=True).soundness
        probes = verify_deep(files / CHROMA) if deep else ()
    return Verification(number, stored, sum(state.records or 0 for state in found.collections), probes)
