"""Charts as SVG text: columns of versions, stacked bars or lines, linear or by powers of ten.

Pure: values in, text out. Colours are CSS variables of the page, so that one drawing serves light
and dark. Every column says its values to whoever points at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 26
_PLOT_WIDTH = _WIDTH - _LEFT - _RIGHT
_PLOT_HEIGHT = _HEIGHT - _TOP - _BOTTOM
_TICKS = 4
_WIDEST_BAR = 28.0


@dataclass(frozen=True, slots=True)
class Column:
    """One place on the x axis.

    Attributes:
        place: What stands there, for the axis.
        told: What stands there, for whoever points at it.
        values: One for each series; ``None`` where there is none.
    """

    place: str
    told: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is to be drawn.

    Attributes:
        heading: What it shows.
        series: Names, in the order of the values; at most four.
        columns: From left to right.
        spell: Writes a value for people.
        lines: Draw lines; without it, bars that are stacked.
        powers: Divide the y axis by powers of ten; values of 0 are then not drawn.
    """

    heading: str
    series: tuple[str, ...]
    columns: tuple[Column, ...]
    spell: Callable[[float], str]
    lines: bool = False
    powers: bool = False

    def svg(self) -> str:
        """Return the drawing."""
        if not any(value for column in self.columns for value in column.values):
            return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self.heading)}">{_NONE}</svg>'
        axis = _Axis.of(self)
        draw = _lines if self.lines else _bars
        body = "".join((*_grid(self, axis), *draw(self, axis), *_places(self), *_pointed(self)))
        return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self.heading)}">{body}</svg>'


_NONE = f'<text class="none" x="{_WIDTH // 2}" y="{_HEIGHT // 2}" text-anchor="middle">nothing in these versions</text>'


@dataclass(frozen=True, slots=True)
class _Axis:
    lowest: float
    highest: float
    ticks: tuple[float, ...]
    powers: bool

    @classmethod
    def of(cls, chart: Chart) -> _Axis:
        if chart.powers:
            found = [value for column in chart.columns for value in column.values if value]
            low, high = floor(log10(min(found, default=1))), ceil(log10(max(found, default=10)))
            high = max(high, low + 1)
            return cls(low, high, tuple(10.0**power for power in range(low, high + 1)), powers=True)
        tops = [_top(column, chart) for column in chart.columns]
        ticks = nice_ticks(max(tops, default=0.0))
        return cls(0.0, ticks[-1], ticks, powers=False)

    def y(self, value: float) -> float:
        place = log10(value) if self.powers else value
        return _TOP + _PLOT_HEIGHT * (1 - (place - self.lowest) / (self.highest - self.lowest))


def _top(column: Column, chart: Chart) -> float:
    given = [value for value in column.values if value is not None]
    return float(max(given, default=0.0) if chart.lines else sum(given))


def nice_ticks(highest: float) -> tuple[float, ...]:
    """Return 0 and steps of 1, 2 or 5 times a power of ten, up to *highest* or just above it."""
    if highest < 1e-9:  # nothing, or too little to be told
        return (0.0, 1.0)
    rough = highest / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return tuple(step * number for number in range(ceil(highest / step * 0.999) + 1))


def _grid(chart: Chart, axis: _Axis) -> Iterator[str]:
    for tick in axis.ticks:
        y = axis.y(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        text = escape(chart.spell(tick).replace(".0 ", " "))
        yield f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'


def _step(chart: Chart) -> float:
    return _PLOT_WIDTH / max(1, len(chart.columns))


def _bars(chart: Chart, axis: _Axis) -> Iterator[str]:
    step = _step(chart)
    width = min(_WIDEST_BAR, step * (0.8 if step > 4 else 1.0))
    for number, column in enumerate(chart.columns):
        x, below = _LEFT + step * (number + 0.5) - width / 2, 0.0
        for series, value in enumerate(column.values):
            if not value:
                continue
            bottom = axis.y(10.0**axis.lowest) if axis.powers else axis.y(below)
            top = axis.y(value if axis.powers else below + value)
            below += value
            yield (
                f'<rect class="s{series + 1}" x="{x:.2f}" y="{top:.2f}" width="{width:.2f}" '
                f'height="{max(bottom - top, 0.75):.2f}"/>'
            )


def _lines(chart: Chart, axis: _Axis) -> Iterator[str]:
    step = _step(chart)
    for series in range(len(chart.series)):
        points = [
            (_LEFT + step * (number + 0.5), axis.y(value))
            for number, column in enumerate(chart.columns)
            if (value := column.values[series]) is not None and (value or not axis.powers)
        ]
        if len(points) == 1:
            yield f'<circle class="s{series + 1}" cx="{points[0][0]:.2f}" cy="{points[0][1]:.2f}" r="4"/>'
        elif points:
            path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
            if len(chart.series) == 1:
                ground, (first, last) = _TOP + _PLOT_HEIGHT, (points[0][0], points[-1][0])
                yield f'<polygon class="area" points="{first:.2f},{ground} {path} {last:.2f},{ground}"/>'
            yield f'<polyline class="l{series + 1}" points="{path}"/>'


def _places(chart: Chart) -> Iterator[str]:
    columns, step = chart.columns, _step(chart)
    shown = sorted({0, len(columns) // 2, len(columns) - 1}) if columns else []
    for number in shown:
        anchor = "middle"
        if len(columns) > 1:
            anchor = "start" if not number else "end" if number == len(columns) - 1 else "middle"
        x = {"start": _LEFT, "end": _WIDTH - _RIGHT}.get(anchor, _LEFT + step * (number + 0.5))
        yield (
            f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">'
            f"{escape(columns[number].place)}</text>"
        )


def _pointed(chart: Chart) -> Iterator[str]:
    """Yield a strip over each column that shows its values when it is pointed at."""
    step = _step(chart)
    for number, column in enumerate(chart.columns):
        told = [column.told] + [
            f"{name}: {chart.spell(value)}"
            for name, value in zip(chart.series, column.values, strict=True)
            if value is not None
        ]
        text = escape("\n".join(told))
        yield (
            f'<rect class="over" x="{_LEFT + step * number:.2f}" y="{_TOP}" width="{step:.2f}" '
            f'height="{_PLOT_HEIGHT}"><title>{text}</title></rect>'
        )


def buckets(count: int, most: int) -> Sequence[range]:
    """Return at most *most* ranges, of sizes as equal as can be, that cover ``range(count)``."""
    many = min(count, most)
    edges = [count * number // many for number in range(many + 1)] if many else [0]
    return [range(first, last) for first, last in pairwise(edges)]
