"""A short history with everything in it: two runs, a place, labels, a removal; and what must come of it."""

from __future__ import annotations

from typing import Any

from tests.model.reference import Reference, typed
from tests.support.table import Table
from tests.support.world import COLLECTIONS, IMAGE, LINE, RUN, World, begins

WORDS = [f"{LINE}#WORD#{number:05d}" for number in range(1, 41)]
POOL: dict[str, Any] = {
    "r1.parquet": {id_: (number, f"text {number}", {"x": number}) for number, id_ in enumerate(WORDS)},
    "r2.parquet": {id_: (number + 50, None, {"y": True}) for number, id_ in enumerate(WORDS[:20])},
    "lines.parquet": {LINE: (7, "a line", {"merchant_name": "stale"})},
}


def write_pool(world: World) -> None:
    """Write the deltas where their runs will look for them."""
    for address, records in POOL.items():
        world.write_delta(address.removesuffix(".parquet"), records)


def story(table: Table) -> list[dict[str, Any]]:
    """Return records that merge, label, place and remove, in both collections."""
    table.put(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00003")
    records = [table.put(*RUN, **begins("r1"), **begins("lines", "lines"))]
    records.append(table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="Zoë"))
    records += [
        table.put(IMAGE, f"RECEIPT#00001#LINE#00001#WORD#{number:05d}#LABEL#total", validation_status="VALID")
        for number in range(1, 11)
    ]
    records.append(table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00003"))
    records.append(table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r2")))
    return records


def expect_model(world: World, records: list[dict[str, Any]], *, mirrored: bool = True) -> None:
    """Check every record of both collections against the model's, and that the mirror is not behind."""
    assert typed(Reference(POOL).replay(records)) == typed(world.everything())
    for collection in COLLECTIONS if mirrored else ():
        assert world.published(collection).manifest == world.published(collection, world.mirror).manifest
