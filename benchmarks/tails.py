"""What a write-ahead tail costs a reader when it opens, by the length of the tail and the size of the snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.tail_experiment import TAILS, make_base, measure


def measure_tails(sizes: Sequence[int], dimension: int, rounds: int) -> list[dict[str, Any]]:
    """Open directories with tails of several lengths, and flush them."""
    rows: list[dict[str, Any]] = []
    for records in sizes:
        with TemporaryDirectory() as room:
            base = Path(room) / "chroma"
            make_base(base, records, dimension)
            found = [measure(base, tail, rounds) for tail in TAILS]
            found.append(measure(base, TAILS[-1], rounds, metadata_only=True))
            rows += [{"records": records, **row} for row in found]
    return rows
