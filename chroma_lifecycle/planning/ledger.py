"""The ledger: a SQLite file beside ``chroma/`` in the snapshot, holding the facts of one collection.

It is published with the records by one swap, so that what was applied and the record of what
was applied can never disagree. ``docs/format.md`` describes its tables.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chroma_lifecycle.errors import BadInput, Corrupt, NoRoom
from chroma_lifecycle.planning.facts import FieldFact, RunFact, Tombstone
from chroma_lifecycle.values import Digest, ItemKey, Position

FORMAT = 1
_APPLICATION_ID = 0x43684C43  # "ChLC"
_NO_ROOM = frozenset({"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"})
_VARIABLES = 500  # of one statement; SQLite allows 999 everywhere

_SCHEMA = f"""
PRAGMA page_size = 4096;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE field_facts (
    reach TEXT NOT NULL, partition TEXT NOT NULL, sort TEXT NOT NULL, rule TEXT NOT NULL,
    position TEXT NOT NULL, seen TEXT NOT NULL, present INTEGER NOT NULL,
    attributes TEXT NOT NULL, later TEXT NOT NULL, received INTEGER NOT NULL,
    PRIMARY KEY (reach, partition, sort)
) WITHOUT ROWID;
CREATE TABLE tombstones (
    reach TEXT NOT NULL, partition TEXT NOT NULL, sort TEXT NOT NULL, rule TEXT NOT NULL,
    position TEXT NOT NULL, received INTEGER NOT NULL,
    PRIMARY KEY (reach, partition, sort)
) WITHOUT ROWID;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, partition TEXT NOT NULL, sort TEXT NOT NULL, address TEXT NOT NULL,
    position TEXT NOT NULL, digest TEXT NOT NULL, records INTEGER NOT NULL, received INTEGER NOT NULL,
    UNIQUE (partition, sort, address)
);
CREATE INDEX runs_by_address ON runs (address);
CREATE TABLE mappings (digest TEXT NOT NULL PRIMARY KEY, meaning TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (id TEXT NOT NULL PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs) WITHOUT ROWID;
"""

RunKey = tuple[ItemKey, str]
"""A run item and the address of a delta."""


@dataclass(frozen=True, slots=True)
class LedgerChanges:
    """What one cycle writes into the ledger.

    Attributes:
        written: Ids that a run writes, by the run that writes them.
        deleted: Ids of records that cease to exist.
    """

    fields: tuple[FieldFact, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    runs: tuple[RunFact, ...] = ()
    written: Mapping[RunKey, Collection[str]] = field(default_factory=dict)
    deleted: Collection[str] = ()

    def __bool__(self) -> bool:
        return bool(self.fields or self.tombstones or self.runs)


class Ledger:
    """The facts of one collection, in an open file. Close it before anybody copies the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        # The file is a working copy that no crash outlives; what is published is synced by its store.
        connection.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")
        self._connection = connection
        self._path = path
        self._runs: dict[int, RunFact] = {}

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make an empty ledger at *path*, where there must be nothing."""
        with path.open("xb"):
            pass
        with _sqlite_errors(path):
            ledger = cls(sqlite3.connect(path, isolation_level=None), path)
            ledger._connection.executescript(_SCHEMA)
        return ledger

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Ledger:
        """Open the ledger at *path*.

        Args:
            read_only: Change no byte and take no lock; right for the pristine copy, which
                nobody writes while we read it.

        Raises:
            Corrupt: It is no ledger, or a damaged one.
            BadInput: A newer release wrote it.
        """
        mode = "mode=ro&immutable=1" if read_only else "mode=rw"
        with _sqlite_errors(path):
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None)
            try:
                _check_format(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reading

    def field_facts(self, reaches: Iterable[str]) -> dict[str, list[FieldFact]]:
        """Return the field facts of each of *reaches*, by reach; those without any are left out."""
        found: dict[str, list[FieldFact]] = {}
        for row in self._rows("SELECT * FROM field_facts WHERE reach IN ({})", reaches):
            found.setdefault(row[0], []).append(_field_fact(row))
        return found

    def tombstones(self, reaches: Iterable[str]) -> dict[str, list[Tombstone]]:
        """Return the tombstones of each of *reaches*, by reach; those without any are left out."""
        found: dict[str, list[Tombstone]] = {}
        for reach, partition, sort, rule, position, _ in self._rows(
            "SELECT * FROM tombstones WHERE reach IN ({})", reaches
        ):
            fact = Tombstone(rule, ItemKey(partition, sort), reach, Position.parse(position))
            found.setdefault(reach, []).append(fact)
        return found

    def run(self, item: ItemKey, address: str) -> RunFact | None:
        """Return the run of *item* with this delta."""
        rows = self._connection.execute(
            "SELECT * FROM runs WHERE partition = ? AND sort = ? AND address = ?", (item.partition, item.sort, address)
        )
        return next((_run_fact(row) for row in rows), None)

    def digest_at(self, address: str) -> Digest | None:
        """Return the digest of the delta at *address*, if any run merged it."""
        row = self._connection.execute("SELECT digest FROM runs WHERE address = ? LIMIT 1", (address,)).fetchone()
        return None if row is None else Digest(row[0])

    def runs(self) -> Iterator[RunFact]:
        """Yield every run."""
        yield from map(_run_fact, self._connection.execute("SELECT * FROM runs ORDER BY number"))

    def writers(self, ids: Iterable[str]) -> dict[str, RunFact]:
        """Return for each of *ids* that is a record the run that wrote it."""
        rows = self._rows("SELECT id, run FROM records WHERE id IN ({})", ids)
        return {record_id: self._run_of(run) for record_id, run in rows}

    def records_below(self, reaches: Iterable[str]) -> dict[str, dict[str, RunFact]]:
        """Return for each of *reaches* the records that it covers: its own id, and ids that go on with ``#``."""
        found: dict[str, dict[str, RunFact]] = {}
        # "$" follows "#": one range holds the id, and those that begin with it and a "#", among a few others.
        for reach, record_id, run in self._rows(
            "WITH reach (prefix) AS (VALUES {}) SELECT prefix, id, run FROM reach CROSS JOIN records "
            "WHERE id >= prefix AND id < prefix || '$' AND (id = prefix OR id > prefix || '#')",
            reaches,
            place="(?)",
        ):
            found.setdefault(reach, {})[record_id] = self._run_of(run)
        return found

    def record_ids(self) -> Iterator[str]:
        """Yield the id of every record, in order."""
        for (record_id,) in self._connection.execute("SELECT id FROM records ORDER BY id"):
            yield record_id

    def meaning_of(self, mapping: Digest) -> dict[str, object] | None:
        """Return what the mapping of this digest says, if facts here were made under it."""
        row = self._connection.execute("SELECT meaning FROM mappings WHERE digest = ?", (mapping,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def counts(self) -> dict[str, int]:
        """Return how many records and facts there are."""
        facts = sum(self._count(table) for table in ("field_facts", "tombstones", "runs"))
        return {"records": self._count("records"), "facts": facts}

    def _count(self, table: str) -> int:
        (count,) = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 (own names)
        return int(count)

    def _rows(self, query: str, values: Iterable[str], *, place: str = "?") -> Iterator[tuple[Any, ...]]:
        rest = iter(values)
        while chunk := tuple(islice(rest, _VARIABLES)):
            yield from self._connection.execute(query.format(",".join([place] * len(chunk))), chunk)

    def _run_of(self, number: int) -> RunFact:
        """Return a run by its number; the records of a batch have few, so each is read once."""
        if number not in self._runs:
            row = self._connection.execute("SELECT * FROM runs WHERE number = ?", (number,)).fetchone()
            self._runs[number] = _run_fact(row)
        return self._runs[number]

    # Writing

    def store(self, changes: LedgerChanges, *, received_seconds: int) -> None:
        """Write what a cycle moved, in one transaction.

        Args:
            changes: Facts as they are now, and what became of the records.
            received_seconds: When the changes came, as seconds of the Unix epoch; retention counts from it.

        Raises:
            NoRoom: The disk is full; nothing was written.
        """
        self._runs.clear()
        with self._transaction() as cursor:
            cursor.executemany(
                "INSERT OR REPLACE INTO field_facts VALUES (?,?,?,?,?,?,?,?,?,?)",
                (_field_row(fact, received_seconds) for fact in changes.fields),
            )
            cursor.executemany(
                "INSERT OR REPLACE INTO tombstones VALUES (?,?,?,?,?,?)",
                (
                    (f.reach, f.item.partition, f.item.sort, f.rule, str(f.position), received_seconds)
                    for f in changes.tombstones
                ),
            )
            for run in changes.runs:
                self._store_run(cursor, run, received_seconds)
            for (item, address), ids in changes.written.items():
                (number,) = cursor.execute(
                    "SELECT number FROM runs WHERE partition = ? AND sort = ? AND address = ?",
                    (item.partition, item.sort, address),
                ).fetchone()
                cursor.executemany("INSERT OR REPLACE INTO records VALUES (?,?)", ((id_, number) for id_ in ids))
            cursor.executemany("DELETE FROM records WHERE id = ?", ((id_,) for id_ in changes.deleted))

    def remember_mapping(self, digest: Digest, meaning: Mapping[str, object]) -> None:
        """Note under which mapping facts are made, so that a changed one can be told from it in words."""
        with self._transaction() as cursor:
            cursor.execute("INSERT OR IGNORE INTO mappings VALUES (?,?)", (digest, _json(meaning)))

    def _store_run(self, cursor: sqlite3.Cursor, run: RunFact, received_seconds: int) -> None:
        cursor.execute(
            "INSERT INTO runs (partition, sort, address, position, digest, records, received) VALUES (?,?,?,?,?,?,?) "
            "ON CONFLICT (partition, sort, address) DO UPDATE SET position = excluded.position, "
            "received = excluded.received",
            (
                run.item.partition,
                run.item.sort,
                run.address,
                str(run.position),
                run.digest,
                run.records,
                received_seconds,
            ),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with _sqlite_errors(self._path), closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have rolled back by itself
                    cursor.execute("ROLLBACK")
                raise


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as problem:
        if problem.sqlite_errorname in _NO_ROOM:
            raise NoRoom(
                f"the ledger {path} cannot be written: {problem}", hint="make room on the workspace's disk"
            ) from problem
        raise Corrupt(
            f"the ledger {path} cannot be used: {problem}", hint="restore the collection anew, or run verify"
        ) from problem


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise Corrupt(
            f"{path} is no ledger (application id {application:#x})", hint="restore the collection anew, or run verify"
        )
    if version > FORMAT:
        raise BadInput(
            f"the ledger {path} has format {version}, this release knows formats up to {FORMAT}",
            hint="run a release of chroma-lifecycle at least as new as the one that wrote it",
        )


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))  # ASCII: a lone surrogate passes too


def _field_row(fact: FieldFact, received: int) -> tuple[object, ...]:
    later = {name: [str(position), value] for name, (position, value) in fact.later.items()}
    return (
        fact.reach,
        fact.item.partition,
        fact.item.sort,
        fact.rule,
        str(fact.position),
        str(fact.seen),
        int(fact.present),
        _json(fact.attributes),
        _json(later),
        received,
    )


def _field_fact(row: tuple[Any, ...]) -> FieldFact:
    reach, partition, sort, rule, position, seen, present, attributes, later, _ = row
    return FieldFact(
        rule,
        ItemKey(partition, sort),
        reach,
        Position.parse(position),
        Position.parse(seen),
        bool(present),
        json.loads(attributes),
        {name: (Position.parse(at), value) for name, (at, value) in json.loads(later).items()},
    )


def _run_fact(row: tuple[Any, ...]) -> RunFact:
    _, partition, sort, address, position, digest, records, _ = row
    return RunFact(ItemKey(partition, sort), address, Position.parse(position), Digest(digest), records)
