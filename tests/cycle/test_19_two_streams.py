"""A stream that was left for a newer one and is followed again: what would be lost without a word fails.

The newer stream counts as newer in all that it says. A later change of the older one that it outdoes, and that
says other than what then counts, is refused: the offender alone, and whatever it is that compares the two.
"""

from __future__ import annotations

import pytest

from chroma_lifecycle.report import Report
from tests.support.table import ARN, Table
from tests.support.world import IMAGE, LINE, RUN, WORD, World, begins, label, with_word

LEFT = "left for a newer one"
SECOND_RUN = (IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2")
THIRD_RUN = (IMAGE, "RECEIPT#00001#COMPACTION_RUN#r3")
OTHER, FREE = f"{LINE}#WORD#00002", f"{LINE}#WORD#00003"
WORD_ITEM = (IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001")


@pytest.fixture
def older() -> Table:
    """A table, two hours after the other one began."""
    table = Table()
    table.idle = 7_200
    return table


@pytest.fixture
def newer() -> Table:
    """A table with a stream of a later label, an hour before the older one goes on."""
    table = Table(arn=ARN.replace("2026", "2027"))
    table.idle = 3_600
    return table


def test_a_stream_that_was_left_cannot_be_followed_again(world: World) -> None:
    """After a change of a newer stream, the older one's later change of the item fails: it would never count.

    What was made before the newer one's, or says what is known, is a straggler as any other, and so is what comes after
    a resync; the same table's next stream is the newest of all.
    """
    first, second, third = (Table(arn=ARN.replace("2026", year)) for year in ("2026", "2027", "2028"))
    with_word(world, first)
    early = label(first, "a", "VALID")
    second.idle = third.idle = 3_600
    assert (1, 0) == ended(world.compact([label(second, "a", "INVALID")]))
    first.idle = 7_200

    assert (0, 0) == ended(world.compact([early]))
    assert (0, 0) == ended(world.compact([label(first, "a", "INVALID")]))
    assert (1, 0) == ended(world.compact([label(first, "b", "VALID")])), (
        "an item of which the newer stream said nothing"
    )
    report = world.compact([label(first, "a", "VALID")])
    assert (0, 1) == ended(report)
    assert "left for a newer one" in report.failures[0].error.message
    gone = world.compact([first.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#a")])
    assert (0, 1) == ended(gone)
    assert world.records()[WORD][2] == {"x": 1, "label_a": False, "label_b": True, "label_status": "validated"}

    assert (1, 0) == ended(world.compact([label(third, "a", "VALID")]))


def test_a_run_that_would_write_under_an_older_one_fails_alone(world: World, older: Table, newer: Table) -> None:
    """The same record, of a run in each stream: the later run would be merged and never be seen."""
    world.write_delta("r1", {WORD: (1, "newer", {})})
    world.write_delta("r2", {WORD: (2, "later", {}), OTHER: (2, "besides", {})})
    world.write_delta("r3", {FREE: (3, "free of it", {})})
    assert (1, 0) == ended(world.compact([newer.put(*RUN, **begins("r1"))]))

    report = world.compact([older.put(*SECOND_RUN, **begins("r2")), older.put(*THIRD_RUN, **begins("r3"))])

    assert ((1, 1), 1) == (ended(report), len(report.failures))
    assert LEFT in report.failures[0].error.message
    assert {WORD: (1, "newer", {}), FREE: (3, "free of it", {})} == world.records()


def test_both_in_one_batch(world: World, older: Table, newer: Table) -> None:
    world.write_delta("r1", {WORD: (1, "newer", {})})
    world.write_delta("r2", {WORD: (2, "later", {})})

    report = world.compact([older.put(*SECOND_RUN, **begins("r2")), newer.put(*RUN, **begins("r1"))])

    assert (1, 1) == ended(report)
    assert LEFT in report.failures[0].error.message
    assert {WORD: (1, "newer", {})} == world.records()


def test_a_removal_that_a_newer_stream_outdoes_fails(world: World, older: Table, newer: Table) -> None:
    """The record's run is of the newer stream: the later removal would not delete it."""
    with_word(world, newer)
    older.put(*WORD_ITEM)

    report = world.compact([older.remove(*WORD_ITEM)])

    assert (0, 1) == ended(report)
    assert LEFT in report.failures[0].error.message
    assert {WORD} == world.records().keys()


def test_a_run_that_a_removal_of_a_newer_stream_outdoes_fails(world: World, older: Table, newer: Table) -> None:
    """The removal buries the record: the later run would not bring it back."""
    newer.put(*WORD_ITEM)
    assert (1, 0) == ended(world.compact([newer.remove(*WORD_ITEM)]))
    world.write_delta("r1", {WORD: (1, "later", {})})

    report = world.compact([older.put(*RUN, **begins("r1"))])

    assert (0, 1) == ended(report)
    assert LEFT in report.failures[0].error.message


def test_a_removal_that_was_known_in_both_streams(world: World, older: Table, newer: Table) -> None:
    """It says what is known, unless the newer stream's run has brought the record back."""
    newer.put(*WORD_ITEM)
    older.put(*WORD_ITEM)
    gone = newer.remove(*WORD_ITEM)
    assert (1, 0) == ended(world.compact([gone]))
    assert (0, 0) == ended(world.compact([older.remove(*WORD_ITEM)]))

    older.put(*WORD_ITEM)
    with_word(world, newer)
    report = world.compact([older.remove(*WORD_ITEM)])

    assert (0, 1) == ended(report)
    assert LEFT in report.failures[0].error.message


def test_a_run_that_was_announced_in_both_streams(world: World, older: Table, newer: Table) -> None:
    """It is merged, and that is what is said, unless another run has written over it since."""
    with_word(world, newer)
    again = older.put(*RUN, **begins("r1"))
    assert (0, 0) == ended(world.compact([again]))

    world.write_delta("r2", {WORD: (2, "over it", {})})
    assert (1, 0) == ended(world.compact([newer.put(*SECOND_RUN, **begins("r2"))]))
    older.put(*RUN)
    report = world.compact([older.put(*RUN, **begins("r1"))])

    assert (0, 1) == ended(report)
    assert LEFT in report.failures[0].error.message
    assert {WORD: (2, "over it", {})} == world.records()


def test_what_the_newer_stream_did_may_come_in_the_same_batch(world: World, older: Table, newer: Table) -> None:
    """A removal and a run that says what is known, and what has brought or written over the records since."""
    newer.put(*WORD_ITEM)
    older.put(*WORD_ITEM)
    world.write_delta("r1", {WORD: (1, "text", {})})
    world.write_delta("r2", {WORD: (2, "over it", {})})
    records = [newer.remove(*WORD_ITEM), newer.put(*RUN, **begins("r1")), newer.put(*SECOND_RUN, **begins("r2"))]

    report = world.compact([*records, older.remove(*WORD_ITEM), older.put(*RUN, **begins("r1"))])

    assert (3, 2) == ended(report)
    assert all(LEFT in failure.error.message for failure in report.failures)
    assert {WORD: (2, "over it", {})} == world.records()


def test_what_is_refused_on_an_older_version_is_not_refused_on_the_newest(
    world: World, older: Table, newer: Table
) -> None:
    """A container plans on what it has while the store is asked; meanwhile the newer stream removed the record, too."""
    newer.put(*WORD_ITEM)
    older.put(*WORD_ITEM)
    with_word(world, newer)
    with world.compactor("warm") as warm:
        assert 0 == warm.compact([label(newer, "a", "VALID")]).failed
        assert (1, 0) == ended(world.compact([newer.remove(*WORD_ITEM)]))

        report = warm.compact([older.remove(*WORD_ITEM), label(newer, "b", "VALID")])

    assert (1, 0) == ended(report)


def test_streams_that_follow_each_other_are_as_ever(world: World, older: Table, newer: Table) -> None:
    """The newer one begins when the older one has ended: its runs write over and its removals delete."""
    older.idle, newer.idle = 3_600, 7_200
    with_word(world, older)
    older.put(*WORD_ITEM)
    late = older.remove(*WORD_ITEM)
    world.write_delta("r2", {WORD: (2, "newer", {})})

    assert (1, 0) == ended(world.compact([newer.put(*SECOND_RUN, **begins("r2"))]))
    assert (1, 0) == ended(world.compact([late]))
    assert (0, 0) == ended(world.compact([late]))
    assert {WORD: (2, "newer", {})} == world.records()

    newer.put(*WORD_ITEM)
    assert (1, 0) == ended(world.compact([newer.remove(*WORD_ITEM)]))
    assert {} == world.records()


def ended(report: Report) -> tuple[int, int]:
    """Return how many messages were applied, and how many failed."""
    return report.applied, report.failed
