"""The machine is not blind: each defect that is planted is found by it."""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from tests.convergence.mutants import MUTANTS
from tests.support.machine import PromiseMachine, examples

QUICK = {
    "a_lost_swap_is_taken_for_landed",
    "a_refusal_is_taken_for_our_own_write",
    "an_older_image_replaces_a_newer_one",
    "a_failed_collection_is_answered_for",
    "any_event_of_a_pending_item_begins_its_run",
    "a_run_is_completed_before_it_is_published",
    "the_removal_of_an_unknown_item_leaves_no_fact",
}
"""Those that every run of the tests looks for; a long run looks for all."""


@pytest.mark.parametrize(
    "mutant", [name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in MUTANTS]
)
def test_a_planted_defect_is_found(begun: Path, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    """The machine ends in a failed assertion, or an error that no fault explains."""
    monkeypatch.setattr(PromiseMachine, "begun", begun, raising=False)
    monkeypatch.setattr(PromiseMachine, "seen", Counter())
    MUTANTS[mutant](monkeypatch)
    with pytest.raises(Exception) as found:  # whatever it is, it is not silence
        run_state_machine_as_test(seed(1)(PromiseMachine), settings=examples(120))
    assert not isinstance(found.value, (TypeError, AttributeError)), "the mutant itself is broken"
    where = traceback.extract_tb(found.value.__traceback__)[-1]
    print(f"{mutant} was found by {where.filename.rpartition('/')[2]}, line {where.lineno}: {where.line}")


@pytest.mark.soak
def test_the_same_schedules_pass_without_a_defect(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds a planted defect is the defect, and not a mistake of the machine."""
    monkeypatch.setattr(PromiseMachine, "begun", begun, raising=False)
    monkeypatch.setattr(PromiseMachine, "seen", Counter())
    run_state_machine_as_test(seed(1)(PromiseMachine), settings=examples(120))
