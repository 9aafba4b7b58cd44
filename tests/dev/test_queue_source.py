"""The event source mapping for a queue, on moto's server: what a function does not name is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dev.queue_source import Batching, Invocation, QueueSource
from dev.queues import Queue
from tests.dev.conftest import Scripted, new_queue


@contextmanager
def source(queue: Queue, *functions: Scripted, most: int = 100) -> Iterator[tuple[QueueSource, list[Invocation]]]:
    """A source whose window is over at once, with what it tells."""
    told: list[Invocation] = []
    made = QueueSource(queue, functions, Batching(most, window_seconds=0), told=told.append)
    yield made, told
    made.close()


def test_a_poison_message_alone_becomes_a_dead_letter(queue: Queue) -> None:
    """L8: it is received as often as the queue allows; the others are deleted when they are done."""
    function = Scripted(fails=lambda text: text == "poison")
    queue.send(["good", "poison", "fine"])

    with source(queue, function) as (made, told):
        while made.step():
            pass

    assert [["good", "poison", "fine"], ["poison"], ["poison"]] == function.batches
    assert [(3, 1, 1), (1, 1, 2), (1, 1, 3)] == [(each.received, each.failed, each.receives) for each in told]
    assert (0, ["poison"]) == (queue.waiting(), queue.dead_letters())


def test_a_function_that_raises_gets_the_whole_batch_again(queue: Queue) -> None:
    """L3: nothing is deleted for an invocation that failed."""
    function = Scripted()
    function.raises = lambda texts: len(function.batches) == 1
    queue.send(["one", "two"])

    with source(queue, function) as (made, told):
        while made.step():
            pass

    assert [["one", "two"], ["one", "two"]] == function.batches
    assert ["ValueError: as scripted", None] == [each.error for each in told]
    assert (0, []) == (queue.waiting(), queue.dead_letters())


def test_a_batch_is_no_larger_than_asked_for() -> None:
    """More than ten messages are received by several requests; the rest is the next batch."""
    function = Scripted()
    queue = new_queue(visibility_seconds=60)  # or what was received first would come again
    queue.send([str(number) for number in range(25)])

    made = QueueSource(queue, [function], Batching(15, window_seconds=60))
    made.step()
    made.close()

    assert [15] == [len(batch) for batch in function.batches]
    assert 10 == queue.waiting()


def test_what_breaks_the_source_is_told(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that does not delete would bring everything again and again."""
    queue.send(["one"])
    monkeypatch.setattr(Queue, "delete", lambda self, messages: 1 / 0)

    with source(queue, Scripted()) as (made, _):
        made.step()

    assert isinstance(made.problem, ZeroDivisionError)


def test_messages_go_out_in_requests_that_the_queue_takes(queue: Queue) -> None:
    """At most ten, and a megabyte, in one."""
    queue.send([*["x" * 400_000] * 4, *map(str, range(21))])

    assert 25 == queue.waiting()
