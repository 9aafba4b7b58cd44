"""Which charts the page has, and what of the history each one shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chroma_lifecycle.page.charts import Chart, Column, buckets
from chroma_lifecycle.page.history import History, Row
from chroma_lifecycle.words import duration, number, size

_MOST_COLUMNS = 180
_PHASES = ("restore", "plan", "apply", "seal")


def drawings(history: History) -> tuple[Chart, ...]:
    """Return the charts, each with at most some 180 columns: of many versions, several share one."""
    groups = [[history.rows[at] for at in group] for group in buckets(len(history.rows), _MOST_COLUMNS)]
    return (
        Chart(
            "Bytes stored for a version, beside a whole copy",
            ("stored", "whole copy"),
            _columns(groups, lambda group: (_mean(group, "stored_bytes"), _mean(group, "size_bytes"))),
            size,
            lines=True,
            powers=True,
        ),
        Chart(
            "Records changed",
            ("added", "changed", "removed"),
            _columns(groups, lambda group: (_sum(group, "added"), _sum(group, "changed"), _sum(group, "removed"))),
            number,
        ),
        Chart("Records", ("records",), _columns(groups, lambda group: (group[-1].records,)), number, lines=True),
        Chart(
            "Size of the files", ("size",), _columns(groups, lambda group: (group[-1].size_bytes,)), size, lines=True
        ),
        Chart("Time by phase, before the publishing", _PHASES, _columns(groups, _phases), duration),
        Chart(
            "Left to readers: packs to apply, operations to replay",
            ("packs", "tail"),
            _columns(groups, lambda group: (group[-1].packs, group[-1].tail)),
            number,
            lines=True,
        ),
    )


def _columns(
    groups: Sequence[Sequence[Row]], values: Callable[[Sequence[Row]], tuple[float | None, ...]]
) -> tuple[Column, ...]:
    # The first place says of what the numbers are.
    return tuple(
        Column(f"{'' if number else 'version '}{group[-1].version:,}", _told(group), values(group))
        for number, group in enumerate(groups)
    )


def _told(group: Sequence[Row]) -> str:
    first, last = group[0], group[-1]
    if first is last:
        return f"version {last.version:,}, {last.action}, {last.written_at:%Y-%m-%d %H:%M:%S}"
    return f"versions {first.version:,} to {last.version:,}, until {last.written_at:%Y-%m-%d %H:%M:%S}"


def _sum(group: Sequence[Row], name: str) -> float:
    return float(sum(getattr(row, name) for row in group))


def _mean(group: Sequence[Row], name: str) -> float:
    return _sum(group, name) / len(group)


def _phases(group: Sequence[Row]) -> tuple[float | None, ...]:
    timed = [row for row in group if row.milliseconds]
    return tuple(
        sum(row.milliseconds.get(phase, 0) for row in timed) / len(timed) if timed else None for phase in _PHASES
    )
