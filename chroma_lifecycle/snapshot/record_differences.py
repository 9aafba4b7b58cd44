"""What differs between the records of two closed Chroma directories, as Chroma's tables tell it.

Vectors are in none of the tables for long, so they are not compared here. The databases are read
in one pass and never opened by Chroma; memory follows what differs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot import sqlite_file
from chroma_lifecycle.snapshot.file_differences import Change
from chroma_lifecycle.snapshot.soundness import DATABASE
from chroma_lifecycle.values import Scalar

_DOCUMENT = "chroma:document"
_VALUES = "string_value", "int_value", "float_value", "bool_value"

# The records of *here*, each with its namesake *there*: by Chroma's own indexes, so nothing is sorted or kept.
_ONLY_HERE = """
    SELECT embedding_id FROM {here}.embeddings AS here WHERE segment_id = :{here} AND NOT EXISTS (
        SELECT 1 FROM {there}.embeddings AS there
        WHERE there.segment_id = :{there} AND there.embedding_id = here.embedding_id)
"""
_IN_BOTH = """
    {here}.embeddings AS here
    CROSS JOIN {there}.embeddings AS there ON there.segment_id = :{there} AND there.embedding_id = here.embedding_id
    CROSS JOIN {here}.embedding_metadata AS mine ON mine.id = here.id
    LEFT JOIN {there}.embedding_metadata AS other ON other.id = there.id AND other.key = mine.key
    WHERE here.segment_id = :{here}
"""
_ONLY_MINE = f"SELECT here.embedding_id, mine.key FROM {_IN_BOTH} AND other.id IS NULL"  # noqa: S608 (own names)
_UNLIKE = (
    f"SELECT here.embedding_id, mine.key FROM {_IN_BOTH} AND other.id IS NOT NULL AND ("  # noqa: S608 (own names)
    + " OR ".join(f"mine.{column} IS NOT other.{column}" for column in _VALUES)
    + ")"
)
_SEGMENT = """
    SELECT segments.id FROM {side}.segments JOIN {side}.collections ON segments.collection = collections.id
    WHERE collections.name = ? AND segments.scope = 'METADATA'
"""


@dataclass(slots=True)
class RecordDifference:
    """A record that is not the same in two versions.

    Attributes:
        metadata: The keys that differ; of a record that is added or removed, none are listed.
        document: What became of its document, if anything.
        vector: Whether it has another vector.
    """

    id: str
    change: Change
    metadata: dict[str, Change] = field(default_factory=dict)
    document: Change | None = None
    vector: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What a record says: its document and its metadata."""

    document: str | None
    metadata: Mapping[str, Scalar]


class RecordTables:
    """The records of one collection in two closed directories, *before* and *after*."""

    def __init__(self, database: sqlite3.Connection, segments: Mapping[str, str]) -> None:
        self._database = database
        self._segments = segments

    @classmethod
    @contextmanager
    def reading(cls, before: Path, after: Path, collection: str) -> Iterator[RecordTables]:
        """Read both directories; neither is locked nor changed.

        Raises:
            Corrupt: SQLite cannot read what is asked for inside, or one has no such collection.
        """
        with sqlite_file.reading(after / DATABASE) as database:
            database.execute("ATTACH ? AS before", (f"{(before / DATABASE).resolve().as_uri()}?mode=ro&immutable=1",))
            places = {"before": before, "main": after}
            yield cls(database, {side: _segment(database, side, collection, at) for side, at in places.items()})

    def differences(self) -> dict[str, RecordDifference]:
        """Return the records that differ, by id, as far as the tables tell."""
        found: dict[str, RecordDifference] = {}
        for here, there, change in (("before", "main", Change.REMOVED), ("main", "before", Change.ADDED)):
            for (id_,) in self._rows(_ONLY_HERE, here, there):
                found[id_] = RecordDifference(id_, change)
        for query, here, there, change in (
            (_ONLY_MINE, "before", "main", Change.REMOVED),
            (_ONLY_MINE, "main", "before", Change.ADDED),
            (_UNLIKE, "main", "before", Change.CHANGED),
        ):
            for id_, key in self._rows(query, here, there):
                record = found.setdefault(id_, RecordDifference(id_, Change.CHANGED))
                if key == _DOCUMENT:
                    record.document = change
                else:
                    record.metadata[key] = change
        return found

    def contents(self, id_: str) -> tuple[Content | None, Content | None]:
        """Return what a record said before and says after; ``None`` where there is none."""
        return self._content("before", id_), self._content("main", id_)

    def _content(self, side: str, id_: str) -> Content | None:
        where = (self._segments[side], id_)
        row = self._database.execute(
            f"SELECT id FROM {side}.embeddings WHERE segment_id = ? AND embedding_id = ?",  # noqa: S608 (own names)
            where,
        ).fetchone()
        if row is None:
            return None
        columns = ", ".join(_VALUES)
        rows = self._database.execute(
            f"SELECT key, {columns} FROM {side}.embedding_metadata WHERE id = ? ORDER BY key",  # noqa: S608 (own names)
            row,
        )
        values = {key: _value(*held) for key, *held in rows}
        document = values.pop(_DOCUMENT, None)
        return Content(None if document is None else str(document), values)

    def _rows(self, query: str, here: str, there: str) -> Iterator[tuple[str, ...]]:
        yield from self._database.execute(query.format(here=here, there=there), self._segments)


def _segment(database: sqlite3.Connection, side: str, collection: str, directory: Path) -> str:
    row = database.execute(_SEGMENT.format(side=side), (collection,)).fetchone()
    if row is None:
        raise Corrupt(f"{directory} has no collection {collection}", hint=sqlite_file.RESTORE_HINT)
    return str(row[0])


def _value(text: str | None, whole: int | None, real: float | None, truth: int | None) -> Scalar:
    if truth is not None:
        return bool(truth)
    for value in (text, whole, real):
        if value is not None:
            return value
    raise Corrupt("a value of a record is none at all", hint=sqlite_file.RESTORE_HINT)
