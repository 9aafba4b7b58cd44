"""Whether a closed Chroma directory is whole: the light checks at every close, the full ones now and then.

Light (about a millisecond, whatever the size): journals, the SQLite header against the file's
size, the small tables, the HNSW files against their header and the tables, the write-ahead tail.
Full (grows with the size): SQLite's quick check of every page, the links between HNSW elements,
the count of records.

Nothing here may run while a client of this process has the directory open (see ``sqlite_file``).
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot import hnsw_files, sqlite_file
from chroma_lifecycle.snapshot.sqlite_file import RESTORE_HINT

DATABASE = "chroma.sqlite3"

_HNSW = "urn:chroma:segment/vector/hnsw-local-persisted"
# Operations of the queue that change HNSW: those with a vector, and deletions (3).
# The others concern metadata; SQLite holds them already, and a reader replays them at no cost.
_TAIL = """
    SELECT COUNT(*) FROM embeddings_queue
    WHERE seq_id > ? AND topic LIKE '%/' || ? AND (vector IS NOT NULL OR operation = 3)
"""


@dataclass(frozen=True, slots=True)
class CollectionState:
    """One Chroma collection as its files tell it.

    Attributes:
        dimension: Of its vectors; ``None`` before the first.
        flushed: Elements in the HNSW files; deleted ones may count too.
        tail: Vector operations that are only in the write-ahead queue: every reader replays them.
        records: How many there are; ``None`` unless the check was full.
    """

    name: str
    dimension: int | None
    flushed: int
    tail: int
    records: int | None


@dataclass(frozen=True, slots=True)
class Soundness:
    """What the checks of a closed Chroma directory found.

    Attributes:
        migrations: Those that were applied to the database, as ``<kind>/<file name>``, in order.
        free_bytes: Pages of the database that hold nothing (any more).
        full: Whether every page and every link was looked at.
    """

    collections: tuple[CollectionState, ...]
    migrations: tuple[str, ...]
    free_bytes: int
    full: bool

    @property
    def elements(self) -> int:
        """Elements in the HNSW files of all collections, those of deleted records too."""
        return sum(state.flushed for state in self.collections)

    @property
    def tail(self) -> int:
        """Vector operations that are only in the write-ahead queue, of all collections."""
        return sum(state.tail for state in self.collections)


def is_chroma_directory(directory: Path) -> bool:
    """Return whether Chroma's database stands there, sound or not."""
    return (directory / DATABASE).exists()


def examine(directory: Path, *, full: bool = False) -> Soundness:
    """Check a closed Chroma directory.

    Raises:
        BadInput: There is no such directory, or nothing in it.
        NotClosed: A journal lies beside the database.
        Corrupt: A file is missing, cut off, or does not fit the others; it names file and fact.
    """
    if not directory.is_dir() or not any(directory.iterdir()):
        what = "is empty" if directory.is_dir() else "is no directory"
        raise BadInput(f"{directory} {what}, so it holds no Chroma database", hint="check the path")
    path = directory / DATABASE
    sqlite_file.require_no_journal(path)
    sqlite_file.check_header(path)
    if full:
        sqlite_file.check_pages(path)
    with sqlite_file.reading(path) as database:
        collections = tuple(
            _check_collection(directory, database, *row, full=full)
            for row in database.execute("SELECT id, name, dimension FROM collections ORDER BY name").fetchall()
        )
        return Soundness(collections, _migrations(database), sqlite_file.free_bytes(path), full)


def count_records(directory: Path) -> int:
    """Return how many records a closed and sound Chroma directory holds.

    Chroma's own ``count()`` indexes what is in the queue before it answers, which takes as long as writing it.
    """
    with sqlite_file.reading(directory / DATABASE) as database:
        segments = database.execute("SELECT id FROM segments WHERE scope = 'METADATA'").fetchall()
        return sum(_count(database, segment) for (segment,) in segments)


def check_database(path: Path, *, full: bool = False) -> None:
    """Check a closed SQLite file that is not Chroma's.

    Raises:
        NotClosed: A journal lies beside it.
        Corrupt: It is missing, empty, cut off; where the check is full: a page is wrong.
    """
    sqlite_file.require_no_journal(path)
    sqlite_file.check_header(path)
    if full:
        sqlite_file.check_pages(path)


def _migrations(database: sqlite3.Connection) -> tuple[str, ...]:
    rows = database.execute("SELECT dir, filename FROM migrations ORDER BY dir, version").fetchall()
    return tuple(f"{kind}/{name}" for kind, name in rows)


def _check_collection(
    directory: Path, database: sqlite3.Connection, id_: str, name: str, dimension: int | None, *, full: bool
) -> CollectionState:
    segments = {
        scope: (segment, kind)
        for segment, kind, scope in database.execute(
            "SELECT id, type, scope FROM segments WHERE collection = ?", (id_,)
        )
    }
    if missing := {"METADATA", "VECTOR"} - segments.keys():
        raise Corrupt(
            f"{directory / DATABASE}: collection {name} has no {' or '.join(sorted(missing))} segment",
            hint=RESTORE_HINT,
        )
    segment, kind = segments["VECTOR"]
    reached = _max_seq_id(database, segment)
    header = _check_vectors(directory / segment, dimension, reached, full=full) if kind == _HNSW else None
    tail = database.execute(_TAIL, (reached or 0, id_)).fetchone()[0]
    state = CollectionState(
        name=name,
        dimension=dimension,
        flushed=header.elements if header else 0,
        tail=tail,
        records=_count(database, segments["METADATA"][0]) if full else None,
    )
    if kind == _HNSW and state.records is not None and state.records > state.flushed + state.tail:
        raise Corrupt(
            f"{directory / segment} and the write-ahead queue hold {state.flushed} + {state.tail} vectors of "
            f"collection {name}, which has {state.records} records",
            hint=RESTORE_HINT,
        )
    return state


def _check_vectors(
    segment: Path, dimension: int | None, reached: int | None, *, full: bool
) -> hnsw_files.HnswHeader | None:
    """Check the HNSW files, if the queue was ever written to them.

    Until then Chroma prepares empty ones, without labels, and makes them anew at each opening.
    """
    if reached is None and not (segment / hnsw_files.LABELS).exists():
        return None
    header = hnsw_files.check_structure(segment, dimension)
    if full:
        hnsw_files.check_links(segment, header)
    return header


def _max_seq_id(database: sqlite3.Connection, segment: str) -> int | None:
    row = database.execute("SELECT seq_id FROM max_seq_id WHERE segment_id = ?", (segment,)).fetchone()
    if row is None or row[0] is None:
        return None
    # Databases from before the migration metadb/00005 hold it as 8 bytes, big-endian.
    return int.from_bytes(row[0], "big") if isinstance(row[0], bytes) else int(row[0])


def _count(database: sqlite3.Connection, segment: str) -> int:
    return int(database.execute("SELECT COUNT(*) FROM embeddings WHERE segment_id = ?", (segment,)).fetchone()[0])
