"""The page as one HTML file: no network, no script that it needs, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from chroma_lifecycle.page.charts import Chart
from chroma_lifecycle.page.drawings import drawings
from chroma_lifecycle.page.health import Check, State, checks
from chroma_lifecycle.page.history import History, Row
from chroma_lifecycle.words import age, duration, number, share, size

_ROWS = 100
_MARKS = {State.GOOD: "✓", State.LOOK: "!", State.BAD: "✗"}

_STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #ffffff; --ink: #17171a; --soft: #5b5b63; --rule: #e3e3e0;
  --s1: #2a6fd0; --s2: #d9730d; --s3: #1a8f6a; --s4: #8a5bd1; --good: #1a7f4b; --look: #9a6700; --bad: #c62828; }
@media (prefers-color-scheme: dark) {
  :root { --page: #131316; --card: #1c1c20; --ink: #ededf0; --soft: #a3a3ad; --rule: #34343a;
    --s1: #5b9bf0; --s2: #f09a4a; --s3: #3fbf95; --s4: #b294f0; --good: #4cc38a; --look: #e0b040; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 16px; margin: 0 0 8px; }
p { margin: 4px 0; } .soft, .tick { color: var(--soft); } .tick { fill: var(--soft); font-size: 12px; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 16px 18px;
  margin-top: 16px; min-width: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 18px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 0 16px; }
svg { display: block; width: 100%; height: auto; } .grid { stroke: var(--rule); stroke-width: 1; }
.s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); } .s4 { fill: var(--s4); }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; } .l1 { stroke: var(--s1); } .l2 { stroke: var(--s2); }
.over { fill: transparent; } .over:hover { fill: var(--ink); fill-opacity: .08; }
.legend span { margin-right: 16px; } .legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px; }
.legend .s1 { background: var(--s1); } .legend .s2 { background: var(--s2); } .legend .s3 { background: var(--s3); }
.legend .s4 { background: var(--s4); }
ul { list-style: none; margin: 0; padding: 0; } li { padding: 4px 0 4px 28px; position: relative; }
li b { position: absolute; left: 4px; } .good b { color: var(--good); } .look b { color: var(--look); }
.bad b { color: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 10px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } .text { text-align: left; }
""".strip()


def page(history: History) -> str:
    """Return the page about *history*."""
    title = escape(f"{history.head.collection} in {history.address}")
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Nothing of the page is to be fetched, whatever a name in it may say.
            """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">""",
            f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>{escape(history.head.collection)}</h1>",
            f'<p class="soft">{escape(history.address)}, read {history.read_at:%Y-%m-%d %H:%M:%S} UTC</p>',
            *_tiles(history),
            *_health(checks(history)),
            '<div class="charts">',
            *(part for chart in drawings(history) for part in _figure(chart)),
            "</div>",
            *_table(history),
            "</main></body></html>\n",
        )
    )


def _tiles(history: History) -> Iterator[str]:
    newest, rows = history.newest, history.rows
    stored = sum(row.stored_bytes for row in rows)
    copied = sum(row.size_bytes for row in rows)
    told = (
        ("newest version", number(newest.version.number)),
        ("published", f"{age(history.read_at - newest.written_at)} ago"),
        ("records", number(newest.details.counts.records)),
        ("size", size(newest.size)),
        (f"stored for {len(rows):,} versions", size(stored)),
        ("of what whole copies move", share(stored, copied)),
    )
    yield '<div class="tiles">'
    for label, value in told:
        yield f'<div class="tile"><span class="soft">{escape(label)}</span><b>{escape(value)}</b></div>'
    yield "</div>"


def _health(found: tuple[Check, ...]) -> Iterator[str]:
    yield "<section><h2>Health</h2><ul>"
    for check in found:
        way_out = f' <span class="soft">{escape(check.way_out)}</span>' if check.way_out else ""
        yield f'<li class="{check.state}"><b>{_MARKS[check.state]}</b>{escape(check.text)}{way_out}</li>'
    yield "</ul></section>"


def _figure(chart: Chart) -> Iterator[str]:
    yield f"<section><h2>{escape(chart.heading)}</h2>"
    if len(chart.series) > 1:
        yield '<p class="legend soft">'
        for place, name in enumerate(chart.series, 1):
            yield f'<span><i class="s{place}"></i>{escape(name)}</span>'
        yield "</p>"
    yield f"{chart.svg()}</section>"


def _table(history: History) -> Iterator[str]:
    shown = history.rows[: -_ROWS - 1 : -1]
    headings = "added", "changed", "removed", "records", "stored", "size", "packs", "tail", "time"
    yield f"<section><h2>The newest {len(shown):,} of {len(history.rows):,} versions</h2>"
    yield '<div class="scroll"><table><thead><tr><th>version</th><th class="text">written (UTC)</th>'
    yield '<th class="text">action</th>'
    yield "".join(f"<th>{heading}</th>" for heading in headings)
    yield "</tr></thead><tbody>"
    for row in shown:
        yield "".join(_cells(row))
    yield "</tbody></table></div></section>"


def _cells(row: Row) -> Iterator[str]:
    counts = row.added, row.changed, row.removed, row.records
    yield f'<tr><td>{row.version:,}</td><td class="text">{row.written_at:%Y-%m-%d %H:%M:%S}</td>'
    yield f'<td class="text">{escape(row.action)}</td>'
    yield "".join(f"<td>{each:,}</td>" for each in counts)
    yield f"<td>{size(row.stored_bytes)}</td><td>{size(row.size_bytes)}</td><td>{row.packs:,}</td><td>{row.tail:,}</td>"
    yield f"<td>{duration(sum(row.milliseconds.values())) if row.milliseconds else ''}</td></tr>"
