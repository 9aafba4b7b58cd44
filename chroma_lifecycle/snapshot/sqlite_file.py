"""A closed SQLite file: what its header and its neighbours tell without opening it, and reading it.

Nothing here may touch a file that a client of this process has open: closing a second handle
drops the locks that SQLite holds for the first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from chroma_lifecycle.errors import Corrupt, NoRoom, NotClosed

MAGIC = b"SQLite format 3\x00"
HEADER_BYTES = 100
JOURNAL_SUFFIXES = ("-journal", "-wal", "-shm")

NO_ROOM = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"})
"""What SQLite says when a disk is full."""

RESTORE_HINT = "restore the last sound version; this directory must not be published or opened"


def require_no_journal(path: Path) -> None:
    """Refuse a database beside which a journal lies: a transaction is open, or was cut off.

    Raises:
        NotClosed: There is one.
    """
    for suffix in JOURNAL_SUFFIXES:
        if (journal := path.with_name(path.name + suffix)).exists():
            raise NotClosed(
                f"{journal} is there: a transaction on {path.name} is open or was cut off",
                hint="close every client of the directory; if none is left, the process died in the "
                "middle of a write: throw this copy away and restore",
            )


def check_header(path: Path) -> None:
    """Check that a database is as long as its header says.

    Raises:
        Corrupt: It is missing, empty, something else than SQLite, or cut off.
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
            size = file.seek(0, 2)
    except FileNotFoundError as problem:
        raise Corrupt(f"{path} is missing", hint=RESTORE_HINT) from problem
    if size == 0:
        # Chroma would open it silently as a new database without a single record.
        raise Corrupt(f"{path} is empty (0 bytes)", hint=RESTORE_HINT)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise Corrupt(f"{path} is not a SQLite database", hint=RESTORE_HINT)
    _check_size(path, header, size)


def free_bytes(path: Path) -> int:
    """Return how much of a database holds nothing (any more): pages that SQLite keeps for later."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    return int.from_bytes(header[36:40], "big") * _page_bytes(header)


def _page_bytes(header: bytes) -> int:
    stored = int.from_bytes(header[16:18], "big")
    return 65_536 if stored == 1 else stored


def vacuum(path: Path) -> None:
    """Write a closed database anew, without its free pages and what is still in them.

    Raises:
        NoRoom: The disk is full.
        Corrupt: SQLite cannot read it.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = MEMORY")
            database.execute("VACUUM")
    except sqlite3.Error as problem:
        if problem.sqlite_errorname in NO_ROOM:
            raise NoRoom(f"{path} cannot be written anew: {problem}", hint="make room on this disk") from problem
        raise Corrupt(f"{path} cannot be written anew: {problem}", hint=RESTORE_HINT) from problem


def _check_size(path: Path, header: bytes, size: int) -> None:
    page_bytes = _page_bytes(header)
    if page_bytes < 512 or page_bytes & (page_bytes - 1):
        raise Corrupt(f"{path} has a page size of {page_bytes} bytes", hint=RESTORE_HINT)
    pages, changes, valid_for = (int.from_bytes(header[at : at + 4], "big") for at in (28, 24, 92))
    if pages == 0 or changes != valid_for:
        # Written by a SQLite older than 3.7, which did not keep the count: whole pages must do.
        pages = max(1, size // page_bytes)
    if size != pages * page_bytes:
        raise Corrupt(
            f"{path} has {size} bytes, its header says {pages} pages of {page_bytes} bytes", hint=RESTORE_HINT
        )


def check_pages(path: Path) -> None:
    """Let SQLite check every page (``PRAGMA quick_check``).

    Raises:
        Corrupt: It found a fault.
    """
    with reading(path) as database:
        faults = [" ".join(row[0].split()) for row in database.execute("PRAGMA quick_check(5)")]
    if faults != ["ok"]:
        raise Corrupt(f"{path} fails SQLite's quick check: {'; '.join(faults)}", hint=RESTORE_HINT)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a closed database for reading; it is neither locked nor changed.

    Raises:
        Corrupt: SQLite cannot read what is asked for inside.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            yield database
    except sqlite3.Error as problem:
        raise Corrupt(f"{path} cannot be read: {problem}", hint=RESTORE_HINT) from problem
