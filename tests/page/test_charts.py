"""The drawings: every value has its place, and stays inside."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.page.charts import Chart, Column, buckets, nice_ticks
from chroma_lifecycle.words import number

SVG = "{http://www.w3.org/2000/svg}"


def chart(*values: tuple[float | None, ...], **how: bool) -> Chart:
    columns = tuple(Column(str(place), f"place {place}", value) for place, value in enumerate(values))
    return Chart("A chart", tuple("abcd"[: len(values[0])]) if values else ("a",), columns, number, **how)


def parsed(drawing: Chart) -> ET.Element:
    return ET.fromstring(drawing.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def bars(drawing: Chart, series: int = 1) -> list[dict[str, float]]:
    found = parsed(drawing).iter(f"{SVG}rect")
    return [
        {name: float(each.attrib[name]) for name in ("x", "y", "width", "height")}
        for each in found
        if each.attrib["class"] == f"s{series}"
    ]


def test_bars_of_a_column_stand_on_one_another() -> None:
    """The second series begins where the first one ends."""
    drawing = chart((10, 30), (20, 0))

    lower, upper = bars(drawing)[0], bars(drawing, 2)[0]
    assert lower["y"] == pytest.approx(upper["y"] + upper["height"], abs=0.05)
    assert 3 == pytest.approx(upper["height"] / lower["height"], abs=0.05)


def test_a_bar_is_as_high_as_its_value_on_the_axis() -> None:
    """Half of the highest tick is half of the plot."""
    drawing = chart((50.0,), (100.0,))

    half, whole = bars(drawing)
    assert 2 == pytest.approx(whole["height"] / half["height"], abs=0.01)


def test_a_line_by_powers_of_ten_has_equal_steps() -> None:
    """10, 100 and 1,000 lie equally far apart."""
    svg = chart((10.0,), (100.0,), (1_000.0,), lines=True, powers=True).svg()

    [points] = re.findall(r'class="l1" points="([^"]+)"', svg)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.05)


def test_what_is_pointed_at_says_its_values() -> None:
    """Each column carries a title with the name and the value of each series."""
    titles = [each.text for each in parsed(chart((1_500.0, None), (2.0, 3.0))).iter(f"{SVG}title")]

    assert ["place 0\na: 1,500", "place 1\na: 2\nb: 3"] == titles


def test_a_chart_of_nothing_says_so() -> None:
    """Axes without anything on them look like a defect."""
    for drawing in (chart((0.0,), (None,)), chart(), chart((None, 0.0), lines=True, powers=True)):
        assert ["nothing in these versions"] == [each.text for each in parsed(drawing).iter(f"{SVG}text")]


def test_the_ground_below_a_single_line_is_filled() -> None:
    """From the line to the axis, and not with a second series, whose ground it would hide."""
    one, two = parsed(chart((1.0,), (2.0,), lines=True)), parsed(chart((1.0, 2.0), (2.0, 1.0), lines=True))

    [area] = one.iter(f"{SVG}polygon")
    [line] = one.iter(f"{SVG}polyline")
    assert line.attrib["points"] in area.attrib["points"]
    assert [] == list(two.iter(f"{SVG}polygon"))


VALUES = st.one_of(st.none(), st.just(0.0), st.floats(0.5, 1e12))


@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12), st.booleans(), st.booleans())
def test_nothing_is_drawn_outside(values: list[tuple[float | None, ...]], lines: bool, powers: bool) -> None:
    """Whatever the values are, none, zeros and large ones included, the drawing is sound and inside its box."""
    drawing = parsed(chart(*values, lines=lines, powers=powers))

    width, height = map(float, drawing.attrib["viewBox"].split()[2:])
    for each in drawing.iter(f"{SVG}rect"):
        x, y = float(each.attrib["x"]), float(each.attrib["y"])
        assert -0.1 <= x <= x + float(each.attrib["width"]) <= width + 0.1
        assert -0.1 <= y <= y + float(each.attrib["height"]) <= height + 0.1
    for each in drawing.iter(f"{SVG}polyline"):
        for point in each.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


@given(st.floats(0, 1e15))
def test_ticks_reach_the_highest_value(highest: float) -> None:
    """They begin at 0, are few, and the last one is not below the highest value."""
    ticks = nice_ticks(highest)

    assert 0 == ticks[0]
    assert ticks[-1] >= highest * 0.998
    assert 2 <= len(ticks) <= 6


@given(st.integers(0, 3_000), st.integers(1, 200))
def test_buckets_cover_everything_once(count: int, most: int) -> None:
    """In order, nothing twice, and not more of them than may be."""
    found = buckets(count, most)

    assert list(range(count)) == [place for each in found for place in each]
    assert len(found) == min(count, most)
    assert all(found)
