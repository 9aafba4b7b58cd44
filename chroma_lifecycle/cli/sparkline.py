"""A row of numbers as one short word of bars."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(numbers: Sequence[float], lowest: float = 0) -> str:
    """Return a bar for each number, from *lowest* to the highest; nothing where the output lacks the characters."""
    try:
        _BARS.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ""
    span = max(numbers, default=lowest) - lowest
    return "".join(_BARS[round((len(_BARS) - 1) * (each - lowest) / span)] if span else _BARS[0] for each in numbers)
