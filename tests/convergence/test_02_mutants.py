"""The machines are not blind: each defect that is planted is found by them."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from tests.support.machine import PromiseMachine, ShardedMachine, examples
from tests.support.mutants import IN_SHARDS, MUTANTS

QUICK = {
    "a_lost_swap_is_taken_for_landed",
    "an_older_image_replaces_a_newer_one",
    "a_failed_collection_is_answered_for",
    "any_event_of_a_pending_item_begins_its_run",
    "a_run_is_completed_before_it_is_published",
    "the_removal_of_an_unknown_item_leaves_no_fact",
}
"""Those that every run of the tests looks for; a long run looks for all."""
WITHIN = 120
"""In how many schedules each must be found."""


@pytest.mark.parametrize(
    "mutant", [name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in (*MUTANTS, *IN_SHARDS)]
)
def test_a_planted_defect_is_found(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    """A machine ends in a failed assertion, or an error that no fault explains."""
    machine = ShardedMachine if mutant in IN_SHARDS else PromiseMachine
    {**MUTANTS, **IN_SHARDS}[mutant](monkeypatch)
    with pytest.raises(Exception) as found:  # whatever it is, it is not silence
        run_state_machine_as_test(seed(1)(machine), settings=examples(WITHIN))
    assert not isinstance(found.value, (TypeError, AttributeError)), "the mutant itself is broken"
    where = traceback.extract_tb(found.value.__traceback__)[-1]
    schedule, file = machine.seen["schedules"], where.filename.rpartition("/")[2]
    print(f"{mutant} was found in schedule {schedule} by {file}, line {where.lineno}: {where.line}")


@pytest.mark.soak
@pytest.mark.parametrize("machine", [PromiseMachine, ShardedMachine])
def test_the_same_schedules_pass_without_a_defect(machine: type[PromiseMachine]) -> None:
    """What finds a planted defect is the defect, and not a mistake of the machine."""
    run_state_machine_as_test(seed(1)(machine), settings=examples(WITHIN))
