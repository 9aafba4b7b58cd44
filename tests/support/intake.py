"""Events for tests, and what becomes of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import (
    Change,
    ContributeFields,
    DeleteRecords,
    MergeDelta,
    RefusedFields,
    WithdrawFields,
)
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.envelopes import Batch, decode_event
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.intake.records import StreamRecord
from tests.support.table import in_sqs

RECEIPTS = load_mapping("receipts")


def told(change: Change) -> str:
    """Return a change in a few words: its collection, what it does, where."""
    match change:
        case MergeDelta():
            what = f"merge {change.address} below {change.below}"
        case ContributeFields():
            what = f"{'move' if change.partial else 'set'} {','.join(sorted(change.image))} at {change.reach}"
        case WithdrawFields():
            what = f"withdraw at {change.reach}"
        case DeleteRecords():
            what = f"delete {change.reach}"
        case RefusedFields():
            what = f"refuse: {change.problem.message}"
    return f"{change.origin.collection}: {what}"


def outcome(record: StreamRecord | BadInput, mapping: TableMapping = RECEIPTS) -> list[str] | str:
    """Return the changes of a record, or why there are none."""
    if isinstance(record, BadInput):
        return record.message
    try:
        return [told(change) for change in changes_of(record, mapping)]
    except BadInput as problem:
        return problem.message


def outcomes(batch: Batch, mapping: TableMapping = RECEIPTS) -> list[list[str] | str]:
    """Return the outcome of every record."""
    return [outcome(received.record, mapping) for received in batch.received]


def of_record(record: Any, mapping: TableMapping = RECEIPTS) -> list[str] | str:
    """Return the outcome of one stream record or flat message that comes in a queue's message."""
    [found] = outcomes(decode_event(in_sqs([record]), mapping), mapping)
    return found


def without(record: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return a copy of nested objects without one of their fields."""
    return _edited(record, path[:-1], lambda owner: owner.pop(path[-1]))


def with_(record: dict[str, Any], value: object, *path: str) -> dict[str, Any]:
    """Return a copy of nested objects with another value in one of their fields."""
    return _edited(record, path[:-1], lambda owner: owner.__setitem__(path[-1], value))


def _edited(record: dict[str, Any], path: Iterable[str], edit: Any) -> dict[str, Any]:
    edited: dict[str, Any] = copy.deepcopy(record)
    owner = edited
    for name in path:
        owner = owner[name]
    edit(owner)
    return edited


def as_text(value: object) -> str:
    """Return *value* as the JSON of a message's body."""
    return json.dumps(value)
