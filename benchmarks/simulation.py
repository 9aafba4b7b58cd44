"""One shard played in time, change by change: what the model of :mod:`chroma_lifecycle.sizing` says on the average.

Changes come at random, as they do from people; a batch ends with its window or its size; a cycle takes what the
measured ones took, with their spread. Nothing here uses the model's own formulas, but for the constants.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from chroma_lifecycle.sizing.demand import Demand
from chroma_lifecycle.sizing.measured import Measured

# Of the template: the most messages in one batch.
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Played:
    """What became of the changes.

    Attributes:
        cycles: How many there were.
        busy_share: Of the time that cycles took.
        mean_lag_seconds: From a change to its version, on the average.
        waiting: Changes that had not been published when the time was over.
    """

    cycles: int
    busy_share: float
    mean_lag_seconds: float
    waiting: int


def play(demand: Demand, constants: Measured, *, hours: float, spread: tuple[float, float], seed: int = 1) -> Played:
    """Play one shard that holds all of *demand* for some hours.

    Args:
        spread: The shortest and the longest of the measured cycles, as multiples of the median.
    """
    chance = random.Random(seed)
    end = hours * 3600
    stretch = demand.dimension / constants.dimension
    rate = demand.changes_per_second + demand.vectors_per_second
    arrivals: list[tuple[float, bool]] = []
    at = chance.expovariate(rate)
    while at < end:
        arrivals.append((at, chance.random() < demand.vectors_per_second / rate))
        at += chance.expovariate(rate)

    now = busy = lag = 0.0
    done = cycles = 0
    while done < len(arrivals):
        first = max(now, arrivals[done][0])
        # The window begins with the first message that is received, and that is when the last cycle has ended.
        closes, batch = first + demand.window_seconds, done
        while batch < len(arrivals) and batch - done < _BATCH and arrivals[batch][0] <= closes:
            batch += 1
        begins = closes if batch - done < _BATCH else max(first, arrivals[batch - 1][0])
        seconds = constants.fixed_seconds + constants.seconds_per_record * stretch * demand.vectors
        seconds += sum(
            constants.seconds_per_vector * stretch if is_vector else constants.seconds_per_label
            for _, is_vector in arrivals[done:batch]
        )
        seconds *= chance.triangular(spread[0], spread[1], 1.0)
        if begins + seconds > end:
            break
        now = begins + seconds
        busy, cycles = busy + seconds, cycles + 1
        lag += sum(now - came for came, _ in arrivals[done:batch])
        done = batch
    return Played(cycles, busy / end, lag / done if done else 0.0, len(arrivals) - done)
