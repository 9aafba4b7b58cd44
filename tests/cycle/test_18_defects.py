"""What nobody foresaw is the loss of one collection: the others are published, and no text of it is told."""

from __future__ import annotations

import pytest

from chroma_lifecycle import cycle
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import Defect
from chroma_lifecycle.snapshot.descriptors import below
from tests.support.table import Table, in_sqs
from tests.support.world import World, label, with_word

SECRET = "a text of some secrecy"


def test_a_defect_is_the_loss_of_one_collection(world: World, monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    """C14: its messages fail by kind and place, the client is closed, and the same batch is done without the defect."""
    table = Table()
    with_word(world, table)
    batch = in_sqs([label(table, "a")])
    before = world.version("words"), world.version("lines")

    def fail(*given: object) -> None:
        raise ZeroDivisionError(SECRET)

    with world.compactor() as machine:
        with monkeypatch.context() as patch:
            patch.setattr(ManagedClient, "apply", fail)  # of the words alone: no record of the lines moves
            report = machine.compact(batch)
        [failure] = report.failures
        assert ("words", Defect) == (failure.collection, type(failure.error))
        assert failure.error.message.startswith("ZeroDivisionError in fail (line ")
        assert "a defect of chroma-lifecycle" in failure.error.hint
        assert (before[0], before[1] + 1) == (world.version("words"), world.version("lines"))
        assert () == below(world.home / "workspace/words/pristine")
        assert not list((world.home / "workspace/words").glob("working-*"))
        [line] = [line for line in told if line.startswith("a defect ended a cycle")]
        assert "cycle.py" in line
        assert SECRET not in "".join(told) + str(failure.error)

        assert 0 == machine.compact(batch).failed
    assert before[0] + 1 == world.version("words")


def test_a_batch_that_a_defect_ends_is_not_answered_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every collection is lost to it: an error of ours, without the text, so that the queue keeps the batch."""

    def fail(*given: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(cycle, "join", fail)
    with pytest.raises(Defect, match="KeyError in fail") as refused:
        world.compact([label(Table(), "a")])
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None is refused.value.__context__
