"""The page as one HTML file: no network, no script that it needs, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from chroma_lifecycle.page.charts import Chart
from chroma_lifecycle.page.drawings import drawings
from chroma_lifecycle.page.health import Check, State, checks
from chroma_lifecycle.page.history import History, Row
from chroma_lifecycle.words import age, duration, number, share, size, versions

_ROWS = 100
_USUAL = "compact"
_MARKS = {State.GOOD: "✓", State.LOOK: "!", State.BAD: "✗"}

_STYLE = """
:root { color-scheme: light dark; --page: #f6f6f3; --card: #ffffff; --ink: #17171a; --soft: #5b5b63; --rule: #e6e6e1;
  --s1: #2a6fd0; --s2: #d9730d; --s3: #1a8f6a; --s4: #8a5bd1; --good: #1a7f4b; --look: #8a5d00; --bad: #c62828; }
@media (prefers-color-scheme: dark) {
  :root { --page: #111114; --card: #1b1b1f; --ink: #ededf0; --soft: #a3a3ad; --rule: #303037;
    --s1: #5b9bf0; --s2: #f09a4a; --s3: #3fbf95; --s4: #b294f0; --good: #4cc38a; --look: #e0b040; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; line-height: 1.3; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 0 0 8px; }
p { margin: 4px 0; overflow-wrap: anywhere; } .soft, .tick { color: var(--soft); }
.tick { fill: var(--soft); font-size: 12px; }
section, .tile { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; min-width: 0; }
section { padding: 16px 18px; margin-top: 16px; }
.pill { float: right; margin-top: 4px; padding: 3px 12px; border: 1px solid; border-radius: 99px; font-weight: 600; }
.pill.good { color: var(--good); } .pill.look { color: var(--look); } .pill.bad { color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 18px; }
.tile { padding: 12px 16px; line-height: 1.35; } .tile span { font-size: 13px; }
.tile b { display: block; font-size: 23px; font-weight: 650; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 0 16px; }
svg { display: block; width: 100%; height: auto; } .grid { stroke: var(--rule); stroke-width: 1; }
.s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); } .s4 { fill: var(--s4); }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; } .l1 { stroke: var(--s1); } .l2 { stroke: var(--s2); }
.area { fill: var(--s1); fill-opacity: .12; } .none { fill: var(--soft); font-size: 14px; }
.over { fill: transparent; } .over:hover { fill: var(--ink); fill-opacity: .08; }
.legend { font-size: 13px; } .legend span { margin-right: 16px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.legend .s1 { background: var(--s1); } .legend .s2 { background: var(--s2); } .legend .s3 { background: var(--s3); }
.legend .s4 { background: var(--s4); }
ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 2px 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
li { padding: 3px 0 3px 26px; position: relative; }
li b { position: absolute; left: 2px; } .good b { color: var(--good); } .look b { color: var(--look); }
.bad b { color: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: 13px; } .text { text-align: left; } .zero { color: var(--soft); }
tbody tr:hover { background: var(--page); } tbody tr:last-child td { border-bottom: 0; }
.other { color: var(--s4); font-weight: 600; }
""".strip()


def page(history: History) -> str:
    """Return the page about *history*."""
    title, found = escape(f"{history.head.collection} in {history.address}"), checks(history)
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Nothing of the page is to be fetched, whatever a name in it may say.
            """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">""",
            f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
            _pill(found),
            f"<h1>{escape(history.head.collection)}</h1>",
            f'<p class="soft">{escape(history.address)}, read {history.read_at:%Y-%m-%d %H:%M:%S} UTC</p>',
            *_tiles(history),
            *_health(found),
            '<div class="charts">',
            *(part for chart in drawings(history) for part in _figure(chart)),
            "</div>",
            *_table(history),
            "</main></body></html>\n",
        )
    )


def _pill(found: tuple[Check, ...]) -> str:
    """Return the worst of the checks in a few words; the checks come the worst first."""
    worst, count = found[0].state, sum(check.state is not State.GOOD for check in found)
    told = "all is well" if worst is State.GOOD else f"{count} to look at"
    return f'<div class="pill {worst}">{_MARKS[worst]} {told}</div>'


def _tiles(history: History) -> Iterator[str]:
    newest, rows = history.newest, history.rows
    stored = sum(row.stored_bytes for row in rows)
    copied = sum(row.size_bytes for row in rows)
    told = (
        ("newest version", number(newest.version.number)),
        ("published", f"{age(history.read_at - newest.written_at)} ago"),
        ("records", number(newest.details.counts.records)),
        ("size", size(newest.size)),
        (f"stored for {versions(len(rows))}", size(stored)),
        ("of what whole copies move", share(stored, copied)),
    )
    yield '<div class="tiles">'
    for label, value in told:
        yield f'<div class="tile"><b>{escape(value)}</b><span class="soft">{escape(label)}</span></div>'
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
    kind = "text" if row.action == _USUAL else "text other"
    yield f'<tr><td>{row.version:,}</td><td class="text">{row.written_at:%Y-%m-%d %H:%M:%S}</td>'
    yield f'<td class="{kind}">{escape(row.action)}</td>'
    yield "".join(map(_count, (row.added, row.changed, row.removed, row.records)))
    yield f"<td>{size(row.stored_bytes)}</td><td>{size(row.size_bytes)}</td>{_count(row.packs)}{_count(row.tail)}"
    yield f"<td>{duration(sum(row.milliseconds.values())) if row.milliseconds else ''}</td></tr>"


def _count(count: int) -> str:
    return f"<td>{count:,}</td>" if count else '<td class="zero">0</td>'
