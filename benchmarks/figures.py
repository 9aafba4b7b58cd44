"""Medians and ratios of what was measured by turns: two rows of times from one run, never one from yesterday."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long *work* takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the quarter of the values below and above which the outer ones lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def rounded(self, digits: int) -> dict[str, float]:
        """Return it for the results file."""
        names = ("median", "low", "high")
        return {name: round(getattr(self, name), digits) for name in names}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return the spread of the ratios of neighbours: what slows a shared machine down slows both."""
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)]).rounded(3)


def by_turns(rounds: int, *works: Callable[[int], float]) -> list[list[float]]:
    """Let each of *works* return its seconds, *rounds* times, the first of a round being another each time."""
    seconds: list[list[float]] = [[] for _ in works]
    for number in range(rounds):
        for place in range(len(works)):
            turn = (number + place) % len(works)
            seconds[turn].append(works[turn](number))
    return seconds
