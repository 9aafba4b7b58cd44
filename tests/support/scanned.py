"""A table in memory that is scanned, and a moto table with the same items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.scanned import Page
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.status import RunStatus
from chroma_lifecycle.repair.resyncing import Resynced, resync
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.table import CREATED, Table, attribute
from tests.support.world import World

LATER = CREATED + 100_000
"""After every event of a table in memory."""


def images(table: Table) -> list[dict[str, Any]]:
    """Return every item as a scan reads it."""
    return [
        {"PK": {"S": pk}, "SK": {"S": sk}, **{name: attribute(value) for name, value in attributes.items()}}
        for (pk, sk), attributes in table.items.items()
    ]


class Scan:
    """A scan of some items, in pages of two."""

    def __init__(self, items: list[dict[str, Any]], as_of: int = LATER) -> None:
        self._items = items
        self._as_of = as_of

    def pages(self) -> Iterator[Page]:
        for at in range(0, max(1, len(self._items)), 2):
            yield Page(self._items[at : at + 2], self._as_of)


def resync_with(
    world: World,
    table: Table,
    collection: str = "words",
    *,
    as_of: int = LATER,
    apply: bool = True,
    status: RunStatus | None = None,
    backfill: bool = False,
    mapping: TableMapping | None = None,
    store: Store | None = None,
) -> Resynced:
    """Bring one collection in step with a table in memory; another *mapping* than receipts comes into force by it."""
    with (
        world.compactor("unused", store=store) as machine,
        Workspace.open(world.home / "workspace" / collection) as local,
    ):
        around = replace(machine._around, status=status)
        around = around if mapping is None else replace(around, mapping=mapping)
        return resync(around, local, collection, Scan(images(table), as_of), backfill=backfill, dry_run=not apply)
