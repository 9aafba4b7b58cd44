"""Facts: what the ledger knows of the table's items, and how a change joins them.

Joining takes the newest position of each thing that a fact knows. So facts that are received
in any order, in any batches, any number of times, end the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from chroma_lifecycle.intake.changes import AttributeValue, ContributeFields, DeleteRecords, Image, WithdrawFields
from chroma_lifecycle.values import ADOPTED, Digest, ItemKey, Ordering, Position, value_class

LEEWAY_SECONDS = 2
"""A change is told to be older than a reading of the table by its time, which is exact to one second; a
change as near as this to the reading is compared by its sequence instead."""


@value_class
class FieldFact:
    """The attributes of an item that its rule reads, each as new as we know it.

    Attributes:
        rule: The mapping's rule that took the item.
        item: Key of the item.
        reach: Id of the records that the item reaches, or the prefix of all of them.
        position: Of the newest full image or REMOVE. Every attribute was moved by it.
        seen: Of the newest event of any kind.
        present: Whether that event left the item in the table.
        attributes: What the item held at *position*.
        later: Attributes that partial images moved since, with their positions.
        as_of: When the item was last read from the table itself, in seconds of the Unix epoch; 0 if
            it never was. What happened to it more than `LEEWAY_SECONDS` before is known.
    """

    rule: str
    item: ItemKey
    reach: str
    position: Position
    seen: Position
    present: bool
    attributes: Image = field(default_factory=dict)
    later: Mapping[str, tuple[Position, AttributeValue]] = field(default_factory=dict)
    as_of: int = 0

    def covers(self, position: Position) -> bool:
        """Return whether a change at *position* was seen when the item was read from the table."""
        return position.created_seconds < self.as_of - LEEWAY_SECONDS

    def moved_at(self, attribute: str) -> Position:
        """Return the position of the newest event that told the value of *attribute*."""
        return self.later[attribute][0] if attribute in self.later else self.position

    def among(self, ordering: Ordering) -> tuple[object, ...]:
        """Return what orders this fact among those of any item."""
        return self.seen.among(ordering, self.item)

    @property
    def image(self) -> Image | None:
        """What the item holds by all that we know; ``None`` if it is gone."""
        if not self.present:
            return None
        if not self.later:
            return self.attributes
        return {**self.attributes, **{name: value for name, (_, value) in self.later.items()}}


ERASED = ""
"""In the place of the rule of a `Tombstone`: no rule can be called so."""


@value_class
class Tombstone:
    """The newest REMOVE of an item whose removal deletes records; nothing lifts it.

    Attributes:
        rule: Whose removal deletes; `ERASED` where the record was erased: then *item* is that of the run that
            had written it.
    """

    rule: str
    item: ItemKey
    reach: str
    position: Position

    def among(self, ordering: Ordering) -> tuple[object, ...]:
        """Return what orders this tombstone among runs and tombstones of any item."""
        return self.position.among(ordering, self.item)


RunKey = tuple[ItemKey, str]
"""A run item and the address of a delta."""


@value_class
class RunFact:
    """A delta that was merged for a run item.

    Attributes:
        item: Key of the run item.
        address: Where the delta lies; it holds one content for ever.
        position: Of the newest event that began it.
        digest: Of the delta's content.
        records: How many records the delta holds.
    """

    item: ItemKey
    address: str
    position: Position
    digest: Digest
    records: int

    def among(self, ordering: Ordering) -> tuple[object, ...]:
        """Return what orders this run among runs and tombstones of any item."""
        return self.position.among(ordering, self.item)


def join_fields(
    fact: FieldFact | None,
    change: ContributeFields | WithdrawFields,
    withheld: FieldFact | None = None,
    read_at: int = 0,
) -> FieldFact | None:
    """Return the fact as *change* leaves it, or ``None`` if the change tells nothing new.

    Args:
        fact: What is known of the item and counts.
        change: Of the same item.
        withheld: What is known of it and does not count. What *change* tells is new only as far as
            it is newer than this too.
        read_at: When the table was read that the item was not in, if nothing is known of it.
    """
    known = fact or _nothing_of(change, read_at)
    everything = known if withheld is None else merge_fields(known, withheld)
    if everything.covers(change.origin.position):
        return None
    joined = _join(everything, change)
    if joined is everything or joined == everything:
        return None
    if withheld is None:
        return joined
    if isinstance(change, ContributeFields) and change.partial:
        image = {
            name: value for name, value in change.image.items() if everything.moved_at(name) < change.origin.position
        }
        change = replace(change, image=image)
    joined = _join(known, change)
    return None if joined == fact else joined


def _nothing_of(change: ContributeFields | WithdrawFields, read_at: int) -> FieldFact:
    origin = change.origin
    return FieldFact(
        origin.rule, origin.item, change.reach, position=ADOPTED, seen=ADOPTED, present=False, as_of=read_at
    )


def _join(known: FieldFact, change: ContributeFields | WithdrawFields) -> FieldFact:
    match change:
        case ContributeFields(partial=True):
            return _join_partial(known, change)
        case ContributeFields():
            return _join_whole(known, change.origin.position, change.image, present=True)
        case WithdrawFields():
            return _join_whole(known, change.origin.position, {}, present=False)


def _join_whole(known: FieldFact, position: Position, image: Image, *, present: bool) -> FieldFact:
    if position <= known.position:
        return known
    newest = known.seen < position
    return FieldFact(
        known.rule,
        known.item,
        known.reach,
        position=position,
        seen=position if newest else known.seen,
        present=present if newest else known.present,
        attributes=image,
        later={name: moved for name, moved in known.later.items() if position < moved[0]},
        as_of=known.as_of,
    )


def _join_partial(known: FieldFact, change: ContributeFields) -> FieldFact:
    position = change.origin.position
    moved = {name: (position, value) for name, value in change.image.items() if known.moved_at(name) < position}
    newest = known.seen < position
    return replace(
        known,
        seen=position if newest else known.seen,
        present=True if newest else known.present,
        later={**known.later, **moved},
    )


def merge_fields(one: FieldFact, other: FieldFact) -> FieldFact:
    """Return what two facts of one item know together: of each thing the newest, whichever is given first.

    Where they are as new and differ, *other* says it: a reading that finds a value which none can take says that
    nothing is known any more, at the place of what was known.
    """
    older, newer = sorted((one, other), key=lambda fact: (fact.as_of, fact.position.order, fact.seen.order))
    if newer.covers(older.seen):
        return newer
    whole = newer if older.position <= newer.position else older
    partial = (newer if whole is older else older).later
    later = {**whole.later, **{name: moved for name, moved in partial.items() if whole.moved_at(name) < moved[0]}}
    seen = newer if older.seen <= newer.seen else older
    return replace(whole, seen=seen.seen, present=seen.present, later=later, as_of=newer.as_of)


def join_tombstone(known: Tombstone | None, change: DeleteRecords) -> Tombstone | None:
    """Return the tombstone as *change* leaves it, or ``None`` if the change tells nothing new."""
    origin = change.origin
    if known is not None and origin.position <= known.position:
        return None
    return Tombstone(origin.rule, origin.item, change.reach, origin.position)
