"""The ledger of a shard, made of the ledgers of other shards: of each the facts that belong to it.

Facts and records go with the beginning of their ids, so each row of the new ledger comes from one of the old
ones. Only the run of an adoption is in all of them; it is never announced again, and is joined.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.ledger_rows import RUN, table_columns

_BY_REACH = ("field_facts", "tombstones", "withheld_fields", "withheld_tombstones")
_KEYS = {
    **dict.fromkeys(_BY_REACH, "reach, partition, sort"),
    "withheld_runs": "partition, sort, address",
    "erased": "partition, sort, address, record",
    "mappings": "digest",
}
_RECORD = "id, partition, sort, address, position"


def add_portion(ledger: Ledger, source: Path, owns: Callable[[str], bool]) -> None:
    """Add what a shard has of the ledger at *source*.

    Args:
        ledger: The shard's; what it has of other ledgers already is of other ids.
        source: A ledger that nobody writes to.
        owns: Whether an id, a prefix of ids or a partition key belongs to the shard.
    """
    with ledger.beside(source) as connection:
        connection.create_function("owns", 1, owns, deterministic=True)
        connection.execute("BEGIN IMMEDIATE")
        for table in _BY_REACH:
            _copy(connection, table, "owns(reach)")
        for table in ("withheld_runs", "erased"):
            _copy(connection, table, "owns(partition)")
        # The older reading of the table: by a newer one a change could be taken for known that is still to come.
        connection.execute(
            "INSERT INTO main.mappings SELECT * FROM other.mappings WHERE true "
            "ON CONFLICT (digest) DO UPDATE SET as_of = min(as_of, excluded.as_of)"
        )
        # A run of nobody's partition (an adoption) goes where its records go.
        connection.execute(
            f"INSERT INTO main.runs ({RUN}) "  # noqa: S608 (own names)
            "SELECT partition, sort, address, position, digest, CASE partition WHEN '' THEN "
            "(SELECT count(*) FROM other.records WHERE run = number AND owns(id)) ELSE records END, received, 1 "
            "FROM other.runs "
            "WHERE (partition <> '' AND owns(partition)) "
            "OR (partition = '' AND number IN (SELECT run FROM other.records WHERE owns(id))) "
            "ORDER BY partition, sort, address "
            "ON CONFLICT (partition, sort, address) DO UPDATE SET records = records + excluded.records"
        )
        connection.execute(
            "INSERT INTO main.records SELECT id, mine.number FROM other.records "
            "JOIN other.runs AS theirs ON run = theirs.number JOIN main.runs AS mine USING (partition, sort, address) "
            "WHERE owns(id)"
        )
        connection.execute("COMMIT")


def _copy(connection: sqlite3.Connection, table: str, condition: str) -> None:
    # Numbers of versions are those of the lineage that it came from; in the new one it came with the first.
    names = ["1" if name == "version" else name for name in table_columns(table)]
    connection.execute(
        f"INSERT INTO main.{table} SELECT {', '.join(names)} FROM other.{table} WHERE {condition}"  # noqa: S608
    )


@dataclass(frozen=True, slots=True)
class Moved:
    """What a ledger became.

    Attributes:
        written: Records whose content may be another one, or that are new.
        removed: Records that are none any more.
        rows: How many rows differed, of any table.
    """

    written: frozenset[str]
    removed: frozenset[str]
    rows: int

    def __bool__(self) -> bool:
        return bool(self.rows)


def become(ledger: Ledger, wanted: Path) -> Moved:
    """Make *ledger* say what the one at *wanted* says, row by row, and return what that means for the records.

    What a record holds follows from its run and from the field facts that reach it; so a record may
    differ where one of these does.
    """
    with ledger.beside(wanted) as connection:
        removed = _column(connection, "SELECT id FROM main.records EXCEPT SELECT id FROM other.records")
        written = _column(connection, f"SELECT id FROM ({_records('other')} EXCEPT {_records('main')})")  # noqa: S608
        reaches = _column(
            connection,
            f"SELECT reach FROM ({_fields('main')} EXCEPT {_fields('other')}) "  # noqa: S608 (own names)
            f"UNION SELECT reach FROM ({_fields('other')} EXCEPT {_fields('main')})",
        )
        written |= _reached(connection, reaches)
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        for table, key in _KEYS.items():
            _follow(connection, table, key)
        _follow_runs(connection)
        connection.execute("COMMIT")
        return Moved(frozenset(written), frozenset(removed), connection.total_changes - before)


def _records(which: str) -> str:
    return f"SELECT {_RECORD} FROM {which}.records JOIN {which}.runs ON run = number"  # noqa: S608 (own names)


def _fields(which: str) -> str:
    names = [name for name in table_columns("field_facts") if name not in ("received", "version")]
    return f"SELECT {', '.join(names)} FROM {which}.field_facts"  # noqa: S608 (own names)


def _reached(connection: sqlite3.Connection, reaches: set[str]) -> set[str]:
    """Return the wanted records that *reaches* cover."""
    query = "SELECT id FROM other.records WHERE id >= ?1 AND id < ?1 || '$' AND (id = ?1 OR id > ?1 || '#')"
    return {record_id for reach in reaches for (record_id,) in connection.execute(query, (reach,))}


def _follow(connection: sqlite3.Connection, table: str, key: str) -> None:
    connection.execute(
        f"DELETE FROM main.{table} WHERE ({key}) IN "  # noqa: S608 (own names)
        f"(SELECT {key} FROM main.{table} EXCEPT SELECT {key} FROM other.{table})"
    )
    connection.execute(
        f"INSERT OR REPLACE INTO main.{table} SELECT * FROM other.{table} EXCEPT SELECT * FROM main.{table}"  # noqa: S608
    )


def _follow_runs(connection: sqlite3.Connection) -> None:
    """Runs have numbers of their own in each ledger, by which the records name them."""
    connection.execute(
        f"INSERT INTO main.runs ({RUN}) SELECT * FROM "  # noqa: S608 (own names)
        f"(SELECT {RUN} FROM other.runs EXCEPT SELECT {RUN} FROM main.runs) WHERE true "
        "ON CONFLICT (partition, sort, address) DO UPDATE SET position = excluded.position, "
        "digest = excluded.digest, records = excluded.records, received = excluded.received"
    )
    connection.execute(
        "DELETE FROM main.records WHERE id IN (SELECT id FROM main.records EXCEPT SELECT id FROM other.records)"
    )
    connection.execute(
        "INSERT OR REPLACE INTO main.records SELECT id, mine.number FROM other.records "
        "JOIN other.runs AS theirs ON run = theirs.number JOIN main.runs AS mine USING (partition, sort, address) "
        "EXCEPT SELECT id, run FROM main.records"
    )
    connection.execute(
        "DELETE FROM main.runs WHERE (partition, sort, address) IN "
        "(SELECT partition, sort, address FROM main.runs EXCEPT SELECT partition, sort, address FROM other.runs)"
    )


def _column(connection: sqlite3.Connection, query: str) -> set[str]:
    return {value for (value,) in connection.execute(query)}
