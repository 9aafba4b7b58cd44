"""Retention of facts: withdrawn facts and tombstones go, and no message that can still come needs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from chroma_lifecycle.intake.scanned import Page
from chroma_lifecycle.planning.facts import FieldFact, Tombstone
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, Withheld
from chroma_lifecycle.planning.reading import Reading, compare
from chroma_lifecycle.values import ItemKey, Position
from tests.model.histories import deltas, histories
from tests.model.reference import PLACE_KEYS, Record, Reference, typed
from tests.planning.test_convergence import COLLECTIONS, MAPPING, World, begun
from tests.support.table import CREATED, Table

DAY = 86_400
LATEST_DAYS = 28  # fourteen in the queue, and fourteen more after one redrive
OWNED = {*PLACE_KEYS, "label_total", "label_status"}


def without_owned_keys(pool: dict[str, dict[str, Record]]) -> dict[str, dict[str, Record]]:
    """Return deltas that were not captured long ago: they bring no value that the table has taken back."""
    return {
        address: {
            id_: (vector, document, {key: value for key, value in metadata.items() if key not in OWNED})
            for id_, (vector, document, metadata) in records.items()
        }
        for address, records in pool.items()
    }


@st.composite
def deliveries_by_day(draw: st.DrawFn, records: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """The records as they come, some twice, each at most `LATEST_DAYS` after it was made, by day."""
    day = 0
    found: list[tuple[int, dict[str, Any]]] = []
    for record in records:
        day += draw(st.integers(0, 12))
        waits = draw(st.lists(st.integers(0, LATEST_DAYS), min_size=1, max_size=2))
        found += [(day + wait, record) for wait in waits]
    return sorted(found, key=lambda each: each[0])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_what_is_forgotten_is_missed_by_no_message_of_a_queue_and_its_redrive(data: st.DataObject) -> None:
    """Whatever the order within 28 days, the records are the model's, although facts are pruned each day."""
    pool = without_owned_keys(data.draw(deltas()))
    records = data.draw(histories())
    pruned = 0
    with begun(pool) as world:
        for day, record in data.draw(deliveries_by_day(records)):
            world.day = day
            world.deliver([record])
            pruned += sum(world.ledger(name).prune(now_seconds=day * DAY) for name in COLLECTIONS)
    event("pruned" if pruned else "nothing to prune")

    assert typed(Reference(pool).replay(records)) == typed(world.records)


def test_a_straggler_of_the_last_day_finds_what_was_removed_remembered() -> None:
    """D1b: what is received again on day 28, from a queue and its redrive, brings back neither a label nor a record."""
    table, image, line = Table(), "IMAGE#a", "RECEIPT#00001#LINE#00001"
    first, second = (f"{line}#WORD#{number:05d}" for number in (1, 2))
    pool = {"r": {f"{image}#{word}": (1, None, {}) for word in (first, second)}}
    run = table.put(image, "RECEIPT#00001#COMPACTION_RUN#r", words_delta_prefix="r", words_state="PENDING")
    late = table.put(image, f"{first}#LABEL#total", validation_status="VALID")
    table.put(image, second, text="x")
    removals = [table.remove(image, f"{first}#LABEL#total"), table.remove(image, second)]
    with begun(pool) as world:
        world.deliver(removals)
        for day in range(1, LATEST_DAYS + 1):
            assert not any(world.ledger(name).prune(now_seconds=day * DAY) for name in COLLECTIONS)
        world.deliver([run, late])

        [(found, (_, _, metadata))] = world.records["words"].items()
    assert (f"{image}#{first}", []) == (found, [key for key in metadata if key == "label_total"])


def test_forgetting_waits_for_a_day_and_takes_what_is_over_then(tmp_path: Path) -> None:
    """Facts are kept for 45 days; a day after the oldest is due, all that is due goes at once; the rest stays."""
    position = Position.of_stream("label", 5, 7)

    def gone(name: str) -> FieldFact:
        return FieldFact("place", ItemKey(name, "x"), name, position, position, present=False)

    def stone(name: str) -> Tombstone:
        return Tombstone("word", ItemKey(name, "x"), name, position)

    there = FieldFact("place", ItemKey("there", "x"), "there", position, position, present=True)
    with Ledger.create(tmp_path / "ledger.sqlite3") as ledger:
        for seconds, name in ((0, "old"), (DAY, "just old enough"), (DAY + 1, "young")):
            changes = LedgerChanges(fields=(gone(name), there), tombstones=(stone(name),))
            ledger.store(changes, received_seconds=seconds)
        held = Withheld({("held", ItemKey("held", "x")): gone("held")})
        ledger.withhold(held, received_seconds=0, version=2)
        before = ledger.path.read_bytes()

        assert 0 == ledger.prune(now_seconds=46 * DAY - 1)
        assert before == ledger.path.read_bytes()
        assert 4 == ledger.prune(now_seconds=46 * DAY)
        assert {"there", "young"} == {fact.reach for fact in ledger.every_field_fact()}
        assert {"young"} == ledger.tombstones(["old", "young"]).keys()
        assert {"records": 0, "facts": 3, "withheld": 1} == ledger.counts()


def test_a_reading_of_an_item_that_was_gone_already_is_no_receipt() -> None:
    """L9: with a regular resync a withdrawn fact goes as without; one that it finds gone is kept from then on."""

    def resync(world: World) -> None:
        reading = Reading(MAPPING, "words")
        reading.take(Page([], CREATED + world.day * DAY))
        world._bring("words", compare(world.ledger("words"), reading, world._open).joined)

    def prune(world: World) -> set[str]:
        ledger = world.ledger("words")
        ledger.prune(now_seconds=world.day * DAY)
        return {fact.item.sort.rpartition("#")[2] for fact in ledger.every_field_fact()}

    table, word = Table(), "RECEIPT#00001#LINE#00001#WORD#00001"
    told, lost = (table.put("IMAGE#a", f"{word}#LABEL#{name}", validation_status="VALID") for name in ("told", "lost"))
    with begun({}) as world:
        world.deliver([told, lost])
        world.deliver([table.remove("IMAGE#a", f"{word}#LABEL#told")])
        for world.day in (30, 60):
            resync(world)
            found = prune(world)
        assert {"lost"} == found  # received on day 30, when it was found gone

        world.day = 90
        resync(world)
        assert set() == prune(world)


def test_an_item_that_came_and_went_again_is_kept_from_its_last_removal(tmp_path: Path) -> None:
    """Both in one batch: the fact was withdrawn and still is, and stragglers of the second life may come."""
    with Ledger.create(tmp_path / "ledger.sqlite3") as ledger:
        for day, sequence in ((0, 5), (40, 9)):
            position = Position.of_stream("label", sequence, 7)
            gone = FieldFact("place", ItemKey("a", "x"), "a", position, position, present=False)
            ledger.store(LedgerChanges(fields=(gone,)), received_seconds=day * DAY)

        assert 0 == ledger.prune(now_seconds=60 * DAY)
        assert 1 == ledger.prune(now_seconds=86 * DAY)
