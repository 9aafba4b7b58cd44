"""The tables of what a rollback withholds. ``withheld`` says what that means, and how it comes to count again."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from chroma_lifecycle.planning.facts import FieldFact, RunFact, RunKey, Tombstone, merge_fields
from chroma_lifecycle.planning.ledger_file import LedgerFile, insert
from chroma_lifecycle.planning.ledger_rows import (
    RUN,
    Row,
    field_fact,
    field_row,
    run_fact,
    run_row,
    tombstone,
    tombstone_row,
)
from chroma_lifecycle.values import Digest, ItemKey, Position, digest_of

WITHHELD = ("withheld_fields", "withheld_tombstones", "withheld_runs")
"""The tables of facts that do not count."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Facts that a rollback took out of force: they contribute nothing, and what is not newer moves nothing."""

    fields: Mapping[tuple[str, ItemKey], FieldFact] = field(default_factory=dict)
    tombstones: Mapping[tuple[str, ItemKey], Tombstone] = field(default_factory=dict)
    runs: Mapping[RunKey, RunFact] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.fields) + len(self.tombstones) + len(self.runs)

    @classmethod
    def of_rows(cls, fields: Iterable[Row], tombstones: Iterable[Row], runs: Iterable[Row]) -> Self:
        """Return the facts of these rows."""
        return cls(
            {(fact.reach, fact.item): fact for fact in map(field_fact, fields)},
            {(fact.reach, fact.item): fact for fact in map(tombstone, tombstones)},
            {(run.item, run.address): run for run in map(run_fact, runs)},
        )


def read_withheld(file: LedgerFile, reaches: Iterable[str] | None = None) -> Withheld:
    """Return all that is withheld, or the facts of *reaches* and every run."""
    if not any(map(file.count, WITHHELD)):
        return Withheld()
    fields, tombstones = (
        file.connection.execute(f"SELECT * FROM {table}")  # noqa: S608 (own names)
        if reaches is None
        else file.rows(f"SELECT * FROM {table} WHERE reach IN ({{}})", reaches)  # noqa: S608
        for table in ("withheld_fields", "withheld_tombstones")
    )
    return Withheld.of_rows(
        fields,
        tombstones,
        file.connection.execute(f"SELECT {RUN} FROM withheld_runs"),  # noqa: S608 (own names)
    )


def unlike(file: LedgerFile, other: Path) -> Withheld:
    """Return the facts that count in *file* and are not the same in the ledger at *other*, or not there."""
    with file.beside(other) as connection:
        fields, tombstones, runs = (
            connection.execute(
                f"SELECT * FROM main.{table} EXCEPT SELECT * FROM other.{table}"  # noqa: S608 (own names)
            ).fetchall()
            for table in ("field_facts", "tombstones", "runs")
        )
    return Withheld.of_rows(fields, tombstones, (row[1:] for row in runs))


def replace_withheld(cursor: sqlite3.Cursor, facts: Withheld, *, received_seconds: int, version: int) -> None:
    """Put *facts* in the place of all that was withheld."""
    when = received_seconds, version
    for table in WITHHELD:
        cursor.execute(f"DELETE FROM {table}")  # noqa: S608 (own names)
    insert(cursor, "withheld_fields", (field_row(fact, *when) for fact in facts.fields.values()))
    insert(cursor, "withheld_tombstones", (tombstone_row(fact, *when) for fact in facts.tombstones.values()))
    insert(cursor, "withheld_runs", (run_row(run, *when) for run in facts.runs.values()))


def leave_out(cursor: sqlite3.Cursor, ids: Collection[str]) -> None:
    """Note that no run that is withheld now is to bring records of these *ids*: they are erased."""
    cursor.executemany(
        "INSERT OR REPLACE INTO erased SELECT partition, sort, address, ?, position FROM withheld_runs",
        ((_digest(record_id),) for record_id in ids),
    )


def left_in(file: LedgerFile, run: RunFact, ids: Iterable[str]) -> tuple[str, ...]:
    """Return those of *ids*, which the delta of a withheld *run* has, that were not erased while it was withheld."""
    rows = file.connection.execute(
        "SELECT record, position FROM erased WHERE partition = ? AND sort = ? AND address = ?",
        (run.item.partition, run.item.sort, run.address),
    )
    # A run that began again since is newer than the erasure.
    erased = {record for record, position in rows if run.position <= Position.parse(position)}
    return tuple(record_id for record_id in ids if not erased or _digest(record_id) not in erased)


def _digest(record_id: str) -> Digest:
    return digest_of(record_id.encode())


def release(
    cursor: sqlite3.Cursor,
    withheld: Withheld,
    fields: Iterable[FieldFact],
    tombstones: Iterable[Tombstone],
    runs: Iterable[RunFact],
) -> None:
    """Remove what is withheld and tells nothing that these facts, which count from now on, do not tell as new."""
    outdone = [
        fact for fact in fields if (held := withheld.fields.get((fact.reach, fact.item))) and _outdoes(fact, held)
    ]
    for table, facts in (("withheld_fields", outdone), ("withheld_tombstones", tombstones)):
        cursor.executemany(
            f"DELETE FROM {table} WHERE reach = ? AND partition = ? AND sort = ?",  # noqa: S608 (own names)
            ((fact.reach, fact.item.partition, fact.item.sort) for fact in facts),
        )
    cursor.executemany(
        "DELETE FROM withheld_runs WHERE partition = ? AND sort = ? AND address = ?",
        ((run.item.partition, run.item.sort, run.address) for run in runs),
    )


def _outdoes(fact: FieldFact, held: FieldFact) -> bool:
    """Return whether *fact* tells all that *held* does: what is not newer than *held* moves nothing in it."""
    whole = merge_fields(fact, held)
    # A full image that came after a reading of the table says more than that the table was read.
    return whole == fact or (not held.covers(fact.position) and replace(whole, as_of=fact.as_of) == fact)
