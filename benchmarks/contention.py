"""Functions that share a queue of labels, played in time: how often they meet at a shard, and what is left then.

Each has its own processor. A cycle takes what the measured ones took, with their spread; whoever finds at its end that
another one has published first gives way for a while, and does it again. Beside it stands what processes here did.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from chroma_lifecycle.cycle import ATTEMPTS
from chroma_lifecycle.sizing.measured import Measured


@dataclass(frozen=True, slots=True)
class Contended:
    """What became of the batches.

    Attributes:
        labels_per_second: Of all functions together.
        cycles: That published something.
        lost: Swaps that another function won.
    """

    labels_per_second: float
    cycles: int
    lost: int

    @property
    def lost_share(self) -> float:
        """Of all swaps."""
        return self.lost / (self.cycles + self.lost)


@dataclass
class _Function:
    todo: deque[tuple[int, int]] = field(default_factory=deque)
    found: int | None = None
    attempt: int = 1
    took: float = 0.0


def contend(
    constants: Measured,
    *,
    records: int,
    shards: int,
    functions: int,
    batches: int,
    labels: int,
    anywhere: bool,
    in_turn: bool = False,
    spread: tuple[float, float],
    seed: int = 1,
) -> Contended:
    """Let *functions* empty a queue of *batches*, each of so many labels.

    Args:
        records: Of the whole collection.
        anywhere: Whether the labels of a batch lie in all shards, or in one of them.
        in_turn: Whether the batches of one shard come one shard after the other, or by chance.
        spread: The shortest and the longest of the measured cycles, as multiples of the median.
    """
    chance = random.Random(seed)
    queue = deque(
        [(number % shards, labels)] if in_turn else _batch(shards, labels, anywhere, chance)
        for number in range(batches)
    )
    heads, cycles, lost, now = [0] * shards, 0, 0, 0.0
    working = [_Function() for _ in range(functions)]
    events = [(0.0, number) for number in range(functions)]
    while events:
        now, number = heappop(events)
        one = working[number]
        if one.found is not None:  # a cycle has ended, at its swap
            (shard, _), found, one.found = one.todo[0], one.found, None
            if found != heads[shard]:
                lost += 1
                one.attempt += 1
                if one.attempt > ATTEMPTS:
                    queue.append(list(one.todo))
                    one.todo.clear()
                else:
                    heappush(events, (now + chance.uniform(0, (one.attempt - 1) * one.took), number))
                    continue
            else:
                heads[shard] += 1
                cycles += 1
                one.todo.popleft()
            one.attempt = 1
        if not one.todo and queue:
            one.todo.extend(queue.popleft())
        if one.todo:
            shard, count = one.todo[0]
            seconds = constants.fixed_seconds + constants.seconds_per_record * records / shards
            one.took = (seconds + constants.seconds_per_label * count) * chance.triangular(*spread, 1.0)
            one.found = heads[shard]
            heappush(events, (now + one.took, number))
    return Contended(batches * labels / now, cycles, lost)


def _batch(shards: int, labels: int, anywhere: bool, chance: random.Random) -> list[tuple[int, int]]:
    """Return the shards that a batch concerns, in their order, and how many labels each gets."""
    if not anywhere:
        return [(chance.randrange(shards), labels)]
    counts = [0] * shards
    for _ in range(labels):
        counts[chance.randrange(shards)] += 1
    return [(shard, count) for shard, count in enumerate(counts) if count]
