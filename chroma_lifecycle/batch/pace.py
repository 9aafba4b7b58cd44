"""How fast cycles are in this process: what to keep in reserve, and how much of a batch there is time for."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

RESERVE_TIMES = 3.0
"""The reserve is at least as many times the longest of the last publishes."""

_REMEMBERED = 16
# Until cycles were measured: opening a collection, and three times what a record takes on two cores.
_OPENING_SECONDS = 0.5
_SECONDS_PER_RECORD = 0.002
# Of fewer records the opening says more than the records.
_TELLING_RECORDS = 100
_PUBLISHING = ("seal", "publish")


class Pace:
    """What the last cycles of one collection took.

    Args:
        reserve_seconds: The reserve is never less.
    """

    def __init__(self, reserve_seconds: float) -> None:
        self._least = reserve_seconds
        self._publishes: deque[float] = deque([0.0], _REMEMBERED)
        self._openings: deque[float] = deque([_OPENING_SECONDS], _REMEMBERED)
        self._rates: deque[float] = deque([_SECONDS_PER_RECORD], _REMEMBERED)

    def note(self, seconds: Mapping[str, float], records: int) -> None:
        """Take note of a cycle that published.

        Args:
            seconds: By phase.
            records: How many records its plan touched.
        """
        self._publishes.append(sum(seconds.get(phase, 0.0) for phase in _PUBLISHING))
        if records >= _TELLING_RECORDS:
            self._rates.append(seconds.get("apply", 0.0) / records)
        elif records:
            self._openings.append(seconds.get("apply", 0.0))

    @property
    def reserve_seconds(self) -> float:
        """What must be left when Chroma has done its work: time to publish, and to answer."""
        return max(self._least, RESERVE_TIMES * max(self._publishes))

    def apply_seconds(self, records: int) -> float:
        """Return what a plan for *records* records may take."""
        return max(self._openings) + records * max(self._rates) if records else 0.0

    def share(self, records: int, remaining_seconds: float) -> float:
        """Return which share of a plan for *records* records there is time for, from 0 to 1."""
        left, needed = remaining_seconds - self.reserve_seconds, self.apply_seconds(records)
        if left >= needed:
            return 1.0
        opening = max(self._openings)
        return max(0.0, left - opening) / (needed - opening) if records else 1.0
