"""Parallel transfers: bounded, in order, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from chroma_lifecycle.publishing.transfer import in_parallel


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 50])
def test_results_come_in_the_order_of_the_items(workers: int, count: int) -> None:
    """However the work ends up in time, the results stand where their items stood."""
    assert [n * n for n in range(count)] == in_parallel(lambda n: n * n, iter(range(count)), workers=workers)


def test_the_work_runs_at_the_same_time() -> None:
    """Four items that wait for each other can only end together."""
    meeting = threading.Barrier(4, timeout=10)

    assert [0, 1, 2, 3] == sorted(in_parallel(lambda _: meeting.wait(), range(4), workers=4))


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_items_are_taken_than_can_be_worked_on(workers: int) -> None:
    """An iterator that reads blocks is never further ahead than there are workers, so memory is bounded."""
    lock = threading.Lock()
    taken = done = ahead = 0

    def blocks() -> Iterator[int]:
        nonlocal taken, ahead
        for number in range(40):
            with lock:
                taken += 1
                ahead = max(ahead, taken - done)
            yield number

    def work(number: int) -> None:
        nonlocal done
        with lock:
            done += 1

    in_parallel(work, blocks(), workers=workers)

    assert ahead <= workers


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_error_stops_the_rest(workers: int) -> None:
    """After an error nothing new begins, and no thread is left when it is raised."""
    begun: list[int] = []
    before = set(threading.enumerate())

    def work(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError("number 3")

    with pytest.raises(ValueError, match="number 3"):
        in_parallel(work, range(1_000), workers=workers)

    assert len(begun) < 100
    assert set(threading.enumerate()) <= before


def test_an_error_of_the_items_stops_the_rest() -> None:
    """A block that cannot be read ends the upload, too."""
    before = set(threading.enumerate())

    def blocks() -> Iterator[int]:
        yield 1
        raise OSError("cannot read")

    with pytest.raises(OSError, match="cannot read"):
        in_parallel(lambda n: n, blocks(), workers=3)
    assert set(threading.enumerate()) <= before
