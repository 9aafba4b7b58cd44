"""What every record of a delta must be, whatever the form it came in; checked before anything is applied.

One bad record refuses its delta: an address holds one content, and a part of it is none.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.deltas.metadata import MAX_METADATA_BYTES, canonical, scalars_of
from chroma_lifecycle.deltas.problems import Problem, Problems
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.attributes import is_text
from chroma_lifecycle.intake.json_text import shorten
from chroma_lifecycle.values import Digest

MAX_ID_BYTES = 3_072
"""As long as DynamoDB's two key attributes together."""
MAX_DOCUMENT_BYTES = 1 << 20
MAX_DIMENSION = 65_536
COSINE = "cosine"
_SHORTEST, _LONGEST = 1.1e-19, 1.8e19
"""Of a vector whose squared length is a 32-bit float with all of its digits; in a cosine space Chroma divides by it."""


@dataclass(frozen=True, slots=True)
class RawRows:
    """Some records as a form holds them; nothing is checked, all five are equally long but `numbers`.

    Attributes:
        numbers: The numbers of all vectors, one after the other.
        lengths: How many of them each vector has; -1 where a record has no vector.
        metadatas: Mappings, JSON texts, or ``None``.
    """

    ids: Sequence[object]
    numbers: npt.NDArray[np.floating]
    lengths: npt.NDArray[np.int64]
    documents: Sequence[object]
    metadatas: Sequence[object]


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """Some records that Chroma can take.

    Attributes:
        metadatas: In canonical JSON.
    """

    ids: list[str]
    embeddings: npt.NDArray[np.float32]
    documents: list[str | None]
    metadatas: list[str]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the records of a delta must fit.

    Attributes:
        collection: Name of the collection that they are for.
        dimension: The collection's, fixed by ``init``; ``None``, for tools alone, for that of the first record.
        below: The prefix that every id must have, where the ordering is exact.
        fits: Whether an id fits the collection's pattern.
        space: How the collection measures distances; ``None`` where nobody knows yet.
    """

    collection: str
    dimension: int | None
    below: str | None
    fits: Callable[[str], bool]
    space: str | None = None


@dataclass(slots=True)
class Checker:
    """Checks the records of one delta as they stream by, and digests them.

    Attributes:
        subject: What holds the records, for messages: the delta, perhaps with a file's name.
        dimension: Of every vector; ``None`` until the first one says it.
        whose: Who has this dimension, for messages.
        space: How distances are measured, if that is known.
        problem_of_id: Tells what is wrong with an id where it goes, or ``None``.
        found: Takes every problem, so that the check goes on; without it the first one is raised.
        seen: The digest of each record so far, by id.
        records: How many records came so far.
        part: The ids since `begin_part`.
    """

    subject: str
    dimension: int | None
    whose: str
    space: str | None = None
    problem_of_id: Callable[[str], str | None] = field(default=lambda _: None)
    found: Problems | None = None
    seen: dict[str, bytes] = field(default_factory=dict)
    records: int = 0
    part: list[str] = field(default_factory=list)
    _found_before: int = 0

    @classmethod
    def against(cls, subject: str, expected: Expectation, found: Problems | None = None) -> Checker:
        """Return a checker for the delta of one collection."""
        whose = "the first record" if expected.dimension is None else f"collection {expected.collection!r}"
        return cls(subject, expected.dimension, whose, expected.space, _id_problem(expected), found)

    def begin_part(self, subject: str) -> None:
        """Count records anew, and name *subject* in messages."""
        self.subject, self.part = subject, []
        self._found_before = self.found.total if self.found else 0

    @property
    def part_is_whole(self) -> bool:
        """Whether nothing is wrong with what came since `begin_part`."""
        return self.found is None or self.found.total == self._found_before

    def refuse(self, problem: BadInput) -> None:
        """Take what is wrong with a part of a file that holds no record.

        Raises:
            BadInput: As it is given, unless problems are collected.
        """
        if self.found is None:
            raise problem
        self.found.refuse(problem)

    def check(self, raw: RawRows) -> CheckedRows:
        """Return the records as they will be applied; where problems are collected, what is wrong is left empty.

        Raises:
            BadInput: The first record that cannot be, and why.
        """
        ids = self._ids(raw.ids)
        embeddings = self._embeddings(ids, raw)
        documents = [self._document(at, ids, document) for at, document in enumerate(raw.documents)]
        metadatas = [self._metadata(at, ids, metadata) for at, metadata in enumerate(raw.metadatas)]
        rows = CheckedRows(ids, embeddings, documents, metadatas)
        for at, id_ in enumerate(ids):
            self.seen[id_] = record_digest(embeddings[at], documents[at], metadatas[at])
        self.part += ids
        self.records += len(ids)
        return rows

    def content_digest(self) -> Digest:
        """Return the digest of all records so far; their order and form do not matter."""
        return _content_digest(self.seen)

    def part_digest(self) -> Digest:
        """Return the digest of the records since `begin_part`."""
        return _content_digest({id_: self.seen[id_] for id_ in self.part})

    def _ids(self, raws: Sequence[object]) -> list[str]:
        ids: list[str] = []
        new: set[str] = set()
        for at, raw in enumerate(raws):
            text = raw if isinstance(raw, str) else ""
            problem = _text_problem(raw) or self.problem_of_id(text)
            if problem is None and (text in self.seen or text in new):
                problem = "has an id that another record of the delta has too"
            if problem:
                self._tell("id", at, raw, problem)
            ids.append(text)
            new.add(text)
        return ids

    def _embeddings(self, ids: Sequence[str], raw: RawRows) -> npt.NDArray[np.float32]:
        if self.dimension is None:
            self.dimension = max(1, *raw.lengths[:1].tolist(), 1)
        fitting = raw.lengths == self.dimension
        for at in np.flatnonzero(~fitting).tolist():
            length = int(raw.lengths[at])
            found = "no vector" if length < 0 else f"a vector of {length:,} numbers"
            self._tell("vector", at, ids[at], f"has {found}; {self.whose} has dimension {self.dimension:,}")
        numbers = raw.numbers if fitting.all() else raw.numbers[np.repeat(fitting, np.maximum(raw.lengths, 0))]
        embeddings = np.zeros((len(ids), self.dimension), np.float32)
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is found below
            embeddings[fitting] = numbers.astype(np.float32, copy=False).reshape(-1, self.dimension)
        for at in np.flatnonzero(~np.isfinite(embeddings).all(axis=1)).tolist():
            problem = "has a number in its vector that is NaN, infinite or past 32-bit floats"
            self._tell("vector", at, ids[at], problem)
        if self.space == COSINE:
            for at in without_direction(embeddings):
                self._tell("vector", at, ids[at], NO_DIRECTION)
        return embeddings

    def _document(self, at: int, ids: Sequence[str], document: object) -> str | None:
        if document is None or (problem := _document_problem(document)) is None:
            return document if isinstance(document, str) else None
        self._tell("document", at, ids[at], problem)
        return None

    def _metadata(self, at: int, ids: Sequence[str], metadata: object) -> str:
        try:
            text, problem = canonical(scalars_of(metadata)), None
        except ValueError as refused:
            text, problem = "{}", str(refused)
        if len(text) > MAX_METADATA_BYTES:
            problem = f"has {len(text):,} bytes of metadata; allowed: {MAX_METADATA_BYTES:,}"
        if problem:
            self._tell("metadata", at, ids[at], problem)
        return text

    def _tell(self, kind: str, at: int, id_: object, problem: str) -> None:
        number = len(self.part) + 1 + at
        name = f" ({shorten(id_)})" if isinstance(id_, str) and id_ else ""
        text = f"{self.subject}: record {number:,}{name} {problem}"
        if self.found is None:
            raise BadInput(
                text,
                hint="correct the job that writes the delta, and announce the corrected one under a new address",
            )
        self.found.add(Problem(kind, text, number))


NO_DIRECTION = (
    f"has a vector too long or too short for a cosine space; allowed: a length of {_SHORTEST} to {_LONGEST}, or zeros"
)


def without_direction(embeddings: npt.NDArray[np.float32]) -> list[int]:
    """Return the places of vectors that a cosine space spoils.

    Chroma divides each by its length, in 32-bit floats. Where the square overflows, the vector reads back as NaN; where
    it vanishes, the quotient is no unit vector, and the record is nearer to every question than all others.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64))
    spoilt = np.isfinite(lengths) & ~((lengths >= _SHORTEST) & (lengths <= _LONGEST)) & embeddings.any(axis=1)
    return list(np.flatnonzero(spoilt).tolist())


def _document_problem(document: object) -> str | None:
    if not isinstance(document, str):
        return "has a document that is no text; allowed: text, or nothing"
    if not is_text(document):
        return "has a lone surrogate in its document, which is no text"
    if "\0" in document:
        # Chroma stores it, but its text search ends there.
        return "has a NUL character in its document"
    size = len(document.encode())
    return f"has a document of {size:,} bytes; allowed: {MAX_DOCUMENT_BYTES:,}" if size > MAX_DOCUMENT_BYTES else None


def _text_problem(raw: object) -> str | None:
    if not isinstance(raw, str):
        return "has no id of text"
    if not raw:
        return "has an empty id"
    if not is_text(raw):
        return "has a lone surrogate in its id, which is no text"
    size = len(raw.encode())
    return f"has an id of {size:,} bytes; allowed: {MAX_ID_BYTES:,}" if size > MAX_ID_BYTES else None


def _id_problem(expected: Expectation) -> Callable[[str], str | None]:
    def problem(id_: str) -> str | None:
        if not expected.fits(id_):
            return f"has an id that does not fit the mapping's pattern for {expected.collection!r}"
        below = expected.below
        if below is not None and id_ != below and not id_.startswith(f"{below}#"):
            return f"has an id that does not lie below its run's partition key {shorten(below)}"
        return None

    return problem


def record_digest(embedding: npt.NDArray[np.float32], document: str | None, metadata: str) -> bytes:
    """Return the SHA-256 of what a record holds beside its id; each part with its length before it."""
    vector, meta = embedding.astype("<f4", copy=False).tobytes(), metadata.encode()
    text = b"" if document is None else document.encode()
    head = struct.pack("<QQQ?", len(vector), len(meta), len(text), document is not None)
    return hashlib.sha256(b"".join((head, vector, meta, text))).digest()


def _content_digest(records: dict[str, bytes]) -> Digest:
    """Return the SHA-256 over all ids, sorted, each with the digest of its record."""
    digest = hashlib.sha256(struct.pack("<Q", len(records)))
    for id_ in sorted(records):
        name = id_.encode()
        digest.update(struct.pack("<Q", len(name)) + name + records[id_])
    return Digest(digest.hexdigest())
