"""How large the snapshots are, and how often each thing is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """One profile of the benchmark.

    Attributes:
        records: Words in the snapshot.
        larger: How many times as large the larger snapshot is.
        rounds: How often each kind of cycle is timed.
        slow_rounds: The same for what takes seconds each time.
        closing_rounds: How often a client is closed in each way.
        open_rounds: How often a client is opened and closed in one process.
    """

    name: str
    records: int
    dimension: int
    larger: int
    rounds: int
    slow_rounds: int
    closing_rounds: int
    open_rounds: int

    @property
    def chart_records(self) -> tuple[int, ...]:
        """Snapshots of the chart: a fifth, a half, the whole, and the larger one."""
        return (self.records // 5, self.records // 2, self.records, self.records * self.larger)


SIZES = {
    size.name: size
    for size in (
        Size("full", 30_000, 384, 5, rounds=15, slow_rounds=5, closing_rounds=30, open_rounds=500),
        Size("small", 6_000, 384, 2, rounds=5, slow_rounds=2, closing_rounds=10, open_rounds=60),
        Size("tiny", 1_200, 16, 2, rounds=2, slow_rounds=1, closing_rounds=2, open_rounds=40),
    )
}
