"""Which names of a store may be deleted: a pure judgement of a listing by a HEAD.

A manifest may name what the HEAD that it replaces retains, and names of that HEAD's own era.
So when HEAD has been swapped for one of a later era, a name of an older era that this HEAD does
not retain can never be named again, whoever sleeps: it is condemned, and may be deleted at any
later time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chroma_lifecycle.ports import StoredObject
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.snapshot.names import Names

DEFAULT_GRACE = timedelta(hours=24)
"""Protects readers and work in progress; correctness does not need it."""

KEPT_HEADS = 16
"""So many files of ``heads/`` stay, for `recover` and for people."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a listing holds beside what lives.

    Attributes:
        condemned: Nothing that HEAD retains reaches them; to be deleted behind a fence.
        young: The same, but they are younger than the grace period: work in progress, perhaps.
        foreign: Of another lineage, or of an era that this HEAD has not come to: nobody's to delete.
        unknown: Their names are none of ours.
        spare_heads: Old files of ``heads/``; no fence is needed for them.
        live: How many names are reached.
    """

    condemned: tuple[StoredObject, ...] = ()
    young: tuple[StoredObject, ...] = ()
    foreign: tuple[StoredObject, ...] = ()
    unknown: tuple[StoredObject, ...] = ()
    spare_heads: tuple[StoredObject, ...] = ()
    live: int = 0


def after_grace(head: Head, before: datetime) -> Head:
    """Return *head* without what expired or was unpinned *before* a moment: its floor is raised past it."""
    passed = [expiry.bound for expiry in head.expiries if expiry.time <= before]
    floor = max([head.floor, *passed])
    return replace(
        head,
        floor=floor,
        expiries=tuple(expiry for expiry in head.expiries if expiry.bound > floor),
        unpinned=tuple(old for old in head.unpinned if old.time > before),
    )


def fence(head: Head) -> Head:
    """Return *head* in its next era, in which nothing that it does not retain can be named again."""
    return replace(head, sweeps=head.sweeps + 1)


def judge(
    rows: Iterable[StoredObject],
    head: Head,
    live: Collection[str],
    *,
    before: datetime | None,
    named: Collection[str] = (),
) -> Judged:
    """Sort the *rows* of a listing that was made before *head* was read.

    Args:
        rows: Every name of the collection.
        head: What decides; names of its own era are condemned by the fence that follows it.
        live: What the versions that it retains reach.
        before: What is not older than this is left alone; ``None`` for no such moment.
        named: Foreign and unknown names that are to go all the same, or ids of foreign lineages.
    """
    judge_row = _Judge(Names(head.collection), head, frozenset(live), before, frozenset(named))
    piles: dict[str, list[StoredObject]] = {pile: [] for pile in Judged.__slots__}
    for row in rows:
        piles[judge_row.pile(row)].append(row)
    heads = piles["spare_heads"]  # in the order of their names, which is that of their serials
    return Judged(
        condemned=tuple(piles["condemned"]),
        young=tuple(piles["young"]),
        foreign=tuple(piles["foreign"]),
        unknown=tuple(piles["unknown"]),
        spare_heads=tuple(heads[:-KEPT_HEADS]),
        live=len(piles["live"]),
    )


@dataclass(frozen=True, slots=True)
class _Judge:
    names: Names
    head: Head
    live: frozenset[str]
    before: datetime | None
    named: frozenset[str]

    def pile(self, row: StoredObject) -> str:
        """Return where a row belongs, by the name of a field of :class:`Judged`."""
        if self.names.parse_head_name(row.name) is not None:
            return "spare_heads"
        if row.name == self.names.head or row.name in self.live:
            return "live"
        if (era := self.names.era_of(row.name)) is None:
            return self._by_age(row) if row.name in self.named else "unknown"
        if era.lineage == self.head.lineage:
            # A later era than HEAD's: somebody put an older HEAD back, `recover` may need it, and
            # once HEAD comes to that era it can be named again.
            return self._by_age(row) if era.sweeps <= self.head.sweeps else "foreign"
        is_own = era.lineage in self.head.came_from or not self.named.isdisjoint({row.name, era.lineage})
        return self._by_age(row) if is_own else "foreign"

    def _by_age(self, row: StoredObject) -> str:
        return "condemned" if self.before is None or row.modified <= self.before else "young"
