"""A mapping changes: facts are made anew of a reading, and every change ends in the records of the model."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import parse_mapping
from chroma_lifecycle.intake.scanned import Page
from chroma_lifecycle.planning.facts import FieldFact
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges
from chroma_lifecycle.planning.reading import Differences, Reading, compare
from chroma_lifecycle.planning.remapping import remap
from chroma_lifecycle.planning.withheld import left_behind, reapply
from chroma_lifecycle.values import ItemKey, Position
from tests.model.changed import CHANGED, ChangedReference, long_there
from tests.model.histories import deltas, histories
from tests.model.reference import Reference
from tests.planning.test_convergence import COLLECTIONS, MAPPING, World, deliveries, typed
from tests.planning.test_reading import spread, withdrawal
from tests.support.table import CREATED, attribute

OTHER = parse_mapping(CHANGED, "changed.yaml")
BEGAN = CREATED + 10_000


def table_after(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items that the table holds when all is written, those that were there before the stream included."""
    items: dict[tuple[str, str], dict[str, Any] | None] = {
        (pk, sk): {"PK": {"S": pk}, "SK": {"S": sk}, **{name: attribute(value) for name, value in (held or {}).items()}}
        for (pk, sk), held in long_there().items()
    }
    for body in (record["dynamodb"] for record in records):
        items[body["Keys"]["PK"]["S"], body["Keys"]["SK"]["S"]] = body.get("NewImage")
    return [image for image in items.values() if image is not None]


def bring(world: World, mapping: TableMapping, items: list[dict[str, Any]], as_of: int) -> dict[str, Differences]:
    """Bring both collections to another mapping by a reading of the table; all of its runs may be older."""
    found: dict[str, Differences] = {}
    for name in COLLECTIONS:
        ledger, reading = world.ledger(name), Reading(mapping, name)
        reading.take(Page(items, as_of))
        compared = compare(ledger, reading, world._open, backfill=True, old=world.mapping)

        compared.joined.anew = True

        def metadata(run: Any, ids: Any) -> dict[str, Any]:
            return {id_: world._pool[run.address][id_][2] for id_ in ids}

        world._carry_out(name, remap(ledger, compared.joined, world.mapping, mapping, name, metadata))
        ledger.mappings.remember(mapping.digest, mapping.meaning, as_of=as_of)
        found[name] = compared.differences
    world.mapping = mapping
    return found


def expected(kind: type[Reference], world: World, gone: dict[str, set[ItemKey]], records: list[Any]) -> Any:
    """Return the model's records; the *gone* are items that ids of records name and the table lacks."""
    return {
        name: kind(world._pool, long_there() if kind is ChangedReference else {}).replay(
            [*(withdrawal(item.partition, item.sort) for item in gone[name]), *records]
        )[name]
        for name in COLLECTIONS
    }


def never_heard_of(found: dict[str, Differences], records: list[Any]) -> dict[str, set[ItemKey]]:
    heard = {ItemKey(r["dynamodb"]["Keys"]["PK"]["S"], r["dynamodb"]["Keys"]["SK"]["S"]) for r in records}
    return {name: {*each.withdrawn} - heard for name, each in found.items()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_facts_that_were_made_anew_and_every_delivery_end_in_the_models_records(data: st.DataObject) -> None:
    """L9, C7: some of the changes, another mapping, the rest and duplicates in any order; then the first mapping again.

    What was delivered before does not come again, or does. A late change of an item that is gone brings nothing.
    Histories in which a removal was not delivered before are left out where it would be found as an orphan.
    """
    pool = data.draw(deltas())
    records = spread(data.draw(histories()))
    before = data.draw(st.lists(st.sampled_from(records), max_size=16))
    items = table_after(records)
    rest = [record for record in records if record not in before]
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), pool)
        world.deliver(before)
        found = bring(world, OTHER, items, BEGAN)
        if any(each.orphaned for each in found.values()):
            event("orphaned")
            return
        for name in ("missing", "stale", "withdrawn", "left", "missed"):
            if any(getattr(each, name) for each in found.values()):
                event(name)
        again = data.draw(st.lists(st.sampled_from(records), max_size=4))
        for batch in data.draw(deliveries([*rest, *again])) if rest or again else ():
            world.deliver(batch)
        gone = never_heard_of(found, records)
        assert typed(expected(ChangedReference, world, gone, records)) == typed(world.records)

        back = bring(world, MAPPING, items, BEGAN + 10_000)
        if any(each.orphaned for each in back.values()):
            return
        gone = {name: gone[name] | never_heard_of(back, records)[name] for name in COLLECTIONS}
        assert typed(expected(Reference, world, gone, records)) == typed(world.records)


def test_what_a_reading_took_away_is_withheld_by_a_rollback_and_comes_back(tmp_path: Path) -> None:
    """A value that none can take gives nothing under the other mapping, at the place of what was known before.

    A rollback to before brings the value back, and a reapply takes it away again: both are what they say.
    """
    item, reach, place = (
        ItemKey("IMAGE#a", "RECEIPT#00001#PLACE"),
        "IMAGE#a#RECEIPT#00001",
        Position.of_stream("a", 3, 9),
    )
    known = FieldFact("place", item, reach, place, place, present=True, attributes={"merchant_name": {"S": "Corner"}})
    gone = replace(known, present=False, attributes={})
    ledgers = []
    for name, fact in (("old", known), ("now", gone)):
        ledgers.append(Ledger.create(tmp_path / name))
        ledgers[-1].store(LedgerChanges(fields=(fact,)), received_seconds=1)
    old, now = ledgers

    with old, now:
        behind = left_behind(old, now)
        old.withhold(behind, received_seconds=1, version=2)
        again = reapply(old, MAPPING, "lines", lambda _: pytest.fail("there is no delta"))

    assert {(reach, item): gone} == behind.fields == again.fields
