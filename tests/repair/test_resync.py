"""Resync on real parts: what the table says, and the stream did not bring, comes back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.rules import MergeTarget
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.repair.resyncing import Resynced
from chroma_lifecycle.values import ItemKey
from tests.model.reference import Reference, typed
from tests.support.repairs import reapply_all, roll_back
from tests.support.scanned import LATER, resync_with
from tests.support.story import POOL, WORDS, story, write_pool
from tests.support.table import CREATED, Table
from tests.support.world import IMAGE, RUN, WORD, World, begins, label

WORD_3 = "RECEIPT#00001#LINE#00001#WORD#00003"
PLACE = "RECEIPT#00001#PLACE"


class Told:
    """A run status that only remembers."""

    def __init__(self) -> None:
        self.completions: list[tuple[str, str, int]] = []
        self.failures: list[tuple[str, str]] = []

    def completed(self, item: ItemKey, target: MergeTarget, address: str, count: int, at: datetime) -> bool:
        self.completions.append((item.sort, address, count))
        return True

    def failed(self, item: ItemKey, target: MergeTarget, address: str, error: str) -> bool:
        self.failures.append((address, error))
        return True


def found(done: Resynced) -> dict[str, int]:
    """Return how many differences of each kind there were, but for those without any."""
    return {kind: len(items) for kind, items in asdict(done.differences).items() if items}


def expect_words(world: World, records: Iterable[dict[str, Any]]) -> None:
    assert typed({"words": Reference(POOL).replay(list(records))["words"]}) == typed({"words": world.records()})


def test_what_the_stream_did_not_bring_is_brought_by_the_table(world: World) -> None:
    """L9: labels, a changed place and a removed label that were lost; afterwards nothing differs."""
    write_pool(world)
    table = Table()
    records = story(table)
    removed = label(table, "gone"), table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#gone")
    lost = [table.put(IMAGE, PLACE, merchant_name="newer"), label(table, "late", "PENDING")]
    brought = [*records[:2], records[3], *records[-2:], removed[0]]
    world.compact(brought)

    done = resync_with(world, table)

    assert {"missing": 10, "stale": 1, "withdrawn": 1, "unwritten": 2} == found(done)
    assert (True, "resync") == (done.report.published, world.published().manifest.details.summary.action)
    expect_words(world, [*records, *removed, *lost])
    assert {"unwritten": 2} == found(resync_with(world, table))  # nobody tells this table
    late = world.compact([*lost[::-1], *removed, *records])
    assert (0, 0) == (
        late.failed,
        next(each.records["changed"] for each in late.collections if each.collection == "words"),
    )
    expect_words(world, [*records, *removed, *lost])


def test_a_dry_run_says_the_same_and_writes_nothing(world: World) -> None:
    """The default: what differs is told, and the store keeps its bytes."""
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact([records[0]])
    before = world.stored()
    status = Told()

    said = resync_with(world, table, apply=False, status=status)

    assert before == world.stored()
    assert not said.report.published
    assert ([], []) == (status.completions, status.failures)
    assert found(said) == found(resync_with(world, table))


def test_every_change_older_than_a_reading_is_known_and_any_newer_one_counts(world: World) -> None:
    """A duplicate of a value before the last moves nothing, though the last never came; what comes after does."""
    write_pool(world)
    table = Table()
    records = story(table)
    old = label(table, "late", "INVALID")
    newest = label(table, "late", "VALID")
    world.compact([records[0], records[1]])
    resync_with(world, table)

    world.compact([old])  # it counts in `lines`, which nobody brought in step
    expect_words(world, [*records, old, newest])
    table._sequence += 10**9  # the table goes on
    after = label(table, "late", "PENDING")
    after["dynamodb"]["ApproximateCreationDateTime"] = LATER - 2
    world.compact([after])
    expect_words(world, [*records, old, newest, after])


def test_a_fact_that_moved_since_the_reading_is_left(world: World) -> None:
    """The stream is ahead of the scan: what came after the reading, or within 2 s before it, stays."""
    write_pool(world)
    table = Table()
    records = [table.put(*RUN, **begins("r1")), label(table, "a", "VALID")]
    seconds = records[1]["dynamodb"]["ApproximateCreationDateTime"]
    world.compact(records)
    table.items[IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#a"] = {"validation_status": "INVALID"}

    assert "stale" not in found(resync_with(world, table, as_of=seconds + 2))
    assert "stale" not in found(resync_with(world, table, as_of=seconds))
    assert {"stale": 1, "unwritten": 1} == found(resync_with(world, table, as_of=seconds + 3))


def test_missed_runs_are_merged_and_statuses_written(world: World) -> None:
    """L9: a run that never came, one that says COMPLETED and is not known, and one that is known and was not told."""
    write_pool(world)
    table = Table()
    known = table.put(*RUN, **begins("r1"))
    place = table.put(IMAGE, PLACE, merchant_name="Zoë")
    world.compact([known, place])
    missed = table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r2"))
    table.items[IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2"]["words_state"] = "COMPLETED"
    table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#bad", **begins("lost"))
    status = Told()

    done = resync_with(world, table, status=status)

    assert {"missed": 1, "unmerged": 1, "unwritten": 1} == found(done)
    assert [("r1.parquet", 40), ("r2.parquet", 20)] == sorted((a, n) for _, a, n in status.completions)
    assert ["lost.parquet"] == [address for address, _ in status.failures]
    assert 1 == len(done.problems)
    expect_words(world, [known, place, missed])
    assert 1 == world.compact([missed]).applied  # at the place that is its own
    expect_words(world, [known, place, missed])
    assert "missed" not in found(resync_with(world, table, status=status))


def test_a_missed_run_whose_address_held_other_content_is_not_merged(world: World) -> None:
    """An address holds one content for ever: a second run that announces it is told what was there before."""
    table = Table()
    world.write_delta("r1", {WORD: (1, "text", {})})
    world.compact([table.put(*RUN, **begins("r1"))])
    (world.home / "deltas" / "r1.parquet").unlink()
    world.write_delta("r1", {WORD: (2, "another text", {})})
    table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r1"))

    done = resync_with(world, table)

    assert {"unmerged": 1, "unwritten": 1, "withdrawn": 1} == found(done)  # the place that its id hints at
    assert ["other content than when it was merged" in problem.message for problem in done.problems] == [True]
    assert {WORD: (1, "text", {})} == world.records()


def test_backfilled_runs_lie_below_what_is_published(world: World) -> None:
    """`--backfill`: they bring the records that nobody wrote, and take none from a run that is known."""
    write_pool(world)
    table = Table()
    older = table.put(*RUN, **begins("r1"))
    place = table.put(IMAGE, PLACE, merchant_name="Zoë")
    newer = table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r2"))
    world.compact([newer])

    done = resync_with(world, table, backfill=True)

    assert {"missing": 1, "missed": 1, "unwritten": 1} == found(done)
    expect_words(world, [older, place, newer])
    world.compact([older])  # the live stream may bring it all the same
    expect_words(world, [older, place, newer])


@pytest.mark.parametrize("backfill", [False, True])
def test_records_of_items_that_are_gone_are_removed(world: World, backfill: bool) -> None:
    """A REMOVE that never came: of a known run and of a missed one; a run that comes after brings them back."""
    write_pool(world)
    table = Table()
    words = [table.put(IMAGE, sort.removeprefix(f"{IMAGE}#")) for sort in WORDS]
    merged = table.put(*RUN, **begins("r1"))
    place = table.put(IMAGE, PLACE, merchant_name="Zoë")
    world.compact([*words, place] if backfill else [*words, merged, place])
    removal = table.remove(IMAGE, WORD_3)

    done = resync_with(world, table, backfill=backfill)

    assert [ItemKey(IMAGE, WORD_3)] == done.differences.orphaned
    expect_words(world, [merged, place, removal])
    world.compact([removal])
    expect_words(world, [merged, place, removal])
    assert "orphaned" not in found(resync_with(world, table))
    again = table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r2"))
    world.compact([again])
    expect_words(world, [merged, place, removal, again])


def test_items_that_were_never_written_are_no_evidence(world: World) -> None:
    """Where the table holds no item of a rule that deletes, no record is an orphan for its sake."""
    write_pool(world)
    table = Table()
    world.compact([table.put(*RUN, **begins("r1")), table.put(IMAGE, PLACE, merchant_name="Zoë")])

    assert [] == resync_with(world, table).differences.orphaned
    assert 40 == len(world.records())


def test_a_table_without_any_item_of_the_mapping_is_refused(world: World) -> None:
    """Another table would make everything an orphan; nothing is written."""
    write_pool(world)
    table = Table()
    world.compact([table.put(*RUN, **begins("r1"))])
    before = world.stored()
    other = Table()
    other.put("USER#1", "ORDER#1")

    for wrong in (Table(), other):
        with pytest.raises(BadInput, match="is one of the mapping"):
            resync_with(world, wrong)
    assert before == world.stored()


def test_what_a_record_hints_at_and_the_table_lacks_is_withdrawn(world: World) -> None:
    """The place of a record was removed before anything was known of it: its keys go."""
    write_pool(world)
    table = Table()
    run = table.put(*RUN, **begins("lines", "lines"))
    world.compact([run])
    assert {"merchant_name": "stale"} == world.records("lines")[next(iter(POOL["lines.parquet"]))][2]

    done = resync_with(world, table, "lines")

    assert [ItemKey(IMAGE, PLACE)] == done.differences.withdrawn
    assert {} == world.records("lines")[next(iter(POOL["lines.parquet"]))][2]


def test_a_value_that_no_record_takes_is_told_and_what_is_known_stays(world: World) -> None:
    """One bad item fails alone."""
    write_pool(world)
    table = Table()
    good = [table.put(*RUN, **begins("r1")), table.put(IMAGE, PLACE, merchant_name="Zoë")]
    world.compact(good)
    table.put(IMAGE, PLACE, merchant_name=["a", "b"])
    labelled = label(table, "a")

    done = resync_with(world, table)

    assert {"missing": 1, "refused": 1, "unwritten": 1} == found(done)
    expect_words(world, [*good, labelled])


def test_what_a_rollback_withholds_is_left_alone(world: World) -> None:
    """Resync is no way around `reapply`."""
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact(records[:1])
    world.compact(records[1:])
    roll_back(world, 2)

    done = resync_with(world, table)

    assert 12 == len(done.differences.withheld)  # the place, ten labels, a run
    expect_words(world, records[:1])
    reapply_all(world)
    expect_words(world, records)


def test_the_ledger_knows_when_it_was_read(world: World) -> None:
    """Also of an item that was known as it is."""
    write_pool(world)
    table = Table()
    world.compact([table.put(*RUN, **begins("r1")), label(table, "a")])
    resync_with(world, table, as_of=CREATED + 50_000)

    with Ledger.open(world.home / "workspace" / "words" / "pristine" / "ledger.sqlite3", read_only=True) as ledger:
        assert {CREATED + 50_000} == {fact.as_of for fact in ledger.every_field_fact()}
