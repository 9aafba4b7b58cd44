"""The ledger's tables, and how a fact becomes a row and comes back. ``docs/format.md`` describes them."""

from __future__ import annotations

import json
import re
from typing import Any

from chroma_lifecycle.planning.facts import FieldFact, RunFact, Tombstone
from chroma_lifecycle.values import Digest, ItemKey, Position

FORMAT = 1
APPLICATION_ID = 0x43684C43  # "ChLC"

_FIELD_COLUMNS = """
    reach TEXT NOT NULL, partition TEXT NOT NULL, sort TEXT NOT NULL, rule TEXT NOT NULL,
    position TEXT NOT NULL, seen TEXT NOT NULL, present INTEGER NOT NULL,
    attributes TEXT NOT NULL, later TEXT NOT NULL, as_of INTEGER NOT NULL,
    received INTEGER NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (reach, partition, sort)
"""
_TOMBSTONE_COLUMNS = """
    reach TEXT NOT NULL, partition TEXT NOT NULL, sort TEXT NOT NULL, rule TEXT NOT NULL,
    position TEXT NOT NULL, received INTEGER NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (reach, partition, sort)
"""
_RUN_COLUMNS = """
    partition TEXT NOT NULL, sort TEXT NOT NULL, address TEXT NOT NULL,
    position TEXT NOT NULL, digest TEXT NOT NULL, records INTEGER NOT NULL,
    received INTEGER NOT NULL, version INTEGER NOT NULL
"""
_ERASED_COLUMNS = """
    partition TEXT NOT NULL, sort TEXT NOT NULL, address TEXT NOT NULL,
    record TEXT NOT NULL, position TEXT NOT NULL
"""

SCHEMA = f"""
PRAGMA page_size = 4096;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE field_facts ({_FIELD_COLUMNS}) WITHOUT ROWID;
CREATE INDEX withdrawn_by_receipt ON field_facts (received) WHERE present = 0;
CREATE TABLE tombstones ({_TOMBSTONE_COLUMNS}) WITHOUT ROWID;
CREATE INDEX tombstones_by_receipt ON tombstones (received);
CREATE TABLE runs (number INTEGER PRIMARY KEY, {_RUN_COLUMNS}, UNIQUE (partition, sort, address));
CREATE INDEX runs_by_address ON runs (address);
CREATE TABLE withheld_fields ({_FIELD_COLUMNS}) WITHOUT ROWID;
CREATE TABLE withheld_tombstones ({_TOMBSTONE_COLUMNS}) WITHOUT ROWID;
CREATE TABLE withheld_runs ({_RUN_COLUMNS}, PRIMARY KEY (partition, sort, address)) WITHOUT ROWID;
CREATE TABLE erased ({_ERASED_COLUMNS}, PRIMARY KEY (partition, sort, address, record)) WITHOUT ROWID;
CREATE TABLE mappings (
    digest TEXT NOT NULL PRIMARY KEY, meaning TEXT NOT NULL, as_of INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE records (id TEXT NOT NULL PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs) WITHOUT ROWID;
"""

RUN = "partition, sort, address, position, digest, records, received, version"
"""The columns of a run, without the number by which the records of the ledger name it."""

Row = tuple[Any, ...]

# Made once: a batch has thousands of values.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_NOTHING = "{}"


def to_json(value: object) -> str:
    """Return JSON of one spelling, in ASCII: a lone surrogate passes too."""
    return _ENCODER.encode(value)


def field_row(fact: FieldFact, received_seconds: int, version: int) -> Row:
    """Return the row of a field fact, counting or withheld."""
    later = {name: [str(position), value] for name, (position, value) in fact.later.items()}
    position = str(fact.position)
    return (
        fact.reach,
        fact.item.partition,
        fact.item.sort,
        fact.rule,
        position,
        position if fact.seen is fact.position else str(fact.seen),
        int(fact.present),
        to_json(fact.attributes),
        to_json(later) if later else _NOTHING,
        fact.as_of,
        received_seconds,
        version,
    )


def field_fact(row: Row) -> FieldFact:
    """Return the fact of such a row."""
    reach, partition, sort, rule, position, seen, present, attributes, later, as_of, *_ = row
    at = Position.parse(position)
    return FieldFact(
        rule,
        ItemKey(partition, sort),
        reach,
        at,
        at if seen == position else Position.parse(seen),
        bool(present),
        json.loads(attributes),
        {} if later == _NOTHING else _later(later),
        as_of,
    )


def _later(text: str) -> dict[str, tuple[Position, Any]]:
    return {name: (Position.parse(at), value) for name, (at, value) in json.loads(text).items()}


def tombstone_row(fact: Tombstone, received_seconds: int, version: int) -> Row:
    """Return the row of a tombstone."""
    item = fact.item
    return (fact.reach, item.partition, item.sort, fact.rule, str(fact.position), received_seconds, version)


def tombstone(row: Row) -> Tombstone:
    """Return the tombstone of such a row."""
    reach, partition, sort, rule, position, *_ = row
    return Tombstone(rule, ItemKey(partition, sort), reach, Position.parse(position))


def run_row(fact: RunFact, received_seconds: int, version: int) -> Row:
    """Return the row of a run, without the number that the counting ones have."""
    item = fact.item
    return (
        item.partition,
        item.sort,
        fact.address,
        str(fact.position),
        fact.digest,
        fact.records,
        received_seconds,
        version,
    )


def run_fact(row: Row) -> RunFact:
    """Return the run of such a row."""
    partition, sort, address, position, digest, records, *_ = row
    return RunFact(ItemKey(partition, sort), address, Position.parse(position), Digest(digest), records)


def table_columns(table: str) -> tuple[str, ...]:
    """Return the columns of a table of facts, in their order."""
    columns = _FIELD_COLUMNS if table.endswith(("field_facts", "fields")) else _TOMBSTONE_COLUMNS
    if table.endswith("runs"):
        columns = _RUN_COLUMNS
    if table == "erased":
        columns = _ERASED_COLUMNS
    return tuple(name for name, kind in re.findall(r"(\w+) (TEXT|INTEGER)", columns))
