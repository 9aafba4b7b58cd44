"""The fewest shards that hold what is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.sizing.bill import ROOM_SHARE, Cost, bill
from chroma_lifecycle.sizing.demand import Demand
from chroma_lifecycle.sizing.measured import Measured
from chroma_lifecycle.sizing.model import Model, Shard
from chroma_lifecycle.sizing.prices import Prices

# A shard that is busy for longer leaves no room for bursts and for the work of a lost swap.
_BUSY_SHARE = 0.7
_MOST_SHARDS = 4096
_MORE = {
    "disk": "give a function more disk (--disk)",
    "memory": "give a function more memory (--memory)",
    "time": "gather changes for longer (--window)",
}


@dataclass(frozen=True, slots=True)
class Sizing:
    """The answer: shards, what decides their number, one of them, the bill, and what to think of."""

    shards: int
    decided_by: str
    shard: Shard
    costs: tuple[Cost, ...]
    notes: tuple[str, ...]

    @property
    def dollars(self) -> float:
        return sum(cost.dollars for cost in self.costs)


def size_up(demand: Demand, constants: Measured, prices: Prices) -> Sizing:
    """Return the fewest shards that hold what is asked, and what they cost.

    Raises:
        BadInput: A number is out of range, or no number of shards would do.
    """
    demand.check()
    model = Model(demand, constants)
    bounds = {
        "disk": lambda one: one.disk_bytes <= ROOM_SHARE * demand.disk_bytes,
        "memory": lambda one: one.memory_bytes <= ROOM_SHARE * demand.memory_bytes,
        "time": lambda one: one.busy_share <= _BUSY_SHARE,
    }
    needed = {name: _fewest(model, holds, name) for name, holds in bounds.items()}
    decided_by = max(needed, key=lambda name: needed[name])
    shards = needed[decided_by]
    one = model.shard(shards)
    return Sizing(
        shards,
        decided_by if shards > 1 else "nothing",
        one,
        tuple(bill(demand, one, shards, prices, constants)),
        tuple(_notes(demand, one, shards)),
    )


def _fewest(model: Model, holds: Callable[[Shard], bool], name: str) -> int:
    """Return the fewest shards for which a bound holds; more of them never make it worse."""
    low, high = 1, _MOST_SHARDS
    if not holds(model.shard(high)):
        raise BadInput(
            f"{_MOST_SHARDS:,} shards are not enough: a shard's {name} is still too much",
            hint=f"{_MORE[name]}, split the table into several collections, or use a server",
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(model.shard(middle)) else (middle + 1, high)
    return low


def _notes(demand: Demand, one: Shard, shards: int) -> Iterator[str]:
    oldest = demand.window_seconds + one.cycle_seconds + demand.refresh_seconds
    yield f"a reader sees a change after at most about {oldest:,.0f} s while all is well"
    if one.cold_seconds > 10:
        yield f"a cold reader or function first restores for {one.cold_seconds:,.0f} s: keep some warm"
    if one.cycle_seconds > 60:
        yield "cycles of more than a minute: more shards, or fewer changes in a batch, make the loss of one cheaper"
    if demand.changes_per_second + demand.vectors_per_second > 1_000 * shards:
        yield "a stream's shard carries about 1,000 changes a second; DynamoDB splits it, the pipe follows"
    if shards * demand.readers > 1_000:
        yield f"{shards * demand.readers:,} shards to open in all: let each query function hold a few shards"
