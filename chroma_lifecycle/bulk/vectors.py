"""New vectors for records that keep everything else: read from a data set, and put in the place of the old ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.listing import list_data_set
from chroma_lifecycle.deltas.model import Delta, Rows
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.records import GROUP_ROWS
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.layout import Vectors

Vector: TypeAlias = npt.NDArray[np.float32]
FindVectors: TypeAlias = Callable[[Collection[str], Path], Mapping[str, Vector]]
"""Return the new vector of each of some records, with a directory to work in; refuse if one has none."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Reembedded(Delta):
    """Records as they are, with other vectors.

    Attributes:
        before: The same records with their own vectors, of another dimension perhaps.
        vectors: Of every record.
    """

    before: Delta | None = None
    vectors: Mapping[str, Vector] = field(default_factory=dict)

    def batches(self, rows: int = GROUP_ROWS) -> Iterator[Rows]:
        """Yield the records in batches of at most so many."""
        assert self.before is not None
        for each in self.before.batches(rows):
            yield replace(each, embeddings=np.stack([self.vectors[record_id] for record_id in each.ids]))


def reembedded(delta: Delta, vectors: Mapping[str, Vector], dimension: int) -> Reembedded:
    """Return *delta* with other vectors, of this dimension."""
    return Reembedded(delta.address, delta.digest, delta.path, delta.ids, dimension, delta.origin, delta, vectors)


def read_vectors(
    wanted: Vectors, collection: str, deltas: RootedDeltas, address: str, ids: Collection[str], scratch: Path
) -> dict[str, Vector]:
    """Return the new vector of each of *ids*; the files are read one after the other.

    Args:
        wanted: What the data set is to be.
        collection: Whose records, for messages.
        deltas: Read the data set.
        address: Of it, below the root of *deltas*.
        ids: Of the records.
        scratch: Directory on the local disk.

    Raises:
        BadInput: Records have no vector there, or two; or a file cannot be taken.
        StoreUnavailable, NoRoom: It can be tried again.
    """
    found: dict[str, Vector] = {}
    left = frozenset(ids)
    for file in list_data_set(address, deltas):
        expected = Expectation(collection, wanted.dimension, None, bool)
        delta = open_delta(f"{address}/{file.name}" if file.name else address, deltas, scratch, expected)
        for rows in delta.batches():
            for record_id, vector in zip(rows.ids, rows.embeddings, strict=True):
                if record_id not in left:
                    continue
                if record_id in found:
                    raise BadInput(
                        f"record {record_id!r} of {collection} has two vectors in {wanted.source}",
                        hint="leave one of them out, and run the same command again",
                    )
                found[record_id] = vector
        delta.path.unlink()
    if missing := sorted(left - found.keys()):
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        raise BadInput(
            f"{len(missing):,} records of {collection} have no vector in {wanted.source}: "
            f"{', '.join(map(repr, missing[:_NAMED]))}{more}",
            hint="add a file with their vectors there and run the same command again; of a collection in shards, "
            "`chroma-lifecycle bulk reshard --undo` gives it up",
        )
    return found
