"""The pictures of the page, as files: each brings its own colours, for light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from chroma_lifecycle.page.charts import Chart, Column

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #5b5b63; } .heading { font-weight: 600; font-size: 14px; fill: #17171a; }
.grid { stroke: #e3e3e0; } .over { fill: transparent; } polyline { fill: none; stroke-width: 2; }
.area { fill: #2a6fd0; fill-opacity: .12; }
.s1 { fill: #2a6fd0; } .s2 { fill: #d9730d; } .s3 { fill: #1a8f6a; } .s4 { fill: #8a5bd1; }
.l1 { stroke: #2a6fd0; } .l2 { stroke: #d9730d; } .l3 { stroke: #1a8f6a; } .l4 { stroke: #8a5bd1; }
.back { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
text { fill: #a3a3ad; } .heading { fill: #ededf0; } .grid { stroke: #34343a; } .back { fill: #1c1c20; }
.s1 { fill: #5b9bf0; } .s2 { fill: #f09a4a; } .s3 { fill: #3fbf95; } .s4 { fill: #b294f0; }
.l1 { stroke: #5b9bf0; } .l2 { stroke: #f09a4a; } .l3 { stroke: #3fbf95; } .l4 { stroke: #b294f0; } }
""".strip()
_WIDTH, _CHART_HEIGHT, _HEAD, _LEGEND_LINE = 560, 220, 30, 18


def standalone(*charts: Chart) -> str:
    """Return charts, one below the other, as an SVG file."""
    parts, y = [], 0
    for chart in charts:
        parts.append(f'<text class="heading" x="12" y="{y + 20}">{escape(chart.heading)}</text>')
        y += _HEAD
        if len(chart.series) > 1:
            for number, name in enumerate(chart.series, 1):
                parts.append(f'<rect class="s{number}" x="12" y="{y}" width="11" height="11" rx="3"/>')
                parts.append(f'<text x="30" y="{y + 10}">{escape(name)}</text>')
                y += _LEGEND_LINE
        place = f'<svg x="0" y="{y}" width="{_WIDTH}" height="{_CHART_HEIGHT}" '
        parts.append(chart.svg().replace("<svg ", place, 1))
        y += _CHART_HEIGHT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}">'
    back = f'<rect class="back" width="{_WIDTH}" height="{y}"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", back, *parts, "</svg>"]) + "\n"


def pictures(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each picture that the results allow, by its file's name."""
    made = {}
    if "growth" in results:
        made["bytes.svg"] = standalone(_growth(results["growth"]))
    if "rounds" in results:
        made["rounds.svg"] = standalone(*_rounds(results["rounds"]))
    return made


def _growth(rows: list[dict[str, Any]]) -> Chart:
    names = tuple(rows[0]["sent_megabytes"])
    columns = tuple(
        Column(
            f"{row['snapshot_megabytes']:.0f} MB",
            f"{row['records']:,} records, {row['snapshot_megabytes']:.0f} MB",
            tuple(row["sent_megabytes"][name] for name in names),
        )
        for row in rows
    )
    heading = "Megabytes sent for 100 label updates, by size of the snapshot"
    return Chart(heading, names, columns, lambda value: f"{value:g} MB", lines=True, powers=True)


def _rounds(found: Mapping[str, Any]) -> tuple[Chart, ...]:
    def chart(heading: str, key: str, unit: str) -> Chart:
        columns = tuple(
            Column(str(sample["round"]), f"round {sample['round']}", (sample[key],)) for sample in found["samples"]
        )
        return Chart(heading, (key,), columns, lambda value: f"{value:g}{unit}", lines=True)

    return (
        chart(f"Open descriptors over {found['rounds']} rounds", "descriptors", ""),
        chart("Threads", "threads", ""),
        chart("Resident memory", "megabytes", " MB"),
    )
