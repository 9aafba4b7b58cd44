"""Making deltas: for the jobs that embed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.deltas.checks import MAX_DIMENSION, Checker, Expectation, RawRows
from chroma_lifecycle.deltas.disk import sync, writing
from chroma_lifecycle.deltas.marks import Origin
from chroma_lifecycle.deltas.records import RecordWriter
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.values import Digest, Scalar


@dataclass(frozen=True, slots=True)
class WrittenDelta:
    """A delta that is complete and on disk."""

    path: Path
    count: int
    digest: Digest


class DeltaWriter:
    """Writes a delta to one Parquet file, with the checks that the compactor makes::

        with DeltaWriter(Path("words.parquet"), dimension=384) as writer:
            writer.add(ids, embeddings, documents, metadatas)
        announce(writer.result)

    The file appears under its name when the block ends, whole and synced, and never after an error.

    Args:
        path: The new file.
        dimension: Of the vectors.
        expected: What else the compactor will check: whether ids fit the collection and the run.
        address: What messages call the delta; by default the path.
        origin: The collection that the records are exported from.

    Raises:
        BadInput: The file exists (an address holds one content for ever), its directory does not,
            a record cannot be applied, or no record came.
        NoRoom: The disk is full.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        dimension: int,
        expected: Expectation | None = None,
        address: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        if not 1 <= dimension <= MAX_DIMENSION:
            raise BadInput(f"a dimension of {dimension}", hint=f"allowed: 1 to {MAX_DIMENSION:,}")
        self._path = Path(path)
        # Readers of a directory of parts ignore names that begin with a dot.
        self._partial = self._path.with_name(f".{self._path.name}.{new_id()}.partial")
        self._subject = f"delta {(address or str(self._path))!r}"
        self._checker = Checker(self._subject, dimension, "this writer")
        if expected is not None:
            self._checker = Checker.against(self._subject, replace(expected, dimension=dimension))
        self._origin = origin
        self._closing = ExitStack()
        self._records: RecordWriter | None = None
        self._result: WrittenDelta | None = None

    @property
    def result(self) -> WrittenDelta:
        """What was written.

        Raises:
            BadInput: The block has not ended, or ended with an error.
        """
        if self._result is None:
            raise BadInput(f"delta {str(self._path)!r} is not complete", hint="ask for the result after the block")
        return self._result

    @property
    def count(self) -> int:
        """How many records were added so far."""
        return len(self._checker.seen)

    def __enter__(self) -> DeltaWriter:
        self._refuse_existing()
        if not self._path.parent.is_dir():
            raise BadInput(f"there is no directory {str(self._path.parent)!r}", hint="create it first")
        with writing(self._path), self._closing:
            self._closing.callback(self._partial.unlink, missing_ok=True)
            self._records = self._closing.enter_context(RecordWriter(self._partial))
            self._closing = self._closing.pop_all()
        return self

    def add(
        self,
        ids: Sequence[str],
        embeddings: npt.ArrayLike | Sequence[Sequence[float]],
        documents: Sequence[str | None] | None = None,
        metadatas: Sequence[Mapping[str, Scalar | None] | None] | None = None,
    ) -> None:
        """Add some records; of a call that fails, none is written.

        Raises:
            BadInput: A record cannot be applied, the arguments are not equally long, or this is not within the block.
        """
        if self._records is None:
            raise BadInput(
                f"{self._subject} is not being written: nothing can be added to it",
                hint="add inside the `with` block of its writer; what comes afterwards goes into a new delta",
            )
        raw = self._raw(ids, embeddings, documents, metadatas)
        checked = self._checker.check(raw)
        with writing(self._path):
            self._records.add(checked)

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with writing(self._path), self._closing:
            records, self._records = self._records, None
            if kind is None and records is not None:
                self._publish(records)

    def _publish(self, records: RecordWriter) -> None:
        count, digest = len(self._checker.seen), self._checker.content_digest()
        if count == 0:
            raise BadInput(
                f"{self._subject} would be empty",
                hint="announce no run when there is nothing to merge",
            )
        records.finish(digest, self._origin)
        sync(self._partial)
        self._refuse_existing()
        self._partial.rename(self._path)
        sync(self._path.parent)
        self._result = WrittenDelta(self._path, count, digest)

    def _refuse_existing(self) -> None:
        if self._path.exists():
            raise BadInput(
                f"delta {str(self._path)!r} exists already",
                hint="an address holds one content for ever: write a corrected delta under a new name",
            )

    def _raw(self, ids: object, embeddings: object, documents: object, metadatas: object) -> RawRows:
        ids = _listed(ids, "ids")
        vectors = [_vector(vector) for vector in _listed(embeddings, "embeddings")]
        texts = [None] * len(ids) if documents is None else _listed(documents, "documents")
        metas = [None] * len(ids) if metadatas is None else _listed(metadatas, "metadatas")
        if not len(ids) == len(vectors) == len(texts) == len(metas):
            raise BadInput(
                f"{len(ids)} ids, {len(vectors)} embeddings, {len(texts)} documents, {len(metas)} metadatas",
                hint="give one of each for every record",
            )
        lengths = np.array([len(vector) for vector in vectors], np.int64)
        numbers = np.concatenate(vectors) if vectors else np.zeros(0, np.float32)
        return RawRows(ids, numbers, lengths, texts, metas)


def _listed(values: object, name: str) -> list[object]:
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise BadInput(f"{name} is no list", hint="give one of each for every record")
    return list(values)


def _vector(values: object) -> npt.NDArray[np.floating]:
    try:
        vector = np.asarray(values)
        whole = vector.astype(np.float64) if vector.dtype.kind in "iu" else vector
    except ValueError:
        whole = np.zeros(0, object)
    if whole.dtype.kind != "f" or whole.ndim != 1:
        raise BadInput("an embedding is no list of numbers", hint="give each vector as a list or an array of floats")
    return whole
