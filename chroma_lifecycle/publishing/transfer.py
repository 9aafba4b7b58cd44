"""Transfers beside other work: one, or many at once in a memory that does not grow with their number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many bytes are done, and of how many."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


class Steps:
    """Adds up what many threads have done, and tells how far that is."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def done(self, count: int) -> None:
        """Take note of *count* more bytes."""
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)


WORKERS = 8
"""Enough to fill a function's network with blocks of a few MB; each holds one block in memory."""


def in_parallel(work: Callable[[_T], _R], items: Iterable[_T], *, workers: int = WORKERS) -> list[_R]:
    """Return what *work* makes of each item, in the order of the items.

    An item is taken when a worker is free, so that at most *workers* of them are in work: an
    iterator that reads blocks from disk never has more blocks in memory. The first error stops
    the taking; it is raised when the work that was under way has ended, so that no thread
    outlives this call.

    Args:
        work: Called in a thread of its own, or in this one if *workers* is 1.
        items: May be an iterator; it is advanced in this thread only.
        workers: From 1 on.
    """
    if workers == 1:
        return [work(item) for item in items]
    results: dict[int, _R] = {}
    running: dict[Future[_R], int] = {}
    with _threads(workers) as threads:
        for number, item in enumerate(items):
            running[threads.submit(work, item)] = number
            if len(running) == workers:
                _collect(running, results)
        while running:
            _collect(running, results)
    return [results[number] for number in range(len(results))]


@contextmanager
def meanwhile(work: Callable[[], _R]) -> Iterator[Callable[[], _R]]:
    """Do *work* in a thread of its own; give what waits for its result, or raises its error.

    No thread outlives the block.
    """
    with _threads(1) as threads:
        yield threads.submit(work).result


def _collect(running: dict[Future[_R], int], results: dict[int, _R]) -> None:
    """Wait until something has ended, and take its results, or raise its error."""
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        results[running.pop(future)] = future.result()


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    threads = ThreadPoolExecutor(workers, thread_name_prefix="transfer")
    try:
        yield threads
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
