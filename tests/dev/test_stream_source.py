"""The event source mapping for a stream: in order, from the lowest failed record on again."""

from __future__ import annotations

from typing import Any

from dev.queue_source import Batching, Invocation
from dev.stream_source import StreamSource
from tests.dev.conftest import Scripted

TOLD: list[Invocation] = []


class Reader:
    """A stream that holds the records 1 to *count*."""

    def __init__(self, count: int) -> None:
        self._records = [{"dynamodb": {"SequenceNumber": str(number)}} for number in range(1, count + 1)]

    def read(self) -> list[Any]:
        records, self._records = self._records, []
        return records


def deliver(function: Scripted, *, count: int, most: int = 100, attempts: int | None = None) -> StreamSource:
    """Let a source work until it has nothing left, at most twenty batches."""
    source = StreamSource(Reader(count), function, Batching(most), attempts, TOLD.append)  # type: ignore[arg-type]
    TOLD.clear()
    for _ in range(20):
        source.step()
    return source


def test_everything_from_the_lowest_failed_record_on_comes_again() -> None:
    """L15: what came before it is done, what came after it is sent once more."""
    function = Scripted()
    function.fails = lambda text: text in "35" and len(function.batches) < 3

    deliver(function, count=5)

    assert [["1", "2", "3", "4", "5"], ["3", "4", "5"], ["3", "4", "5"]] == function.batches


def test_an_error_of_the_function_halves_the_batch() -> None:
    """So that what the function cannot bear is found, and the rest goes on."""
    function = Scripted(raises=lambda texts: "3" in texts)

    source = deliver(function, count=4, attempts=5)

    assert [["1", "2", "3", "4"], ["1", "2"], ["3", "4"], ["3"]] == function.batches[:4]
    assert (["3"], ["4"]) == (source.given_up, function.batches[-1])


def test_a_record_that_always_fails_is_given_up_alone() -> None:
    """L8: its shard goes on behind it."""
    function = Scripted(fails=lambda text: text == "2")

    source = deliver(function, count=3, attempts=3)

    assert ["2"] == source.given_up
    assert [1, 2, 3, 1] == [each.receives for each in TOLD]
    assert [["1", "2", "3"], ["2", "3"], ["2", "3"], ["3"]] == function.batches
