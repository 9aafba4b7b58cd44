"""Bytes against the size of the snapshot: 100 scattered labels, published by everybody, for the chart."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.beside import Ours, counted
from benchmarks.opponents import BatchedCopy, Opponent, WholeCopy, has_lance, lance
from benchmarks.receipts import Editor
from benchmarks.site import site


def measure_growth(url: str, sizes: Sequence[int], dimension: int, room: Path) -> list[dict[str, Any]]:
    """Return for each size and opponent the megabytes that go to the server in a cycle."""
    rows = []
    for records in sizes:
        with ExitStack() as stack:
            here = stack.enter_context(site(url, records, dimension, room))
            start = here.lay_out("start")
            editor = Editor(records, generation=70)
            rivals: list[Opponent] = [
                Ours(here, stack),
                WholeCopy(here, start),
                BatchedCopy(here, start),
                *([stack.enter_context(lance(here))] if has_lance() else []),
            ]
            size = sum(path.stat().st_size for path in start.rglob("*") if path.is_file())
            sent = {rival.name: counted(rival, editor, here, rounds=1)["sent_megabytes"] for rival in rivals}
            rows.append({"records": records, "snapshot_megabytes": round(size / 1e6, 1), "sent_megabytes": sent})
    return rows
