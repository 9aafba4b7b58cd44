"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta


def size(count: float) -> str:
    """Return a number of bytes."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"))


def number(count: float) -> str:
    """Return a number with thousands set apart."""
    return f"{count:,.0f}" if count >= 10 or count == round(count) else f"{count:.1f}"


def versions(count: int) -> str:
    """Return how many versions."""
    return "1 version" if count == 1 else f"{count:,} versions"


def version_range(first: int, last: int) -> str:
    """Return which versions, from the one to the other."""
    return f"version {first}" if first == last else f"versions {first} to {last}"


def moved(records: Mapping[str, int]) -> str:
    """Return what became of records, by the names that reports have for it."""
    return f"{records['added']:,} added, {records['changed']:,} changed, {records['removed']:,} removed"


def duration(milliseconds: float) -> str:
    """Return a span of time given in milliseconds."""
    if 0 < milliseconds < 1:
        return "less than 1 ms"
    return _scaled(milliseconds, ("ms", "s"))


def share(part: float, whole: float) -> str:
    """Return which share of *whole* a part is, in percent."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def age(span: timedelta) -> str:
    """Return how long ago something was."""
    seconds = max(0, int(span.total_seconds()))
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:,} {name}"
    return f"{seconds} s"


def _scaled(amount: float, units: tuple[str, ...]) -> str:
    if amount < 1_000:
        return f"{amount:.0f} {units[0]}"
    place = 0
    while amount >= 1_000 and place < len(units) - 1:
        amount, place = amount / 1_000, place + 1
    return f"{amount:.1f} {units[place]}"
