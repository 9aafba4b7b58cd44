"""Who lost a swap waits for a random while, and not when time is short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle import cycle
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.cycle import Cycle
from tests.support.world import World

TOOK_SECONDS = 4.0


class ManualClock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: int, deadline: Deadline, chance: float = 1.0
) -> tuple[Callable[[], bool], float]:
    """Return what ends the pause after a lost swap early, and how long it is at most."""
    asked: list[tuple[Callable[[], bool], float]] = []

    def wait(condition: Callable[[], bool], *, timeout_seconds: float, poll_seconds: float) -> bool:
        assert 0 < poll_seconds < max(timeout_seconds, 0.01)
        asked.append((condition, timeout_seconds))
        return True

    monkeypatch.setattr(cycle, "wait_until", wait)
    monkeypatch.setattr(cycle, "jitter", lambda most_seconds: chance * most_seconds)
    with World(tmp_path).compactor() as machine:
        workspace: Any = None  # giving way touches no file
        Cycle(machine._around, workspace, "words", deadline)._give_way(attempt, TOOK_SECONDS)
    [found] = asked
    return found


@pytest.mark.parametrize("attempt", [1, 2, 7])
def test_the_pause_grows_with_each_lost_swap_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    """L6: at random below as many attempts as were lost, so that those who met do not meet again."""
    assert attempt * TOOK_SECONDS == give_way(tmp_path, monkeypatch, attempt, Deadline())[1]
    assert attempt * TOOK_SECONDS / 4 == give_way(tmp_path, monkeypatch, attempt, Deadline(), chance=0.25)[1]


def test_nobody_gives_way_when_time_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L14, S1: the pause ends while there is still time for two more attempts and the reserve."""
    clock: Any = ManualClock()
    reserve_seconds = 1.0  # of the world's settings
    is_over, _ = give_way(tmp_path, monkeypatch, 7, Deadline.after(100, clock))
    assert not is_over()
    clock.seconds = 100 - 2 * TOOK_SECONDS - reserve_seconds
    assert not is_over()
    clock.seconds += 0.01
    assert is_over()
