"""Executing a plan: few, large calls of Chroma.

What Chroma's calls do with what is left out decides what is sent (the same from 1.3.3 on):
``upsert`` and ``update`` *merge* metadata, so a key must be sent as ``None`` to go; a document that
is left out stays, so a record that loses its document is deleted first; an empty dictionary is
refused, so a record without metadata is sent as ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from chroma_lifecycle.deltas.model import Delta, Rows
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.plan import OwnedKeys, Plan, Write
from chroma_lifecycle.values import Scalar

T = TypeVar("T")
Metadata = dict[str, Scalar | None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done to the records.

    Attributes:
        deleted: Records taken away for good.
        written: Records written whole.
        updated: Records of which only metadata changed.
        calls: How many calls of Chroma changed something.
    """

    deleted: int = 0
    written: int = 0
    updated: int = 0
    calls: int = 0


class Target(Protocol):
    """What a plan is applied to: one collection, open."""

    dimension: int | None

    @property
    def collection(self) -> Any:
        """Chroma's own collection object."""
        ...

    @property
    def max_batch(self) -> int:
        """The most records in one call."""
        ...

    def errors(self, what: str) -> AbstractContextManager[None]:
        """Return a block in which Chroma's errors become ours."""
        ...


def apply_plan(
    target: Target, plan: Plan, deltas: Mapping[str, Delta], tell: Callable[[int], None] = lambda _: None
) -> Applied:
    """Bring the records of *target* to what *plan* says.

    Args:
        target: An open collection.
        plan: What is to be done.
        deltas: Those that it writes from, by address.
        tell: Is told after each call how many records it has written.

    Raises:
        BadInput: A delta is missing or of another dimension, or Chroma refuses the data.
        NoRoom: The disk is full.
        Corrupt: Chroma's engine fails.
    """
    _check_deltas(plan, deltas, target.dimension)
    work = _Work(target, tell)
    work.delete(plan.deletes)
    for write in plan.writes:
        work.write(write, deltas)
    work.update(plan.updates)
    written = sum(len(write.ids) for write in plan.writes)
    return Applied(len(plan.deletes), written, sum(map(bool, plan.updates.values())), work.calls)


def upsert_rows(target: Target, rows: Rows, existing: frozenset[str]) -> None:
    """Write *rows* whole; those of *existing*, which are there already, lose what they have more."""
    _Work(target).write_rows(Write("the records", frozenset(rows.ids), existing=existing), rows)


def delete_records(target: Target, ids: Sequence[str]) -> None:
    """Delete records by id."""
    _Work(target).delete(ids)


def _check_deltas(plan: Plan, deltas: Mapping[str, Delta], dimension: int | None) -> None:
    for write in plan.writes:
        delta = deltas.get(write.address)
        if delta is None:
            raise BadInput(f"the delta {write.address} was planned and is not there", hint="run the same batch again")
        if dimension is not None and delta.dimension not in (None, dimension):
            raise BadInput(
                f"the delta {write.address} has {delta.dimension} dimensions, the collection has {dimension}",
                hint="make the vectors with the collection's model and announce the delta under a new address",
            )


class _Work:
    """The calls on one collection, counted."""

    def __init__(self, target: Target, tell: Callable[[int], None] = lambda _: None) -> None:
        self._tell = tell
        self._collection = target.collection
        self._max_batch = target.max_batch
        self._errors = target.errors
        self.calls = 0

    def delete(self, ids: Sequence[str]) -> None:
        for chunk in _chunks(ids, self._max_batch):
            with self._errors("delete"):
                self._collection.delete(ids=chunk)
            self.calls += 1

    def write(self, write: Write, deltas: Mapping[str, Delta]) -> None:
        for rows in deltas[write.address].batches(self._max_batch):
            chosen = [row for row, id_ in enumerate(rows.ids) if id_ in write.ids]
            if chosen:
                self.write_rows(write, rows.chosen(chosen))

    def update(self, updates: Mapping[str, OwnedKeys]) -> None:
        # An empty dictionary is refused; it would change nothing. By id, as the pages lie: 1,000 take a twentieth less.
        moved = [(id_, dict(updates[id_])) for id_ in sorted(updates) if updates[id_]]
        for chunk in _chunks(moved, self._max_batch):
            with self._errors("update"):
                self._collection.update(ids=[id_ for id_, _ in chunk], metadatas=[keys for _, keys in chunk])
            self.calls += 1

    def write_rows(self, write: Write, rows: Rows) -> None:
        metadatas = [
            _metadata(own, write.owned.get(id_, {})) for id_, own in zip(rows.ids, rows.metadatas, strict=True)
        ]
        self._take_away(write, rows, metadatas)
        with self._errors(f"delta {write.address}"):
            self._collection.upsert(
                ids=rows.ids,
                embeddings=rows.embeddings,
                documents=rows.documents,
                metadatas=[metadata or None for metadata in metadatas],
            )
        self.calls += 1
        self._tell(len(rows.ids))

    def _take_away(self, write: Write, rows: Rows, metadatas: Sequence[Metadata]) -> None:
        """Send away what the records in the collection have and the delta lacks."""
        at = {id_: row for row, id_ in enumerate(rows.ids) if id_ in write.existing}
        if not at:
            return
        with self._errors("get"):
            old = self._collection.get(ids=list(at), include=["metadatas", "documents"])
        losing = []
        for id_, metadata, document in zip(old["ids"], old["metadatas"], old["documents"], strict=True):
            row = at[id_]
            if document is not None and rows.documents[row] is None:
                losing.append(id_)
            else:
                metadatas[row].update(dict.fromkeys((metadata or {}).keys() - metadatas[row].keys()))
        self.delete(losing)


def _metadata(own: Mapping[str, Scalar], owned: OwnedKeys) -> Metadata:
    """Return a record's metadata: the delta's, except for the keys that facts own."""
    return {
        **{key: value for key, value in own.items() if key not in owned},
        **{key: value for key, value in owned.items() if value is not None},
    }


def _chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
