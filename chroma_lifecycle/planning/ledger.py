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
from chroma_lifecycle.planning.facts import FieldFact, RunFact, Tombstone, merge_fields
from chroma_lifecycle.planning.ledger_rows import (
    APPLICATION_ID,
    FORMAT,
    SCHEMA,
    field_fact,
    field_row,
    run_fact,
    run_row,
    to_json,
    tombstone,
    tombstone_row,
)
from chroma_lifecycle.snapshot.sqlite_file import NO_ROOM
from chroma_lifecycle.values import Digest, ItemKey

_VARIABLES = 500  # of one statement; SQLite allows 999 everywhere
_RUN = "partition, sort, address, position, digest, records, received, version"

RETENTION_SECONDS = 45 * 86_400
"""Withdrawn facts and tombstones are kept so long after they were received. What could still need one comes
sooner: the age of the oldest delta when its run begins, and of the oldest message (14 days in a queue, and
14 more after one redrive)."""

# What expires is removed in one go when the oldest of it is a day over: one cycle in many writes for it.
_PRUNE_EVERY_SECONDS = 86_400

_WITHHELD = ("withheld_fields", "withheld_tombstones", "withheld_runs")

RunKey = tuple[ItemKey, str]
"""A run item and the address of a delta."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Facts that a rollback took out of force: they contribute nothing, and what is not newer moves nothing."""

    fields: Mapping[tuple[str, ItemKey], FieldFact] = field(default_factory=dict)
    tombstones: Mapping[tuple[str, ItemKey], Tombstone] = field(default_factory=dict)
    runs: Mapping[RunKey, RunFact] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.fields) + len(self.tombstones) + len(self.runs)


@dataclass(frozen=True, slots=True)
class LedgerChanges:
    """What one cycle writes into the ledger.

    Attributes:
        anew: Whether `fields` are all the field facts that there are from now on.
        written: Ids that a run writes, by the run that writes them.
        deleted: Ids of records that cease to exist.
        fresh: How many of the facts are of something that the ledger had no such fact of.
    """

    fields: tuple[FieldFact, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    runs: tuple[RunFact, ...] = ()
    anew: bool = False
    written: Mapping[RunKey, Collection[str]] = field(default_factory=dict)
    deleted: Collection[str] = ()
    fresh: int = 0

    def __bool__(self) -> bool:
        return bool(self.fields or self.tombstones or self.runs)


class Ledger:
    """The facts of one collection, in an open file. Close it before anybody copies the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        # The file is a working copy that no crash outlives; what is published is synced by its store.
        connection.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;")
        self._connection = connection
        self.path = path
        # What was read: join and plan ask for the same.
        self._runs: dict[int, RunFact] = {}
        self._facts: dict[str, list[FieldFact]] = {}

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make an empty ledger at *path*, where there must be nothing."""
        with path.open("xb"):
            pass
        with _sqlite_errors(path):
            ledger = cls(sqlite3.connect(path, isolation_level=None), path)
            ledger._connection.executescript(SCHEMA)
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
        wanted = set(reaches)
        read: dict[str, list[FieldFact]] = {reach: [] for reach in wanted - self._facts.keys()}
        for row in self._rows("SELECT * FROM field_facts WHERE reach IN ({})", read):
            read[row[0]].append(field_fact(row))
        self._facts |= read
        return {reach: facts for reach in wanted if (facts := self._facts[reach])}

    def tombstones(self, reaches: Iterable[str]) -> dict[str, list[Tombstone]]:
        """Return the tombstones of each of *reaches*, by reach; those without any are left out."""
        found: dict[str, list[Tombstone]] = {}
        for row in self._rows("SELECT * FROM tombstones WHERE reach IN ({})", reaches):
            found.setdefault(row[0], []).append(tombstone(row))
        return found

    def run(self, item: ItemKey, address: str) -> RunFact | None:
        """Return the run of *item* with this delta."""
        rows = self._connection.execute(
            f"SELECT {_RUN} FROM runs WHERE partition = ? AND sort = ? AND address = ?",  # noqa: S608 (own names)
            (item.partition, item.sort, address),
        )
        return next((run_fact(row) for row in rows), None)

    def digest_at(self, address: str) -> Digest | None:
        """Return the digest of the delta at *address*, if any run merged it, withheld or not."""
        row = self._connection.execute(
            "SELECT digest FROM runs WHERE address = ? UNION ALL "
            "SELECT digest FROM withheld_runs WHERE address = ? LIMIT 1",
            (address, address),
        ).fetchone()
        return None if row is None else Digest(row[0])

    def version_of(self, fact: FieldFact | Tombstone | RunFact, *, withheld: bool = False) -> int:
        """Return the number of the version that *fact* came with; 0 if it is not here."""
        item = (fact.item.partition, fact.item.sort)
        match fact:
            case RunFact():
                table, key, values = "runs", "address", (*item, fact.address)
            case Tombstone():
                table, key, values = "tombstones", "reach", (*item, fact.reach)
            case FieldFact():
                table, key, values = ("fields" if withheld else "field_facts"), "reach", (*item, fact.reach)
        table = f"withheld_{table}" if withheld else table
        query = f"SELECT version FROM {table} WHERE partition = ? AND sort = ? AND {key} = ?"  # noqa: S608 (own names)
        row = self._connection.execute(query, values).fetchone()
        return int(row[0]) if row else 0

    def runs(self) -> Iterator[RunFact]:
        """Yield every run."""
        yield from map(run_fact, self._connection.execute(f"SELECT {_RUN} FROM runs ORDER BY number"))  # noqa: S608

    def every_field_fact(self) -> Iterator[FieldFact]:
        """Yield every field fact."""
        yield from map(
            field_fact, self._connection.execute("SELECT * FROM field_facts ORDER BY reach, partition, sort")
        )

    def fields_after(self, version: int) -> frozenset[tuple[str, ItemKey]]:
        """Return which field facts came, or moved, with versions after this one: their reaches and items."""
        query = "SELECT reach, partition, sort FROM field_facts WHERE version > ?"
        return frozenset((row[0], ItemKey(row[1], row[2])) for row in self._connection.execute(query, (version,)))

    def withheld(self, reaches: Iterable[str] | None = None) -> Withheld:
        """Return what a rollback withholds: all of it, or the facts of *reaches* and every run."""
        fields, tombstones = (
            self._connection.execute(f"SELECT * FROM {table}")  # noqa: S608 (own names)
            if reaches is None
            else self._rows(f"SELECT * FROM {table} WHERE reach IN ({{}})", reaches)  # noqa: S608
            for table in ("withheld_fields", "withheld_tombstones")
        )
        runs = map(run_fact, self._connection.execute(f"SELECT {_RUN} FROM withheld_runs"))  # noqa: S608
        return Withheld(
            {(fact.reach, fact.item): fact for fact in map(field_fact, fields)},
            {(fact.reach, fact.item): fact for fact in map(tombstone, tombstones)},
            {(run.item, run.address): run for run in runs},
        )

    def unlike(self, other: Path) -> Withheld:
        """Return the facts that count here and are not the same in the ledger at *other*, or not there."""
        with self.beside(other) as connection:
            fields, tombstones, runs = (
                connection.execute(
                    f"SELECT * FROM main.{table} EXCEPT SELECT * FROM other.{table}"  # noqa: S608 (own names)
                ).fetchall()
                for table in ("field_facts", "tombstones", "runs")
            )
        return Withheld(
            {(fact.reach, fact.item): fact for fact in map(field_fact, fields)},
            {(fact.reach, fact.item): fact for fact in map(tombstone, tombstones)},
            {(run.item, run.address): run for run in (run_fact(row[1:]) for row in runs)},
        )

    @contextmanager
    def beside(self, other: Path) -> Iterator[sqlite3.Connection]:
        """Give the connection, with the ledger at *other* in it as ``other``, which is read alone."""
        with _sqlite_errors(self.path):
            self._connection.execute("ATTACH ? AS other", (f"{other.resolve().as_uri()}?mode=ro&immutable=1",))
            try:
                yield self._connection
            finally:
                self._connection.execute("DETACH other")
                self._runs.clear()
                self._facts.clear()

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

    def knows(self, record_id: str) -> bool:
        """Return whether there is any trace of a record: itself, a fact of its own, or a tombstone that covers it."""
        reaches = [record_id[:at] for at, letter in enumerate(record_id) if letter == "#"]
        return bool(
            self.writers([record_id]) or self.field_facts([record_id]) or self.tombstones([*reaches, record_id])
        )

    def record_ids(self) -> Iterator[str]:
        """Yield the id of every record, in order."""
        for (record_id,) in self._connection.execute("SELECT id FROM records ORDER BY id"):
            yield record_id

    def record_runs(self) -> Iterator[tuple[str, RunKey]]:
        """Yield the id of every record with the run that wrote it, in order."""
        query = "SELECT id, partition, sort, address FROM records JOIN runs ON run = number ORDER BY id"
        for record_id, partition, sort, address in self._connection.execute(query):
            yield record_id, (ItemKey(partition, sort), address)

    def meaning_of(self, mapping: Digest) -> dict[str, object] | None:
        """Return what the mapping of this digest says, if facts here were made under it."""
        row = self._connection.execute("SELECT meaning FROM mappings WHERE digest = ?", (mapping,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def read_at(self) -> int:
        """Return when the table was read for the mapping in force, in seconds of the Unix epoch; 0 if it was not.

        Of an item that no field fact speaks of, nothing counts that was created before: it was not in the table.
        """
        (as_of,) = self._connection.execute("SELECT max(as_of) FROM mappings").fetchone()
        return int(as_of or 0)

    def origins(self) -> frozenset[str]:
        """Return where facts came from: ``stream`` records, ``flat`` messages, an ``adopted`` snapshot."""
        tables = ("field_facts", "tombstones", "runs", *_WITHHELD)
        every = " UNION ALL ".join(f"SELECT position FROM {table}" for table in tables)  # noqa: S608 (own names)
        rows = self._connection.execute(f"SELECT DISTINCT substr(position, 1, 4) FROM ({every})")  # noqa: S608
        return frozenset({"stre": "stream", "adop": "adopted"}.get(begin, begin) for (begin,) in rows)

    def counts(self, *, records: int | None = None, facts: int | None = None) -> dict[str, int]:
        """Return how many records there are, facts that count, and facts that are withheld.

        Args:
            records: Their number, where it is known.
            facts: The number of those that count, where it is known.
        """
        known = {"records": records, "facts": facts, "withheld": None}
        tables = {"records": ("records",), "facts": ("field_facts", "tombstones", "runs"), "withheld": _WITHHELD}
        return {name: sum(map(self._count, tables[name])) if n is None else n for name, n in known.items()}

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
            query = f"SELECT {_RUN} FROM runs WHERE number = ?"  # noqa: S608 (own names)
            self._runs[number] = run_fact(self._connection.execute(query, (number,)).fetchone())
        return self._runs[number]

    # Writing

    def store(self, changes: LedgerChanges, *, received_seconds: int, version: int = 0) -> None:
        """Write what a cycle moved, in one transaction; what is withheld of it and no newer goes.

        Args:
            changes: Facts as they are now, and what became of the records.
            received_seconds: When the changes came, as seconds of the Unix epoch; retention counts from it.
            version: The version that is being made, for `explain`; 0 where it is not known.

        Raises:
            NoRoom: The disk is full; nothing was written.
        """
        when = received_seconds, version
        with self._transaction() as cursor:
            self._release(cursor, changes)
            if changes.anew:
                cursor.execute("DELETE FROM field_facts")
            _insert(cursor, "field_facts", (field_row(fact, *when) for fact in changes.fields))
            _insert(cursor, "tombstones", (tombstone_row(fact, *when) for fact in changes.tombstones))
            cursor.executemany(
                f"INSERT INTO runs ({_RUN}) VALUES (?,?,?,?,?,?,?,?) "  # noqa: S608 (own names)
                "ON CONFLICT (partition, sort, address) DO UPDATE SET position = excluded.position, "
                "received = excluded.received, version = excluded.version",
                (run_row(run, *when) for run in changes.runs),
            )
            for (item, address), ids in changes.written.items():
                (number,) = cursor.execute(
                    "SELECT number FROM runs WHERE partition = ? AND sort = ? AND address = ?",
                    (item.partition, item.sort, address),
                ).fetchone()
                _insert(cursor, "records", ((id_, number) for id_ in ids))
            cursor.executemany("DELETE FROM records WHERE id = ?", ((id_,) for id_ in changes.deleted))

    def _release(self, cursor: sqlite3.Cursor, changes: LedgerChanges) -> None:
        """Remove the withheld facts that tell nothing that *changes* does not tell as new."""
        if not any(map(self._count, _WITHHELD)):
            return
        withheld = self.withheld()
        outdone = [
            fact
            for fact in changes.fields
            if (held := withheld.fields.get((fact.reach, fact.item))) and merge_fields(fact, held) == fact
        ]
        for table, facts in (("withheld_fields", outdone), ("withheld_tombstones", changes.tombstones)):
            cursor.executemany(
                f"DELETE FROM {table} WHERE reach = ? AND partition = ? AND sort = ?",  # noqa: S608 (own names)
                ((fact.reach, fact.item.partition, fact.item.sort) for fact in facts),
            )
        cursor.executemany(
            "DELETE FROM withheld_runs WHERE partition = ? AND sort = ? AND address = ?",
            ((run.item.partition, run.item.sort, run.address) for run in changes.runs),
        )

    def withhold(self, facts: Withheld, *, received_seconds: int, version: int) -> None:
        """Put *facts* in the place of all that was withheld."""
        when = received_seconds, version
        with self._transaction() as cursor:
            for table in _WITHHELD:
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 (own names)
            _insert(cursor, "withheld_fields", (field_row(fact, *when) for fact in facts.fields.values()))
            _insert(cursor, "withheld_tombstones", (tombstone_row(fact, *when) for fact in facts.tombstones.values()))
            _insert(cursor, "withheld_runs", (run_row(run, *when) for run in facts.runs.values()))

    def prune(self, *, now_seconds: int) -> int:
        """Forget withdrawn facts and tombstones that were received `RETENTION_SECONDS` ago; return how many.

        Nothing is written until the oldest is a day over that, and then all that is over it goes.
        """
        expired = now_seconds - RETENTION_SECONDS
        (oldest,) = self._connection.execute(
            "SELECT min(received) FROM (SELECT min(received) AS received FROM field_facts WHERE present = 0 "
            "UNION ALL SELECT min(received) FROM tombstones)"
        ).fetchone()
        if oldest is None or oldest > expired - _PRUNE_EVERY_SECONDS:
            return 0
        with self._transaction() as cursor:
            gone = cursor.execute("DELETE FROM field_facts WHERE present = 0 AND received <= ?", (expired,)).rowcount
            return gone + cursor.execute("DELETE FROM tombstones WHERE received <= ?", (expired,)).rowcount

    def erase(self, ids: Collection[str]) -> None:
        """Forget what is known of the content of records: they are none any more, and their own facts are withdrawn.

        Positions stay, so that no duplicate and no straggler brings anything back; what is newer does.
        Run :meth:`write_anew` afterwards: until then the file still holds what was erased.
        """
        rows = [(id_,) for id_ in ids]
        with self._transaction() as cursor:
            cursor.executemany("DELETE FROM records WHERE id = ?", rows)
            for table in ("field_facts", "withheld_fields"):
                cursor.executemany(
                    f"UPDATE {table} SET position = seen, present = 0, attributes = '{{}}', later = '{{}}' "  # noqa: S608
                    "WHERE reach = ?",
                    rows,
                )

    def write_anew(self) -> None:
        """Write the whole file again, without what it holds no longer.

        Raises:
            NoRoom: The disk is full.
        """
        with _sqlite_errors(self.path):
            self._connection.execute("VACUUM")

    def remember_mapping(self, digest: Digest, meaning: Mapping[str, object], *, as_of: int = 0) -> None:
        """Note under which mapping facts are made, so that a changed one can be told from it in words.

        Args:
            as_of: When the table was read, if the mapping comes into force by a reading; see :meth:`read_at`.
        """
        with self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO mappings VALUES (?,?,?) ON CONFLICT (digest) DO UPDATE SET as_of = excluded.as_of "
                "WHERE excluded.as_of > as_of",
                (digest, to_json(meaning), as_of),
            )

    def remember_mappings_of(self, newer: Ledger) -> None:
        """Note what *newer* knows of mappings: its facts are to be understood here too."""
        for digest, meaning, as_of in newer._connection.execute("SELECT digest, meaning, as_of FROM mappings"):
            self.remember_mapping(Digest(digest), json.loads(meaning), as_of=as_of)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        with _sqlite_errors(self.path), closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have rolled back by itself
                    cursor.execute("ROLLBACK")
                raise
            finally:
                self._runs.clear()
                self._facts.clear()


def _insert(cursor: sqlite3.Cursor, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    rest = iter(rows)
    if (first := next(rest, None)) is not None:
        query = f"INSERT OR REPLACE INTO {table} VALUES ({','.join('?' * len(first))})"  # noqa: S608 (own names)
        cursor.execute(query, first)
        cursor.executemany(query, rest)


@contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as problem:
        if problem.sqlite_errorname in NO_ROOM:
            raise NoRoom(
                f"the ledger {path} cannot be written: {problem}", hint="make room on the workspace's disk"
            ) from problem
        raise Corrupt(
            f"the ledger {path} cannot be used: {problem}", hint="restore the collection anew, or run verify"
        ) from problem


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise Corrupt(
            f"{path} is no ledger (application id {application:#x})", hint="restore the collection anew, or run verify"
        )
    if version > FORMAT:
        raise BadInput(
            f"the ledger {path} has format {version}, this release knows formats up to {FORMAT}",
            hint="run a release of chroma-lifecycle at least as new as the one that wrote it",
        )
