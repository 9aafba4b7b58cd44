"""One piece that is cut in real processes: killed at each step, begun at the same moment, read from all the time."""

from __future__ import annotations

import pytest

from chroma_lifecycle.bulk import bring
from tests.sharding.test_11_reshard_processes import IMAGES, Life, killed_and_done_again, reshard_by_command, word
from tests.sharding.test_12_cut import begun_whole, table, whole
from tests.support.dying_reshards import STEPS_OF_CUT, race_to_begin
from tests.support.one_piece import OnePieceWorld
from tests.support.resharding import read_here
from tests.support.table import Table

__all__ = ["begun_whole", "table", "whole"]

QUICK = [("close", True)]
EVERY = [(step, after) for step in STEPS_OF_CUT for after in (False, True)]


@pytest.fixture(autouse=True)
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)


@pytest.mark.parametrize(("step", "after"), QUICK)
def test_killed_at_a_step_the_same_again_ends_it(whole: OnePieceWorld, table: Table, step: str, after: bool) -> None:
    """D1: after a SIGKILL nothing is lost that was answered for, and the same command ends the reshard."""
    killed_and_done_again(whole, table, step, after=after, generation=1)


@pytest.mark.soak
@pytest.mark.parametrize(("step", "after"), EVERY)
def test_killed_at_every_step_the_same_again_ends_it(
    whole: OnePieceWorld, table: Table, step: str, after: bool
) -> None:
    """D1: the same for every named step, before and after it."""
    killed_and_done_again(whole, table, step, after=after, generation=1)


@pytest.mark.soak
def test_of_two_processes_that_begin_at_once_one_begins(whole: OnePieceWorld) -> None:
    """Both have read HEAD when either swaps it: one is told of the other, and the collection is as it was."""
    records, ends = whole.records(), race_to_begin(whole, 2, 4)

    assert ["begun"] == [end for end in ends if end == "begun"], ends
    (other,) = [end for end in ends if end != "begun"]
    assert other.startswith("BadInput: a reshard of words to ")
    assert (True, records) == (whole.layout().in_one_piece, whole.records())


@pytest.mark.soak
def test_readers_never_fail_and_never_miss_a_record_while_the_command_runs(whole: OnePieceWorld, table: Table) -> None:
    """Threads ask all the time, changes come all the time, and the command cuts to three shards, then to one."""
    with Life(whole, table) as life:
        for shards in (3, 1):
            reshard_by_command(whole, shards, declared="")

    assert [] == life.problems[:3]
    assert life.asked > 20
    assert 2 == whole.layout().generation
    records = whole.records()
    for number in range(life.labels):
        assert records[word(IMAGES[number % len(IMAGES)])][2][f"label_n{number}"]
