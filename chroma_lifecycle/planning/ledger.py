"""The ledger: a SQLite file beside ``chroma/`` in the snapshot, holding the facts of one collection.

It is published with the records by one swap, so that what was applied and the record of what
was applied can never disagree. ``docs/format.md`` describes its tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from chroma_lifecycle.planning.facts import ERASED, FieldFact, RunFact, RunKey, Tombstone
from chroma_lifecycle.planning.ledger_file import LedgerFile, insert, sqlite_errors
from chroma_lifecycle.planning.ledger_mappings import LedgerMappings
from chroma_lifecycle.planning.ledger_rows import (
    RUN,
    field_fact,
    field_row,
    run_fact,
    run_row,
    tombstone,
    tombstone_row,
)
from chroma_lifecycle.planning.ledger_withheld import (
    WITHHELD,
    Withheld,
    leave_out,
    left_in,
    read_withheld,
    release,
    replace_withheld,
    unlike,
)
from chroma_lifecycle.values import Digest, ItemKey

__all__ = ["RETENTION_SECONDS", "Ledger", "LedgerChanges", "RunKey", "Withheld"]

RETENTION_SECONDS = 45 * 86_400
"""Withdrawn facts and tombstones are kept so long after they were received. What could still need one comes
sooner: the age of the oldest delta when its run begins, and of the oldest message (14 days in a queue, and
14 more after one redrive)."""

# What expires is removed in one go when the oldest of it is a day over: one cycle in many writes for it.
_PRUNE_EVERY_SECONDS = 86_400


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

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self.mappings = LedgerMappings(file)
        # What was read: join and plan ask for the same.
        self._runs: dict[int, RunFact] = {}
        self._facts: dict[str, list[FieldFact]] = {}

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make an empty ledger at *path*, where there must be nothing."""
        return cls(LedgerFile.create(path))

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
        return cls(LedgerFile.open(path, read_only=read_only))

    def close(self) -> None:
        self._file.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(problem, sqlite3.DatabaseError):
            with sqlite_errors(self.path):  # of whatever read it in the block
                raise problem

    # Reading

    def field_facts(self, reaches: Iterable[str]) -> dict[str, list[FieldFact]]:
        """Return the field facts of each of *reaches*, by reach; those without any are left out."""
        wanted = set(reaches)
        read: dict[str, list[FieldFact]] = {reach: [] for reach in wanted - self._facts.keys()}
        for row in self._file.rows("SELECT * FROM field_facts WHERE reach IN ({})", read):
            read[row[0]].append(field_fact(row))
        self._facts |= read
        return {reach: facts for reach in wanted if (facts := self._facts[reach])}

    def tombstones(self, reaches: Iterable[str]) -> dict[str, list[Tombstone]]:
        """Return the tombstones of each of *reaches*, by reach; those without any are left out."""
        found: dict[str, list[Tombstone]] = {}
        for row in self._file.rows("SELECT * FROM tombstones WHERE reach IN ({})", reaches):
            found.setdefault(row[0], []).append(tombstone(row))
        return found

    def run(self, item: ItemKey, address: str) -> RunFact | None:
        """Return the run of *item* with this delta."""
        rows = self._file.connection.execute(
            f"SELECT {RUN} FROM runs WHERE partition = ? AND sort = ? AND address = ?",  # noqa: S608 (own names)
            (item.partition, item.sort, address),
        )
        return next((run_fact(row) for row in rows), None)

    def digest_at(self, address: str) -> Digest | None:
        """Return the digest of the delta at *address*, if any run merged it, withheld or not."""
        row = self._file.connection.execute(
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
        row = self._file.connection.execute(query, values).fetchone()
        return int(row[0]) if row else 0

    def runs(self) -> Iterator[RunFact]:
        """Yield every run."""
        yield from map(run_fact, self._file.connection.execute(f"SELECT {RUN} FROM runs ORDER BY number"))  # noqa: S608

    def every_field_fact(self) -> Iterator[FieldFact]:
        """Yield every field fact."""
        yield from map(
            field_fact, self._file.connection.execute("SELECT * FROM field_facts ORDER BY reach, partition, sort")
        )

    def fields_after(self, version: int) -> frozenset[tuple[str, ItemKey]]:
        """Return which field facts came, or moved, with versions after this one: their reaches and items."""
        query = "SELECT reach, partition, sort FROM field_facts WHERE version > ?"
        return frozenset((row[0], ItemKey(row[1], row[2])) for row in self._file.connection.execute(query, (version,)))

    def withheld(self, reaches: Iterable[str] | None = None) -> Withheld:
        """Return what a rollback withholds: all of it, or the facts of *reaches* and every run."""
        return read_withheld(self._file, reaches)

    def left_in(self, run: RunFact, ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of *ids*, which the delta of a withheld *run* has, that were not erased meanwhile."""
        return left_in(self._file, run, ids)

    def unlike(self, other: Path) -> Withheld:
        """Return the facts that count here and are not the same in the ledger at *other*, or not there."""
        return unlike(self._file, other)

    @contextmanager
    def beside(self, other: Path) -> Iterator[sqlite3.Connection]:
        """Give the connection, with the ledger at *other* in it as ``other``, which is read alone."""
        with self._forgetting(), self._file.beside(other) as connection:
            yield connection

    def writers(self, ids: Iterable[str]) -> dict[str, RunFact]:
        """Return for each of *ids* that is a record the run that wrote it."""
        rows = self._file.rows("SELECT id, run FROM records WHERE id IN ({})", ids)
        return {record_id: self._run_of(run) for record_id, run in rows}

    def records_below(self, reaches: Iterable[str]) -> dict[str, dict[str, RunFact]]:
        """Return for each of *reaches* the records that it covers: its own id, and ids that go on with ``#``."""
        found: dict[str, dict[str, RunFact]] = {}
        # "$" follows "#": one range holds the id, and those that begin with it and a "#", among a few others.
        for reach, record_id, run in self._file.rows(
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
        for (record_id,) in self._file.connection.execute("SELECT id FROM records ORDER BY id"):
            yield record_id

    def record_runs(self) -> Iterator[tuple[str, RunKey]]:
        """Yield the id of every record with the run that wrote it, in order."""
        query = "SELECT id, partition, sort, address FROM records JOIN runs ON run = number ORDER BY id"
        for record_id, partition, sort, address in self._file.connection.execute(query):
            yield record_id, (ItemKey(partition, sort), address)

    def origins(self) -> frozenset[str]:
        """Return where facts came from: ``stream`` records, ``flat`` messages, an ``adopted`` snapshot."""
        tables = ("field_facts", "tombstones", "runs", *WITHHELD)
        every = " UNION ALL ".join(f"SELECT position FROM {table}" for table in tables)  # noqa: S608 (own names)
        rows = self._file.connection.execute(f"SELECT DISTINCT substr(position, 1, 4) FROM ({every})")  # noqa: S608
        return frozenset({"stre": "stream", "adop": "adopted"}.get(begin, begin) for (begin,) in rows)

    def counts(self, *, records: int | None = None, facts: int | None = None) -> dict[str, int]:
        """Return how many records there are, facts that count, and facts that are withheld.

        Args:
            records: Their number, where it is known.
            facts: The number of those that count, where it is known.
        """
        known = {"records": records, "facts": facts, "withheld": None}
        tables = {"records": ("records",), "facts": ("field_facts", "tombstones", "runs"), "withheld": WITHHELD}
        return {name: sum(map(self._file.count, tables[name])) if n is None else n for name, n in known.items()}

    def _run_of(self, number: int) -> RunFact:
        """Return a run by its number; the records of a batch have few, so each is read once."""
        if number not in self._runs:
            query = f"SELECT {RUN} FROM runs WHERE number = ?"  # noqa: S608 (own names)
            self._runs[number] = run_fact(self._file.connection.execute(query, (number,)).fetchone())
        return self._runs[number]

    # Writing

    def store(self, changes: LedgerChanges, *, received_seconds: int, version: int = 0) -> None:
        """Write what a cycle moved, in one transaction; what is withheld of it and no newer goes.

        Args:
            changes: Facts as they are now, and what became of the records.
            received_seconds: When the changes came, as seconds of the Unix epoch; retention counts from it. An item
                that was gone, and of which nothing has happened since, keeps the time that it has.
            version: The version that is being made, for `explain`; 0 where it is not known.

        Raises:
            NoRoom: The disk is full; nothing was written.
        """
        when = received_seconds, version
        with self._writing() as cursor:
            if any(map(self._file.count, WITHHELD)):
                release(cursor, self.withheld(), changes.fields, changes.tombstones, changes.runs)
            still_gone = self._still_gone(changes.fields)
            if changes.anew:
                cursor.execute("DELETE FROM field_facts")
            # Not in the order of the table: SQLite then fills its pages to the brim, and each later change of a row
            # moves its neighbours, which made the packs of label updates half as large again.
            rows = (
                field_row(fact, still_gone.get((fact.reach, fact.item), received_seconds), version)
                for fact in changes.fields
            )
            insert(cursor, "field_facts", rows)
            insert(cursor, "tombstones", (tombstone_row(fact, *when) for fact in changes.tombstones))
            cursor.executemany(
                f"INSERT INTO runs ({RUN}) VALUES (?,?,?,?,?,?,?,?) "  # noqa: S608 (own names)
                "ON CONFLICT (partition, sort, address) DO UPDATE SET position = excluded.position, "
                "received = excluded.received, version = excluded.version",
                (run_row(run, *when) for run in changes.runs),
            )
            for (item, address), ids in changes.written.items():
                (number,) = cursor.execute(
                    "SELECT number FROM runs WHERE partition = ? AND sort = ? AND address = ?",
                    (item.partition, item.sort, address),
                ).fetchone()
                insert(cursor, "records", ((id_, number) for id_ in ids))
            cursor.executemany("DELETE FROM records WHERE id = ?", ((id_,) for id_ in changes.deleted))

    def _still_gone(self, fields: Iterable[FieldFact]) -> dict[tuple[str, ItemKey], int]:
        """Return when those of *fields* were received that are withdrawn already and tell of no event since.

        A reading of the table notes that it was made in every fact, but it is no receipt: what is read
        regularly would never be old enough to go.
        """
        gone = {(fact.reach, fact.item): str(fact.seen) for fact in fields if not fact.present}
        rows = self._file.rows(
            "SELECT reach, partition, sort, seen, received FROM field_facts WHERE present = 0 AND reach IN ({})",
            {reach for reach, _ in gone},
        )
        found = {(reach, ItemKey(*item)): (seen, received) for reach, *item, seen, received in rows}
        return {key: received for key, (seen, received) in found.items() if gone.get(key) == seen}

    def withhold(self, facts: Withheld, *, received_seconds: int, version: int) -> None:
        """Put *facts* in the place of all that was withheld."""
        with self._writing() as cursor:
            replace_withheld(cursor, facts, received_seconds=received_seconds, version=version)

    def prune(self, *, now_seconds: int) -> int:
        """Forget withdrawn facts and tombstones that were received `RETENTION_SECONDS` ago; return how many.

        Nothing is written until the oldest is a day over that, and then all that is over it goes.
        """
        expired = now_seconds - RETENTION_SECONDS
        (oldest,) = self._file.connection.execute(
            "SELECT min(received) FROM (SELECT min(received) AS received FROM field_facts WHERE present = 0 "
            "UNION ALL SELECT min(received) FROM tombstones)"
        ).fetchone()
        if oldest is None or oldest > expired - _PRUNE_EVERY_SECONDS:
            return 0
        with self._writing() as cursor:
            gone = cursor.execute("DELETE FROM field_facts WHERE present = 0 AND received <= ?", (expired,)).rowcount
            return gone + cursor.execute("DELETE FROM tombstones WHERE received <= ?", (expired,)).rowcount

    def erase(self, ids: Collection[str], *, received_seconds: int, version: int) -> None:
        """Forget what is known of the content of records: they are none any more, and their own facts are withdrawn.

        Positions stay, that of the run that wrote a record in a tombstone, so that no duplicate and no straggler brings
        anything back, and no run that is withheld when it is reapplied; what is newer does.
        Run :meth:`write_anew` afterwards: until then the file still holds what was erased.

        Args:
            received_seconds, version: As of :meth:`store`.
        """
        rows = [(id_,) for id_ in ids]
        with self._writing() as cursor:
            cursor.executemany(
                "INSERT OR REPLACE INTO tombstones SELECT id, partition, sort, ?, position, ?, ? "
                "FROM records JOIN runs ON run = number WHERE id = ?",
                ((ERASED, received_seconds, version, id_) for id_ in ids),
            )
            cursor.executemany("DELETE FROM records WHERE id = ?", rows)
            leave_out(cursor, ids)
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
        self._file.write_anew()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        with self._forgetting(), self._file.transaction() as cursor:
            yield cursor

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """What was read may not be so any more afterwards."""
        try:
            yield
        finally:
            self._runs.clear()
            self._facts.clear()
