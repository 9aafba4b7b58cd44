"""What the page is about: one row for each version, read from the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from chroma_lifecycle.errors import Corrupt, LifecycleError, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head, find_head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.snapshot.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Row:
    """One version.

    Attributes:
        added: Records that were not there before; ``changed`` and ``removed`` likewise.
        size_bytes: Of its files: what a copy of the whole directory would move.
        stored_bytes: What was stored for it, its manifest's pack included.
        packs: How many packs a restore applies to the base.
        tail: Vector operations that a reader replays.
        milliseconds: How long the phases before the publishing took.
    """

    version: int
    written_at: datetime
    action: str
    added: int
    changed: int
    removed: int
    records: int
    withheld: int
    size_bytes: int
    stored_bytes: int
    packs: int
    tail: int
    verified: bool
    milliseconds: Mapping[str, int]

    @classmethod
    def of(cls, manifest: Manifest) -> Row:
        details = manifest.details
        return cls(
            version=manifest.version.number,
            written_at=manifest.written_at,
            action=details.summary.action,
            added=details.summary.added,
            changed=details.summary.changed,
            removed=details.summary.removed,
            records=details.counts.records,
            withheld=details.counts.withheld,
            size_bytes=manifest.size,
            stored_bytes=manifest.stored_bytes,
            packs=len(manifest.chain.packs),
            tail=details.counts.tail,
            verified=details.verified,
            milliseconds=details.milliseconds,
        )


@dataclass(frozen=True, slots=True)
class MirrorSeen:
    """What the mirror's HEAD says, or why it says nothing."""

    address: str
    version: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """A collection as its store tells it.

    Attributes:
        address: Of the store.
        newest: The manifest that HEAD names.
        rows: Versions, the oldest first; the newest one is the last.
        broken: Why the walk ended before the floor, if it did.
        mirror: What the mirror says, if there is one.
        read_at: The store's time of the reading.
    """

    address: str
    head: Head
    newest: Manifest
    rows: tuple[Row, ...]
    broken: str | None
    mirror: MirrorSeen | None
    read_at: datetime


def read_history(
    store: Store,
    collection: str,
    *,
    mirror: Store | None = None,
    most: int = 1_000,
    tell: Callable[[int], None] = lambda _: None,
) -> History:
    """Read the newest *most* versions; a damaged one ends the walk, and is named, not raised.

    Args:
        store: Where the collection is.
        collection: Whose history.
        mirror: Looked at too.
        most: No more versions than this.
        tell: Called with the number of versions read so far.

    Raises:
        NotInitialised: There is no such collection.
        Corrupt: HEAD or the newest manifest is damaged: there is no page without them.
        StoreUnavailable: The store does not answer.
    """
    published = read_published(store, collection)
    rows: list[Row] = []
    broken = None
    try:
        for _, manifest in walk(store, published.head):
            rows.append(Row.of(manifest))
            tell(len(rows))
            if len(rows) == most:
                break
    except (Corrupt, ObjectMissing) as problem:
        broken = problem.message
    return History(
        address=store.address,
        head=published.head,
        newest=published.manifest,
        rows=tuple(reversed(rows)),
        broken=broken,
        mirror=None if mirror is None else _look_at(mirror, collection),
        read_at=store.now(),
    )


def _look_at(mirror: Store, collection: str) -> MirrorSeen:
    try:
        seen = find_head(mirror, collection)
    except LifecycleError as problem:
        return MirrorSeen(mirror.address, problem=problem.message)
    return MirrorSeen(mirror.address, version=seen.head.version.number if seen else None)
