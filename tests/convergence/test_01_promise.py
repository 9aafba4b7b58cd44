"""The promise of the product, by machine; its words are the docstring of `PromiseMachine`."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from tests.support.machine import ENVELOPES, PromiseMachine, examples

SCHEDULES = int(os.environ.get("SCHEDULES", "400"))
"""How many a long run goes through."""
SEEDS = (2, 5, 1, 3, 4, 6, 7, 8)
"""Of rounds of ten schedules; the first two go through all that has to happen."""
HAPPENED = {
    *(f"envelope {name}" for name in ENVELOPES),
    *(f"event {item} {name}" for item in ("COMPACTION_RUN", "PLACE", "LABEL") for name in ("INSERT", "MODIFY")),
    *(f"event {item} REMOVE" for item in ("PLACE", "LABEL", "RECEIPT", "LINE", "WORD")),
    *(f"outcome {outcome}" for outcome in ("applied", "no-op", "failed", "ignored")),
    *(f"other writer: {what}" for what in ("compact", "pin", "rebase", "expire", "rollback", "reapply")),
    *("envelope flat", "expired", "swept", "rolled back", "withheld", "reapplied", "resynced", "died mending"),
    *("status write", "late", "refused value", "one collection failed", "swap lost", "cold", "warm"),
    *("died DiesAtCall", "died DiesAtStep", "died DiesAtSwap", "delta missing", "stale mirror", "damaged mirror"),
}


@pytest.fixture(autouse=True)
def _machine(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromiseMachine, "begun", begun, raising=False)
    monkeypatch.setattr(PromiseMachine, "seen", Counter())


def test_nothing_is_lost_whatever_happens() -> None:
    """C13, L5, L6, C8, L9, L24, D1, D6: the promise of `PromiseMachine`, and what it speaks of really happens.

    Always the same schedules: twenty, and then on until each thing happened.
    """
    for rounds, number in enumerate(SEEDS, 1):
        run_state_machine_as_test(seed(number)(PromiseMachine), settings=examples(10))
        if rounds > 1 and PromiseMachine.seen.keys() >= HAPPENED:
            break
    assert set() == HAPPENED - PromiseMachine.seen.keys(), sorted(PromiseMachine.seen.items())
    assert PromiseMachine.seen["compared"] >= 40


@pytest.mark.soak
def test_nothing_is_lost_in_many_schedules(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """C13, L5, L6, C8, L9, L24, D1, D6: the same for 400 schedules of a seed that is printed; SEED=n replays it."""
    number = int(request.config.getoption("--hypothesis-seed") or random.SystemRandom().randrange(1 << 30))
    with capsys.disabled():
        print(f"\nschedules of seed {number}")
        run_state_machine_as_test(seed(number)(PromiseMachine), settings=examples(SCHEDULES, steps=30))
        print(sorted(PromiseMachine.seen.items()))
