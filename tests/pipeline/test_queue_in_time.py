"""The function behind a queue with the template's own numbers, while hours go by on the queue's clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import handler.app
from tests.support.cloudformation import Stack, read
from tests.support.pipeline import Context, cold
from tests.support.queue_in_time import queue_in_time
from tests.support.table import Table
from tests.support.world import IMAGE, World

HOUR = 3_600


@pytest.fixture
def stack() -> Stack:
    return Stack(read(Path(__file__).parents[2] / "template.yaml"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """What the function is told of in its environment."""
    world = World(tmp_path / "world").begin()
    monkeypatch.setenv("CHROMA_LIFECYCLE_STORE", str(world.home / "store"))
    monkeypatch.setenv("CHROMA_LIFECYCLE_DELTAS", str(world.home / "deltas"))
    monkeypatch.setenv("CHROMA_LIFECYCLE_WORKSPACE", str(world.home / "workspace"))
    monkeypatch.setenv("CHROMA_LIFECYCLE_MAPPING", "receipts")
    monkeypatch.delenv("CHROMA_LIFECYCLE_TABLE", raising=False)
    cold()
    yield world
    cold()


def function(event: dict[str, Any]) -> dict[str, Any]:
    return handler.app.lambda_handler(event, Context())  # type: ignore[arg-type]


def labels(table: Table, count: int) -> list[str]:
    """Return the bodies of changes of different items, as the pipe sends them."""
    return [
        json.dumps(
            table.put(IMAGE, f"RECEIPT#00001#LINE#00001#WORD#00001#LABEL#{number:06}", validation_status="VALID")
        )
        for number in range(count)
    ]


def facts(world: World) -> int:
    """Return how many items the newest version of words has heard of."""
    return world.published("words").manifest.details.counts.facts


@pytest.mark.parametrize("scale", [20, pytest.param(1, marks=pytest.mark.soak)])
def test_batches_that_wait_for_one_busy_compactor_are_received_once(world: World, stack: Stack, scale: int) -> None:
    """L7: six batches are taken at one moment, and each invocation takes all of its time: 12,000 messages.

    The poller goes on asking: nothing that waits is handed out a second time, and nothing becomes a dead letter.
    """
    with queue_in_time(stack, scale=scale) as passing:
        bodies = labels(Table(), 12_000 // scale)
        passing.queue.send(bodies)
        for batch in passing.batches(6):
            passing.seconds += int(stack.properties("Compactor")["Timeout"]) - 1  # all of them, but for the last second
            assert [] == passing.receive(10)
            passing.invoke(function, batch)

        assert (6, 0, []) == (len(passing.invocations), passing.queue.waiting(), passing.queue.dead_letters())
        assert dict.fromkeys(bodies, 1) == passing.receives
    assert len(bodies) == facts(world)


def test_an_outage_of_ten_hours_makes_dead_letters_of_poison_alone(world: World, stack: Stack) -> None:
    """L7, L8: every invocation raises for ten hours; then the sound are published, and the poison is set aside.

    That happens on its first day, and while the queue keeps it.
    """
    away = world.home / "away"
    with queue_in_time(stack) as passing:
        bodies = labels(Table(), 12)
        began = passing.seconds
        passing.queue.send([*bodies, "{no json"])
        (world.home / "store").rename(away)
        while passing.queue.waiting():
            if away.exists() and passing.seconds - began > 10 * HOUR:
                away.rename(world.home / "store")
                cold()
            if batch := passing.receive(passing.most):
                passing.invoke(function, batch)
            passing.seconds += 300
        sound = {body: count for body, count in passing.receives.items() if body != "{no json"}

        assert ["{no json"] == passing.queue.dead_letters()
        assert passing.seconds - began < 24 * HOUR < stack.properties("Queue")["MessageRetentionPeriod"] / 2
        assert {True} == {5 < count <= 1 + 10 * HOUR // stack.properties("Queue")["VisibilityTimeout"] + 1
                          for count in sound.values()}, sound  # fmt: skip
    assert len(bodies) == facts(world)


def test_a_message_a_second_makes_a_cycle_a_window(world: World, stack: Stack) -> None:
    """D3: two minutes of a trickle: no two invocations begin within a window, and each publishes once at most."""
    table = Table()
    with queue_in_time(stack) as passing:
        before = world.version("words")
        for body in labels(table, 120):
            passing.queue.send([body])
            passing.second(function)
        while passing.queue.waiting():
            passing.second(function)
        gaps = [later - earlier for earlier, later in zip(passing.invocations, passing.invocations[1:], strict=False)]

        assert min(gaps) > passing.window_seconds == 10
        assert len(passing.invocations) <= 120 // passing.window_seconds + 1
        assert world.version("words") - before == len(passing.invocations)
    assert 120 == facts(world)
