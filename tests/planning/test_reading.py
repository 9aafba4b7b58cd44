"""A reading of the table joins like any fact: what comes after it, in any order, ends in the model's records."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from chroma_lifecycle.intake.scanned import Page
from chroma_lifecycle.planning.reading import Differences, Reading, compare
from tests.model.histories import deltas, histories
from tests.model.reference import Reference
from tests.planning.test_convergence import COLLECTIONS, MAPPING, World, begun, deliveries, typed
from tests.support.table import CREATED


def spread(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records with room between their sequences, as DynamoDB leaves it."""
    return [
        {**each, "dynamodb": {**each["dynamodb"], "SequenceNumber": f"{int(each['dynamodb']['SequenceNumber'])}000"}}
        for each in records
    ]


def table_after(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items that the table holds when all is written."""
    items: dict[str, dict[str, Any]] = {}
    for body in (record["dynamodb"] for record in records):
        items[repr(body["Keys"])] = body.get("NewImage")
    return [image for image in items.values() if image is not None]


def read(world: World, name: str, items: list[dict[str, Any]]) -> Differences:
    """Bring one collection in step with a table, all of whose runs may be older than what is known."""
    reading = Reading(MAPPING, name)
    reading.take(Page(items, CREATED + 10_000))
    compared = compare(world.ledger(name), reading, world._open, backfill=True)
    world._bring(name, compared.joined)
    return compared.differences


def withdrawal(pk: str, sk: str) -> dict[str, Any]:
    """Return the oldest removal of an item: what a hint stands for."""
    keys = {"PK": {"S": pk}, "SK": {"S": sk}}
    return {"eventName": "REMOVE", "dynamodb": {"Keys": keys, "SequenceNumber": "1", "OldImage": keys}}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_a_reading_and_every_delivery_end_in_the_models_records(data: st.DataObject) -> None:
    """L9: some of the changes, a backfilling reading of the table, then all changes in any order, repeated.

    Afterwards the records are the model's, and a second reading finds nothing. Histories in which a
    removal was lost whose record a later run brought again are left out: the table cannot tell it
    from one that was not done.
    """
    pool = data.draw(deltas())
    records = spread(data.draw(histories()))
    before = data.draw(st.lists(st.sampled_from(records), max_size=8))
    items = table_after(records)
    with begun(pool) as world:
        world.deliver(before)
        found = {name: read(world, name, items) for name in COLLECTIONS}
        if any(each.orphaned for each in found.values()):
            event("orphaned")
            return
        hinted = {item for each in found.values() for item in each.withdrawn if item.sort.endswith("#PLACE")}
        for name in ("missing", "stale", "withdrawn", "missed", "unmerged"):
            if any(getattr(each, name) for each in found.values()):
                event(name)
        after_reading = {name: dict(rows) for name, rows in world.records.items()}
        there = {_key({"dynamodb": {"Keys": item}}) for item in items}
        seen = [each for each in records if _key(each) in there and _key(each)[1].split("#")[-2:-1] == ["LABEL"]]
        world.deliver(data.draw(st.permutations(seen)))
        assert after_reading == world.records  # all of it was seen
        for batch in data.draw(deliveries(records)):
            world.deliver(batch)
        oldest = [withdrawal(item.partition, item.sort) for item in hinted]
        hinting = {name: set(each.withdrawn) for name, each in found.items()}

    for name in COLLECTIONS:
        known = [each for each in oldest if _key(each) in {(i.partition, i.sort) for i in hinting[name]}]
        expected = {name: Reference(pool).replay([*known, *records])[name]}
        assert typed(expected) == typed({name: world.records[name]})


def _key(record: dict[str, Any]) -> tuple[str, str]:
    keys = record["dynamodb"]["Keys"]
    return keys["PK"]["S"], keys["SK"]["S"]
