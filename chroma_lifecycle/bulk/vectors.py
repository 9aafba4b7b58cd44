"""New vectors for records that keep everything else: read from a data set, and put in the place of the old ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.bulk.vector_file import VectorFile
from chroma_lifecycle.clock import new_id
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.listing import list_data_set
from chroma_lifecycle.deltas.model import GROUP_ROWS, Delta, Rows
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.layout import Vectors

VectorsOf: TypeAlias = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Return the new vectors of some records, a row for each."""

FindVectors: TypeAlias = Callable[[Sequence[str], str, Path], VectorsOf]
"""Find the new vectors of some records, for a space, with a directory to work in; refuse if one has none."""

_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reembedded(Delta):
    """Records as they are, with other vectors.

    Attributes:
        before: The same records with their own vectors, of another dimension perhaps.
        vectors: Returns those that they have now.
    """

    before: Delta
    vectors: VectorsOf

    def batches(self, rows: int = GROUP_ROWS) -> Iterator[Rows]:
        """Yield the records in batches of at most so many."""
        for each in self.before.batches(rows):
            yield replace(each, embeddings=self.vectors(each.ids))


def reembedded(delta: Delta, vectors: VectorsOf, dimension: int) -> Reembedded:
    """Return *delta* with other vectors, of this dimension."""
    return Reembedded(
        address=delta.address,
        digest=delta.digest,
        path=delta.path,
        ids=delta.ids,
        dimension=dimension,
        origin=delta.origin,
        before=delta,
        vectors=vectors,
    )


def read_vectors(
    wanted: Vectors,
    collection: str,
    deltas: RootedDeltas,
    address: str,
    ids: Sequence[str],
    space: str,
    scratch: Path,
) -> VectorsOf:
    """Find the new vector of each of *ids*: the files are read one after the other, and what is found lies in a file.

    Args:
        wanted: What the data set is to be.
        collection: Whose records, for messages.
        deltas: Read the data set.
        address: Of it, below the root of *deltas*.
        ids: Of the records, in the order in which they will be asked for.
        space: How distances between the vectors are measured.
        scratch: Directory on the local disk, in which the file stays.

    Raises:
        BadInput: Records have no vector there, or two; or a file cannot be taken.
        StoreUnavailable, NoRoom: It can be tried again.
    """
    step = f"gathering the new vectors of {collection}"
    found = VectorFile(scratch / f"vectors-{new_id()}", ids, wanted.dimension, step)
    expected = Expectation(collection, wanted.dimension, None, bool, space)
    for file in list_data_set(address, deltas):
        delta = open_delta(f"{address}/{file.name}" if file.name else address, deltas, scratch, expected)
        for rows in delta.batches():
            if (twice := found.put(rows.ids, rows.embeddings)) is not None:
                raise BadInput(
                    f"record {twice!r} of {collection} has two vectors in {wanted.source}",
                    hint="leave one of them out, and run the same command again",
                )
        delta.path.unlink()
    if missing := sorted(found.missing()):
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        raise BadInput(
            f"{len(missing):,} records of {collection} have no vector in {wanted.source}: "
            f"{', '.join(map(repr, missing[:_NAMED]))}{more}",
            hint="add a file with their vectors there and run the same command again; of a collection in shards, "
            "`chroma-lifecycle bulk reshard --undo` gives it up",
        )
    return found.of
