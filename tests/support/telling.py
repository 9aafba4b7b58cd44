"""Tables that are told how runs ended: one in memory, whose writes come back through its stream, and real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.intake.rules import MergeTarget
from chroma_lifecycle.values import ItemKey
from tests.support.s3 import client, new_table
from tests.support.table import Table, attribute
from tests.support.world import COLLECTIONS


@dataclass
class ToldTable:
    """Carries out the conditions of the real one: the item is there, has this address, and does not say so yet.

    Attributes:
        away: Whether nothing can be written now.
        refused: How many writes came meanwhile.
        on_completed: Is told of each run that is said to be completed.
        written: The stream records of what was written.
    """

    table: Table
    away: bool = False
    on_completed: Callable[[ItemKey, MergeTarget, str], None] = lambda item, target, address: None
    written: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0

    def completed(self, item: ItemKey, target: MergeTarget, address: str, count: int, at: datetime) -> bool:
        values = {target.state: "COMPLETED", **({target.count: count} if target.count else {})}
        found = self._item(item, target, address)
        self.on_completed(item, target, address)
        if found is None or all(found.get(name) == value for name, value in values.items()):
            return False
        left = {name: value for name, value in found.items() if name != target.error}
        self.written.append(self._put(item, left, values))
        return True

    def failed(self, item: ItemKey, target: MergeTarget, address: str, error: str) -> bool:
        found = self._item(item, target, address)
        says_so = found is None or found.get(target.state) == "COMPLETED" or found.get(target.error or "") == error
        if found is None or says_so or not target.error:
            return False
        self.written.append(self._put(item, found, {target.error: error}))
        return True

    def _put(self, item: ItemKey, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return self.table.put(item.partition, item.sort, **{**old, **new})

    def _item(self, item: ItemKey, target: MergeTarget, address: str) -> dict[str, Any] | None:
        if self.away:
            self.refused += 1
            raise StoreUnavailable("the table did not answer", hint="run the batch again")
        found = self.table.items.get((item.partition, item.sort))
        return found if found is not None and found.get(target.delta) == address else None


def told_in_server(table: Table) -> str:
    """Return the name of a real table that has the runs of *table*."""
    name = new_table(("PK", "S"), ("SK", "S"))
    for (partition, sort), attributes in table.items.items():
        if any(key.endswith("_state") for key in attributes):
            item = {"PK": partition, "SK": sort, **attributes}
            client("dynamodb").put_item(TableName=name, Item={key: attribute(value) for key, value in item.items()})
    return name


def states_in_server(name: str) -> dict[str, str]:
    """Return the state of each run of a real table, by its address and collection."""
    items = client("dynamodb").scan(TableName=name, ConsistentRead=True)["Items"]
    texts = [{key: value["S"] for key, value in item.items() if "S" in value} for item in items]
    return {
        f"{item[f'{collection}_delta_prefix']} {collection}": item[f"{collection}_state"]
        for item in texts
        for collection in COLLECTIONS
        if f"{collection}_state" in item
    }
