"""The ledger's file: opened, read in chunks and written in transactions, with SQLite's errors in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

from chroma_lifecycle.errors import BadInput, Corrupt, NoRoom
from chroma_lifecycle.planning.ledger_rows import APPLICATION_ID, FORMAT, SCHEMA
from chroma_lifecycle.snapshot.sqlite_file import NO_ROOM

_VARIABLES = 500  # of one statement; SQLite allows 999 everywhere


class LedgerFile:
    """An open ledger's connection. Close it before anybody copies the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        # The file is a working copy that no crash outlives; what is published is synced by its store.
        connection.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")
        self.connection = connection
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty ledger at *path*, where there must be nothing."""
        with path.open("xb"):
            pass
        with sqlite_errors(path):
            file = cls(sqlite3.connect(path, isolation_level=None), path)
            file.connection.executescript(SCHEMA)
        return file

    @classmethod
    def open(cls, path: Path, *, read_only: bool) -> Self:
        """Open the ledger at *path*; see :meth:`Ledger.open`."""
        mode = "mode=ro&immutable=1" if read_only else "mode=rw"
        with sqlite_errors(path):
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None)
            try:
                _check_format(connection, path)
                return cls(connection, path)
            except BaseException:
                connection.close()
                raise

    def rows(self, query: str, values: Iterable[str], *, place: str = "?") -> Iterator[tuple[Any, ...]]:
        """Yield what *query* answers, asked with as many of *values* at a time as a statement takes."""
        rest = iter(values)
        while chunk := tuple(islice(rest, _VARIABLES)):
            yield from self.connection.execute(query.format(",".join([place] * len(chunk))), chunk)

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        (count,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 (own names)
        return int(count)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """Write all that is done with the cursor, or nothing."""
        with sqlite_errors(self.path), closing(self.connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk may have rolled back by itself
                    cursor.execute("ROLLBACK")
                raise

    @contextmanager
    def beside(self, other: Path) -> Iterator[sqlite3.Connection]:
        """Give the connection, with the ledger at *other* in it as ``other``, which is read alone."""
        with sqlite_errors(self.path):
            self.connection.execute("ATTACH ? AS other", (f"{other.resolve().as_uri()}?mode=ro&immutable=1",))
            try:
                yield self.connection
            finally:
                self.connection.execute("DETACH other")

    def write_anew(self) -> None:
        """Write the whole file again, without what it holds no longer."""
        with sqlite_errors(self.path):
            self.connection.execute("VACUUM")


def insert(cursor: sqlite3.Cursor, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Write *rows* into a table, in the place of those with the same keys."""
    rest = iter(rows)
    if (first := next(rest, None)) is not None:
        query = f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(first))})"  # noqa: S608 (own names)
        cursor.execute(query, first)
        cursor.executemany(query, rest)


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Say in our words what SQLite says of the ledger at *path*.

    Raises:
        NoRoom: The disk is full.
        Corrupt: It is damaged, or cannot be read.
    """
    try:
        yield
    except sqlite3.DatabaseError as problem:
        # Python's own errors have no name, and one of them quotes what is no text: that may be content.
        name = getattr(problem, "sqlite_errorname", None)
        if name in NO_ROOM:
            raise NoRoom(
                f"the ledger {path} cannot be written: {problem}", hint="make room on the workspace's disk"
            ) from problem
        raise Corrupt(
            f"the ledger {path} cannot be used: {problem if name else type(problem).__name__}",
            hint="restore the collection anew; `chroma-lifecycle verify` tells whether it is sound",
        ) from problem


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise Corrupt(
            f"{path} is no ledger (application id {application:#x})",
            hint="restore the collection anew; `chroma-lifecycle verify` tells whether it is sound",
        )
    if version > FORMAT:
        raise BadInput(
            f"the ledger {path} has format {version}, this release knows formats up to {FORMAT}",
            hint="run a release of chroma-lifecycle at least as new as the one that wrote it",
        )
