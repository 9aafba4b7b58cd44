"""What a message asks for: the closed union of changes.

A change concerns one collection. A message that concerns several becomes several changes;
it is done when each of them is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.values import ItemKey, Position, value_class

AttributeValue: TypeAlias = Mapping[str, object]
"""A value in DynamoDB's own JSON: ``{"S": "text"}``, ``{"N": "7"}``, ``{"SS": [...]}`` ..."""

Image: TypeAlias = Mapping[str, AttributeValue]
"""Attributes of an item by name, in DynamoDB's own JSON."""


@value_class
class Origin:
    """Where a change comes from.

    Attributes:
        source: What the queue or stream wants back if this fails: a messageId, or the
            original text of a SequenceNumber.
        collection: Name of the collection concerned.
        rule: Name of the mapping's rule that took the item.
        item: Key of the table item.
        position: Place in the total order.
    """

    source: str
    collection: str
    rule: str
    item: ItemKey
    position: Position


@value_class
class MergeDelta:
    """Write the records of a delta: a run began.

    Attributes:
        address: Where the delta lies, as the run item says it.
        below: The prefix that every id of the delta must have, where the ordering is exact.
    """

    origin: Origin
    address: str
    below: str | None


@value_class
class ContributeFields:
    """An item gives values to metadata keys of the records that it reaches.

    Attributes:
        reach: Id of the records reached, or the prefix of all of them.
        image: The attributes that the rule reads; of a full image every other one is absent.
        partial: Whether the image names only some attributes, the others standing as they were.
    """

    origin: Origin
    reach: str
    image: Image
    partial: bool


@value_class
class WithdrawFields:
    """An item is gone: it contributes nothing to the keys that its rule owns."""

    origin: Origin
    reach: str


@value_class
class DeleteRecords:
    """Delete the records that an item reaches: the item was removed."""

    origin: Origin
    reach: str


@value_class
class RefusedFields:
    """An image with a value that no record can take.

    It is a change all the same: once a newer change of the item is known, it is a no-op.
    """

    origin: Origin
    reach: str
    problem: BadInput


Change: TypeAlias = MergeDelta | ContributeFields | WithdrawFields | DeleteRecords | RefusedFields
