"""Facts: what the ledger knows of the table's items, and how a change joins them.

Joining takes the newest position of each thing that a fact knows. So facts that are received
in any order, in any batches, any number of times, end the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chroma_lifecycle.intake.changes import AttributeValue, ContributeFields, DeleteRecords, Image, WithdrawFields
from chroma_lifecycle.values import ADOPTED, Digest, ItemKey, Ordering, Position


@dataclass(frozen=True, slots=True)
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
    """

    rule: str
    item: ItemKey
    reach: str
    position: Position
    seen: Position
    present: bool
    attributes: Image = field(default_factory=dict)
    later: Mapping[str, tuple[Position, AttributeValue]] = field(default_factory=dict)

    @property
    def image(self) -> Image | None:
        """What the item holds by all that we know; ``None`` if it is gone."""
        if not self.present:
            return None
        return {**self.attributes, **{name: value for name, (_, value) in self.later.items()}}


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The newest REMOVE of an item whose removal deletes records; nothing lifts it."""

    rule: str
    item: ItemKey
    reach: str
    position: Position


@dataclass(frozen=True, slots=True)
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


def join_fields(fact: FieldFact | None, change: ContributeFields | WithdrawFields) -> FieldFact | None:
    """Return the fact as *change* leaves it, or ``None`` if the change tells nothing new."""
    origin = change.origin
    known = fact or FieldFact(origin.rule, origin.item, change.reach, position=ADOPTED, seen=ADOPTED, present=False)
    match change:
        case ContributeFields(partial=True):
            joined = _join_partial(known, change)
        case ContributeFields():
            joined = _join_whole(known, origin.position, change.image, present=True)
        case WithdrawFields():
            joined = _join_whole(known, origin.position, {}, present=False)
    return None if joined == fact else joined


def _join_whole(known: FieldFact, position: Position, image: Image, *, present: bool) -> FieldFact:
    if position <= known.position:
        return known
    newest = known.seen < position
    return replace(
        known,
        position=position,
        seen=position if newest else known.seen,
        present=present if newest else known.present,
        attributes=image,
        later={name: moved for name, moved in known.later.items() if position < moved[0]},
    )


def _join_partial(known: FieldFact, change: ContributeFields) -> FieldFact:
    position = change.origin.position
    moved = {
        name: (position, value)
        for name, value in change.image.items()
        if (known.later[name][0] if name in known.later else known.position) < position
    }
    newest = known.seen < position
    return replace(
        known,
        seen=position if newest else known.seen,
        present=True if newest else known.present,
        later={**known.later, **moved},
    )


def join_tombstone(known: Tombstone | None, change: DeleteRecords) -> Tombstone | None:
    """Return the tombstone as *change* leaves it, or ``None`` if the change tells nothing new."""
    origin = change.origin
    if known is not None and origin.position <= known.position:
        return None
    return Tombstone(origin.rule, origin.item, change.reach, origin.position)
