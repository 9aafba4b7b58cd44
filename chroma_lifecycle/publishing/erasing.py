"""Erasing: once HEAD has begun a new era with nothing but clean content, every older name goes, in every version.

A sweep waits for readers and keeps what its bucket keeps; this does neither. Behind the fence it
may come at any time: what HEAD does not reach and is of an older era can never be named again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.ports import Store, StoredObject
from chroma_lifecycle.publishing.head import Head, read_head
from chroma_lifecycle.publishing.sweep import reached
from chroma_lifecycle.snapshot.names import Names


def begin_anew(head: Head) -> Head:
    """Return *head* so that nothing before its version lives: the floor is raised, and a new era begins.

    Raises:
        BadInput: Pins hold older versions; they are named.
    """
    if head.pins:
        pins = ", ".join(f"{name} (version {ref.version.number})" for name, ref in sorted(head.pins.items()))
        raise BadInput(
            f"pinned versions of {head.collection} may hold what is to be erased: {pins}",
            hint="end them with `chroma-lifecycle unpin`, then erase",
        )
    return replace(head, floor=head.version, sweeps=head.sweeps + 1, expiries=(), unpinned=())


@dataclass(frozen=True, slots=True)
class Remains:
    """What a store holds beside what lives and what the current era may name.

    Attributes:
        condemned: Of an older era of this lineage, and reached by nothing; unfinished files.
        foreign: Of another lineage, or unknown: nobody's to delete, and they may hold anything.
    """

    condemned: tuple[StoredObject, ...]
    foreign: tuple[StoredObject, ...]


def left_over(store: Store, collection: str, mirror: Store | None = None) -> Iterator[tuple[str, Remains]]:
    """Yield for *store*, and for *mirror*, its address and what is there that cannot be needed.

    Every version that is kept counts. Where nothing is condemned, nothing of an older era is left
    but what living versions reach.
    """
    judge = _judge_by_head(store, collection)
    for each in filter(None, (store, mirror)):
        yield each.address, judge.sort(each)


def erase_older(store: Store, collection: str, mirror: Store | None = None) -> Iterator[tuple[str, Remains]]:
    """Remove from *store*, and from *mirror*, every version of every name of an older era that HEAD does not reach.

    Yields:
        The address of each, what was removed there, and what is there that is not ours to remove.

    Raises:
        StoreUnavailable: One does not let itself be listed or deleted from; it can be done again.
    """
    judge = _judge_by_head(store, collection)
    for each in filter(None, (store, mirror)):
        gone = each.erase(judge.names.everything, judge.is_condemned)
        yield each.address, Remains(gone, judge.sort(each).foreign)


def _judge_by_head(store: Store, collection: str) -> _Judge:
    # HEAD, and what it reaches, before any listing: what is published since is of its era, or a later one.
    head = read_head(store, collection).head
    return _Judge(Names(collection), head, reached(store, head))


@dataclass(frozen=True, slots=True)
class _Judge:
    names: Names
    head: Head
    live: frozenset[str]

    def sort(self, store: Store) -> Remains:
        """Return what is in *store* beside what lives."""
        rows = [*store.remains(self.names.everything)]
        return Remains(tuple(filter(self.is_condemned, rows)), tuple(filter(self.is_foreign, rows)))

    def is_condemned(self, row: StoredObject) -> bool:
        if self._lives(row):
            return False
        if self.names.is_unfinished(row.name):
            return True
        era = self.names.era_of(row.name)
        if era is None or era.lineage not in (self.head.lineage, *self.head.came_from):
            return False
        return era.lineage != self.head.lineage or era.sweeps < self.head.sweeps

    def is_foreign(self, row: StoredObject) -> bool:
        if self._lives(row) or self.is_condemned(row):
            return False
        era = self.names.era_of(row.name)
        return era is None or era.lineage != self.head.lineage

    def _lives(self, row: StoredObject) -> bool:
        # HEADs hold no content.
        is_head = row.name == self.names.head or self.names.parse_head_name(row.name) is not None
        return is_head or row.name in self.live
