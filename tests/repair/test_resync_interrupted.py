"""A resync that is killed at any of its steps, or loses its swap: the same command again ends right."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from chroma_lifecycle.errors import Retryable
from chroma_lifecycle.intake.mapping_file import parse_mapping
from chroma_lifecycle.repair.resyncing import Resynced
from tests.model.changed import CHANGED, ChangedReference
from tests.model.reference import Reference, typed
from tests.support.dying import STEPS_OF_RESYNC, die_resyncing
from tests.support.scanned import LATER, resync_with
from tests.support.story import POOL, WORDS, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.telling import ToldTable
from tests.support.watching import WatchedStore
from tests.support.world import IMAGE, World, label

OTHER = parse_mapping(CHANGED, "changed.yaml")
QUICK = {("plan", True), ("objects", True), ("head", True), ("status", False)}
"""Where a quick run kills: before something is stored, then before and after it is published; a long run everywhere."""
LANDED = {("head", True), ("publish", True), ("mirror", False), ("mirror", True), ("status", False), ("status", True)}


def with_lost_changes(world: World, table: Table) -> list[dict[str, Any]]:
    """Publish the half of a story, and return all of it; the table holds the whole."""
    write_pool(world)
    words = [table.put(IMAGE, sort.removeprefix(f"{IMAGE}#"), text=sort[-2:]) for sort in WORDS]
    # What was removed is there again: else a table whose stream is lost tells that a run did not bring it back.
    records = [*words, *story(table), table.put(IMAGE, WORDS[2].removeprefix(f"{IMAGE}#"), text="again")]
    world.compact(records[:-9])
    return records


def expect(world: World, kind: type[Reference], records: list[Any]) -> None:
    assert typed({"words": kind(POOL).replay(records)["words"]}) == typed({"words": world.records()})


@pytest.mark.parametrize(
    ("step", "after"),
    [
        pytest.param(step, after, marks=[] if (step, after) in QUICK else pytest.mark.soak)
        for step in STEPS_OF_RESYNC
        for after in (False, True)
    ],
)
def test_a_resync_that_was_killed_is_run_again(world: World, step: str, after: bool) -> None:
    """C13, L9: SIGKILL before or after each step, then the same command, under the mapping and under a changed one.

    What landed is not done twice; runs that the killed one did not tell the table of are told.
    """
    table = Table()
    records = with_lost_changes(world, table)
    for mapping, model in ((None, Reference), (OTHER, ChangedReference)):
        before = world.version()
        assert -signal.SIGKILL == die_resyncing(world, table, mapping, step, after=after)
        assert before + ((step, after) in LANDED) == world.version()

        told = ToldTable(table)
        done = resync_with(world, table, mapping=mapping, status=told)

        assert 0 == len(done.problems)
        expect(world, model, records)
        assert {"COMPLETED"} == {item["words_state"] for item in table.items.values() if "words_state" in item}
        if (step, after) in LANDED:
            assert ((), [], []) == (done.mapping, done.differences.missing, done.differences.stale)
    leftovers = {path.name.split("-")[0] for path in (world.home / "workspace" / "words").iterdir()}
    assert not leftovers & {"working", "restoring", "kept"}


def somebody_first(world: World, act: Any) -> Any:
    """Return a store in which somebody publishes between the compare and the write of the first swap."""
    waiting = [act]

    def before(number: int, call: str) -> None:
        if call == "swap_head words" and waiting:
            waiting.pop()()

    return WatchedStore(world.store, before=before)


def test_a_resync_that_loses_its_swap_begins_again_on_the_same_reading(world: World) -> None:
    """L5: a cycle publishes first; its changes and those of the table are there, and nothing of either twice."""
    table = Table()
    records = with_lost_changes(world, table)
    newer = label(table, "newer", "PENDING")
    newer["dynamodb"]["ApproximateCreationDateTime"] = LATER + 500
    del table.items[IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#newer"]  # the scan was before

    def act() -> None:
        with world.compactor("else") as machine:
            assert 1 == machine.compact(in_sqs([newer])).applied

    done = resync_with(world, table, store=somebody_first(world, act))

    assert (True, 2) == (done.report.published, done.report.attempts)
    expect(world, Reference, [*records, newer])
    assert 0 == world.compact(records).failed
    expect(world, Reference, [*records, newer])


def test_a_changed_mapping_that_loses_its_swap_takes_what_came_or_says_so(world: World) -> None:
    """L5: what an old function publishes at the last moment is in the reading, or cannot be known: then it is told."""
    table = Table()
    records = with_lost_changes(world, table)

    def old_function(record: dict[str, Any]) -> Any:
        def act() -> None:
            with world.compactor("else") as machine:
                assert 1 == machine.compact(in_sqs([record])).applied

        return somebody_first(world, act)

    def bring(record: dict[str, Any]) -> Resynced:
        return resync_with(world, table, mapping=OTHER, store=old_function(record))

    newer = label(table, "total", "OTHER")
    newer["dynamodb"]["ApproximateCreationDateTime"] = LATER + 500
    with pytest.raises(Retryable, match="LABEL#total changed while the table was read"):
        bring(newer)
    again = label(table, "date", "INVALID")
    done = bring(again)

    assert (True, 2) == (done.report.published, done.report.attempts)
    expect(world, ChangedReference, [*records, newer, again])
