"""Records brought to a collection of a Chroma server, and proven to be there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from chroma_lifecycle.chroma.apply import delete_records, upsert_rows
from chroma_lifecycle.chroma.server import ServerCollection
from chroma_lifecycle.deltas.model import Rows
from chroma_lifecycle.errors import BadInput, Retryable
from chroma_lifecycle.values import Scalar

_REQUEST_BYTES = 8 << 20
"""A server takes 40 MB in a request; numbers become text on the way."""
_BYTES_OF_A_NUMBER = 24
_PAGE = 5_000
# A cosine space gives vectors back rounded, and so does JSON.
_RELATIVE, _ABSOLUTE = 1e-5, 1e-6
# Chroma rounds some floats of metadata in their last digit, when it takes them and when it gives them back.
_SAME_FLOAT = 1e-15


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of the collection on the server.

    Attributes:
        records: How many it has, each compared with what was uploaded.
        sent: Of them, those that were not there already.
        deleted: Those of others.
    """

    records: int
    sent: int
    deleted: int


@dataclass(slots=True)
class _Differing:
    """Records that are not on the server as they should be, and those of them that are there at all."""

    rows: list[int] = field(default_factory=list)
    there: set[str] = field(default_factory=set)


class Records(Protocol):
    """What is brought to a server."""

    @property
    def ids(self) -> Sequence[str]:
        """Every record's."""
        ...

    def batches(self) -> Iterator[Rows]:
        """Yield all records; the same ones each time."""
        ...


def upload(
    records: Records, target: ServerCollection, *, tell: Callable[[int], None], delete_others: bool = False
) -> Uploaded:
    """Bring *target* to hold *records* and nothing else; what is there already as it should be is not sent.

    It can be cut off and run again at any time. In the end every record is read back and compared:
    documents and metadata exactly, vectors and floats to the precision with which a server gives them.

    Args:
        tell: Is told how many records are done so far.
        delete_others: Delete what else the collection holds; without it, that is refused before anything is sent.

    Raises:
        BadInput: The collection holds other records, or refuses these.
        StoreUnavailable: The server does not answer.
        Retryable: In the end it does not hold what was sent, since somebody else writes there.
    """
    # 1. What else is there.
    others = sorted(_ids_there(target) - set(records.ids))
    if others and not delete_others:
        raise BadInput(
            f"collection {target.collection.name} holds {len(others):,} records that are not to be uploaded",
            hint="take another --name, or give --delete-others to delete them",
        )
    # 2. What differs.
    sent = done = 0
    for rows in _portions(records, target.max_batch):
        differing = _differing(rows, target)
        if differing.rows:
            upsert_rows(target, rows.chosen(differing.rows), frozenset(differing.there))
        sent, done = sent + len(differing.rows), done + len(rows.ids)
        tell(done)
    # 3. What is too much.
    delete_records(target, others)
    # 4. The proof.
    _prove(records, target)
    return Uploaded(len(records.ids), sent, len(others))


def _prove(records: Records, target: ServerCollection) -> None:
    wrong = sum(len(_differing(rows, target).rows) for rows in _portions(records, target.max_batch))
    with target.errors("counting"):
        count = int(target.collection.count())
    if wrong or count != len(records.ids):
        raise Retryable(
            f"collection {target.collection.name} has {count:,} records after the upload of {len(records.ids):,}, "
            f"and {wrong:,} of these are not as they were sent",
            hint="see who else writes there, and run it again",
        )


def _ids_there(target: ServerCollection) -> set[str]:
    found: set[str] = set()
    while True:
        with target.errors("listing"):
            page = target.collection.get(include=[], limit=_PAGE, offset=len(found))["ids"]
        found.update(page)
        if len(page) < _PAGE:
            return found


def _portions(records: Records, most: int) -> Iterator[Rows]:
    """Yield the records, as many at a time as one request can hold."""
    for rows in records.batches():
        costs = [_BYTES_OF_A_NUMBER * rows.embeddings.shape[1] + len(document or "") for document in rows.documents]
        begin, size = 0, 0
        for at, cost in enumerate(costs):
            if at > begin and (size + cost > _REQUEST_BYTES or at - begin >= most):
                yield rows.chosen(range(begin, at))
                begin, size = at, 0
            size += cost
        yield rows.chosen(range(begin, len(rows.ids)))


def _differing(rows: Rows, target: ServerCollection) -> _Differing:
    with target.errors("reading"):
        found = target.collection.get(ids=rows.ids, include=["embeddings", "documents", "metadatas"])
    at = {id_: row for row, id_ in enumerate(found["ids"])}
    differing = _Differing(there=set(at))
    for row, id_ in enumerate(rows.ids):
        if id_ not in at or not _same(rows, row, found, at[id_]):
            differing.rows.append(row)
    return differing


def _same(rows: Rows, row: int, found: Any, at: int) -> bool:
    metadata: dict[str, Any] = found["metadatas"][at] or {}
    return (
        rows.documents[row] == found["documents"][at]
        and metadata.keys() == rows.metadatas[row].keys()
        and all(_equal(value, metadata[key]) for key, value in rows.metadatas[row].items())
        and _close(rows.embeddings[row], found["embeddings"][at])
    )


def _equal(one: Scalar, other: object) -> bool:
    if type(one) is not type(other):  # 1, 1.0 and true are equal, and not the same
        return False
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_SAME_FLOAT)
    return one == other


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and bool(np.allclose(one, other, _RELATIVE, _ABSOLUTE))
