"""``docs/benchmarks.md`` from ``docs/benchmarks.json``: what stands between marks is written here alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.charts import pictures
from benchmarks.servers import ROOT

RESULTS = ROOT / "docs" / "benchmarks.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "benchmarks"

Results = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices in dollars, the inputs of the table of costs; others make another table.

    Attributes:
        write, read: Of a request of S3.
        disk_write, disk_read: Of a gigabyte written to and read from EFS.
        function: Of a gigabyte-second of a function.
    """

    write: float = 0.005 / 1000
    read: float = 0.0004 / 1000
    disk_write: float = 0.06
    disk_read: float = 0.03
    function: float = 0.0000166667


PRICES = Prices()
LINK_MEGABYTES_A_SECOND = 75.0
FUNCTION_GIGABYTES = 2.0
CYCLES_A_MONTH = 30 * 24 * 60


def render(text: str, results: Results) -> str:
    """Return the page *text* with everything between its marks written anew."""

    def block(match: re.Match[str]) -> str:
        name = match[1]
        body = _BLOCKS[name](results[name]) if name in results else "*not measured*"
        return f"<!-- begin {name} -->\n{body}\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", block, text, flags=re.DOTALL)


def write(results: Results, *, results_file: Path = RESULTS, page: Path = PAGE, folder: Path = PICTURES) -> None:
    """Write the results, the page and its pictures."""
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    page.write_text(render(page.read_text(), results))
    folder.mkdir(exist_ok=True)
    for name, text in pictures(results).items():
        (folder / name).write_text(text)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(headings) + " |", "|---|" + "--:|" * (len(headings) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _times(spread: Mapping[str, float]) -> str:
    return f"**{spread['median']:.2f}** ({spread['low']:.2f}–{spread['high']:.2f})"


def _ms(spread: Mapping[str, float]) -> str:
    return f"{1000 * spread['median']:,.{0 if spread['median'] > 0.02 else 1}f} ms"


def _seconds(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.2f} s"


def _megabytes(value: float) -> str:
    return f"{value:,.3f} MB" if value < 10 else f"{value:,.0f} MB"


def _within(value: float, limit: float, unit: str = "") -> str:
    return f"{limit:g}{unit}" if value <= limit else f"{limit:g}{unit}, **missed**"


def _machine(found: Results) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in found.items())


def _cycles(found: Results) -> str:
    rows = [
        [
            kind["title"],
            _ms(kind["seconds"]),
            _ms(kind["alone_seconds"]),
            _times(kind["ratio"]),
            _within(kind["ratio"]["median"], kind["limit"]),
            _megabytes(kind["sent_megabytes"]["median"]),
            _megabytes(kind["sent_megabytes"]["most"]),
            _within(kind["sent_megabytes"]["median"], kind["limit_megabytes"], " MB"),
            f"{_requests(kind['requests'])}",
        ]
        for kind in found["kinds"]
    ]
    headings = ["cycle", "ours", "Chroma alone", "times", "limit", "sent", "most", "limit", "requests"]
    no_op = found["no_op"]
    verdict = "" if 1000 * no_op["seconds"]["median"] <= no_op["limit_ms"] else ", **missed**"
    return (
        table(headings, rows)
        + f"\n\n{no_op['title'].capitalize()}: {_ms(no_op['seconds'])} (limit: {no_op['limit_ms']} ms{verdict}), "
        f"{_requests(no_op['requests'])}, {no_op['sent_megabytes']:g} MB sent, "
        f"{1000 * no_op['received_megabytes']:.1f} KB read.\n\n"
        + "Beside Chroma alone in a process that keeps what it frees, as ours does:\n\n"
        + table(
            ["cycle", "Chroma alone", "times"],
            [[kind["title"], _ms(kind["keeping_seconds"]), _times(kind["keeping_ratio"])] for kind in found["kinds"]],
        )
        + "\n\n"
        + "Where the time of the median cycle goes, in milliseconds (decoding the event is what is missing):\n\n"
        + table(
            ["cycle", *found["kinds"][0]["phases_ms"]],
            [[kind["title"], *(f"{value:g}" for value in kind["phases_ms"].values())] for kind in found["kinds"]],
        )
    )


def _requests(found: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {method}" for method, count in sorted(found.items())) or "none"


def _larger(found: Results) -> str:
    row = [
        f"{found['title']}, on {found['records']:,} records",
        _ms(found["seconds"]),
        _ms(found["alone_seconds"]),
        _times(found["ratio"]),
        _within(found["ratio"]["median"], found["limit"]),
        _megabytes(found["sent_megabytes"]["median"]),
        _ms(found["keeping_seconds"]),
        _times(found["keeping_ratio"]),
    ]
    headings = ["cycle", "ours", "Chroma alone", "times", "limit", "sent", "Chroma that keeps what it frees", "times"]
    return table(headings, [row])


def _cold(found: Results) -> str:
    names = {"loopback": "loopback", "held": "server held to 75 MB/s"}
    rows = [
        [
            title,
            _seconds(found[name]["seconds"]),
            _seconds(found[name]["plain_seconds"]),
            _times(found[name]["ratio"]),
            _within(found[name]["ratio"]["median"], found[name]["limit"]),
        ]
        for name, title in names.items()
    ]
    return f"{found['objects']} objects, {found['megabytes']:.1f} MB:\n\n" + table(
        ["", "restore", "plain GETs", "times", "limit"], rows
    )


def _behind(found: Results) -> str:
    return (
        f"{found['versions']} versions behind: {_requests(found['requests'])}, "
        f"{_megabytes(found['received_megabytes'])} read, where {_megabytes(found['published_megabytes'])} "
        f"of manifests and packs had been published; {1000 * found['seconds']:,.0f} ms through the counting proxy."
    )


def _beside(found: Results) -> str:
    rows = [
        [
            row["name"],
            _seconds(row["seconds"]),
            f"{row['times_alone']['median']:.1f}",
            _megabytes(row["sent_megabytes"]),
            _megabytes(row["received_megabytes"]),
            str(row["writes"]),
            str(row["reads"]),
            _megabytes(row["disk_written_megabytes"]),
            _megabytes(row["disk_read_megabytes"]),
        ]
        for row in found["rows"]
    ]
    headings = ["", "here", "× Chroma", "sent", "received", "PUT", "GET", "disk written", "disk read"]
    costs = [_cost(row) for row in found["rows"]]
    cost_headings = ["", "link", "cycle and link", "requests", "disk", "function", "dollars a month"]
    return table(headings, rows) + "\n\n" + table(cost_headings, costs)


def _cost(row: Results) -> list[str]:
    moved = sum(row[f"{name}_megabytes"] for name in ("sent", "received", "disk_written", "disk_read"))
    link_seconds = moved / LINK_MEGABYTES_A_SECOND
    seconds = row["seconds"]["median"] + link_seconds
    requests = CYCLES_A_MONTH * (row["writes"] * PRICES.write + row["reads"] * PRICES.read)
    disk = (
        CYCLES_A_MONTH
        / 1000
        * (row["disk_written_megabytes"] * PRICES.disk_write + row["disk_read_megabytes"] * PRICES.disk_read)
    )
    function = CYCLES_A_MONTH * seconds * FUNCTION_GIGABYTES * PRICES.function
    money = [f"${value:,.2f}" for value in (requests, disk, function, requests + disk + function)]
    return [row["name"], f"{link_seconds:.3f} s", f"{seconds:.2f} s", *money]


def _bases(found: Sequence[Results]) -> str:
    rows = [
        [
            row["title"],
            str(row["packs"]),
            _megabytes(row["cycle_megabytes"]),
            _megabytes(row["base_megabytes"]),
            str(row["base_objects"]),
            f"**{_megabytes(row['mean_megabytes'])}**",
        ]
        for row in found
    ]
    return table(["", "packs", "a cycle", "the new base", "in objects", "a cycle with its share"], rows)


def _growth(found: Sequence[Results]) -> str:
    names = list(found[0]["sent_megabytes"])
    rows = [
        [f"{row['snapshot_megabytes']:.0f} MB", *(_megabytes(row["sent_megabytes"][name]) for name in names)]
        for row in found
    ]
    return table(["snapshot", *names], rows)


def _memory(found: Results) -> str:
    rows = [
        [kind["title"], f"{kind['ours']} MB", f"{kind['alone']} MB", f"{kind['over']} MB"]
        for kind in found["kinds"].values()
    ]
    worst = max(kind["over"] for kind in found["kinds"].values())
    verdict = "" if worst <= found["limit_megabytes"] else ", **missed**"
    return (
        table(["", "ours", "Chroma alone", "over"], rows) + f"\n\nLimit: {found['limit_megabytes']} MB over{verdict}."
    )


def _closing(found: Sequence[Results]) -> str:
    parts = []
    for situation in dict.fromkeys(row["situation"] for row in found):
        rows = [
            [
                f"{row['chromadb']}, {row['way']}",
                str(row["rounds"]),
                str(row["refused"]),
                f"{row['open_at_return']} (most {row['most_open']})",
                str(row["never_released"]),
                str(row["unsound_copies"]),
                f"{row['median_ms']:.1f}",
                f"{row['slowest_ms']:.1f}",
            ]
            for row in found
            if row["situation"] == situation
        ]
        headings = [
            "",
            "rounds",
            "refused",
            "open at return",
            "never released",
            "unsound copies",
            "median ms",
            "slowest",
        ]
        parts.append(f"**{situation.capitalize()}**\n\n" + table(headings, rows))
    return "\n\n".join(parts)


def _checks(found: Results) -> str:
    share = found["light_share_of_a_cycle"]
    return (
        f"Light check: {_ms(found['light_seconds'])}, {100 * share:.1f} % of a cycle of 100 labels "
        f"(limit: {100 * found['limit_share']:.0f} %). Full check: {_ms(found['full_seconds'])}."
    )


def _rounds(found: Results) -> str:
    first, last = found["samples"][len(found["samples"]) // 5], found["samples"][-1]
    rows = [
        [f"after round {each['round']}", str(each["descriptors"]), str(each["threads"]), f"{each['megabytes']} MB"]
        for each in (first, last)
    ]
    return f"{found['rounds']} rounds in one process, {found['failing']} of them failing:\n\n" + table(
        ["", "descriptors", "threads", "resident memory"], rows
    )


def _tails(found: Sequence[Results]) -> str:
    rows = [
        [
            f"{row['records']:,}",
            f"{row['operations']} {row['kind']}",
            str(row["tail"]),
            f"{row['first_answer_ms']} ms",
            f"{row['reader_ms']} ms",
            "" if row["flush_ms"] is None else f"{row['flush_ms']} ms",
        ]
        for row in found
    ]
    headings = [
        "records",
        "operations after the last write of HNSW",
        "tail",
        "open and first answer",
        "cold reader",
        "flush",
    ]
    return table(headings, rows)


def _bulk(found: Results) -> str:
    rows = [
        [
            way["title"],
            _seconds(way["seconds"]),
            _times(way["times"]),
            f"{way['processor_seconds']:.1f} s",
            f"{found['records'] / way['seconds']['median']:,.0f}",
            "" if way["peak_megabytes"] is None else f"{way['peak_megabytes']} MB",
            _megabytes(way["sent_megabytes"]),
            _megabytes(way["received_megabytes"]),
            _requests(way["requests"]),
        ]
        for way in found["ways"]
    ]
    few = found["few"]
    headings = ["", "seconds", "times as fast", "processor", "records a second", "a task's peak", "sent", "read"]
    return (
        f"{found['records']:,} records of {found['dimension']} dimensions in {found['files']} files; "
        f"load {found['load']}:\n\n"
        + table([*headings, "requests"], rows)
        + f"\n\n{few['records']} records in as many files, by 1 worker: {_seconds(few['seconds'])}, "
        f"{few['processor_seconds']:.1f} s of a processor.\n\n"
        + table(
            ["vectors in the index", *(f"{each['records']:,}" for each in found["growth"][::6])],
            [
                [
                    "Chroma alone, for one more",
                    *(f"{each['microseconds'] / 1000:.2f} ms" for each in found["growth"][::6]),
                ]
            ],
        )
    )


def _resharding(found: Results) -> str:
    rows = [
        [
            way["title"],
            f"{way['seconds']:.1f} s",
            f"**{way['closed_seconds']:.2f} s**",
            str(way["rounds"]),
            _megabytes(way["sent_megabytes"]),
            _megabytes(way["received_megabytes"]),
            _requests(way["requests"]),
            str(way["batches"]),
            f"{way['median_seconds']:.2f} s",
            f"{way['slowest_seconds']:.2f} s",
        ]
        for way in found["ways"]
    ]
    headings = ["", "seconds", "writers wait", "rounds", "sent", "read", "requests", "batches", "a batch", "slowest"]
    return (
        f"{found['records']:,} records of {found['dimension']} dimensions; {found['labels']} labels that lie anywhere "
        f"every {found['every_seconds']:g} s; load {found['load']}:\n\n" + table(headings, rows)
    )


def _peaks(found: Results) -> str:
    few, many = found["records"]
    rows = [
        [
            command["title"],
            *(f"{value:,.0f} MB" for value in command["megabytes"]),
            f"{1e6 * (command['megabytes'][1] - command['megabytes'][0]) / (many - few):,.0f} bytes",
        ]
        for command in found["commands"]
    ]
    headings = ["", f"{few:,} records", f"{many:,} records", "each more record"]
    return f"{found['dimension']} dimensions, {4 * found['dimension']:,} bytes a vector:\n\n" + table(headings, rows)


_BLOCKS: Mapping[str, Callable[[Any], str]] = {
    "machine": _machine,
    "cycles": _cycles,
    "larger": _larger,
    "cold": _cold,
    "behind": _behind,
    "bases": _bases,
    "beside": _beside,
    "growth": _growth,
    "memory": _memory,
    "closing": _closing,
    "checks": _checks,
    "rounds": _rounds,
    "tails": _tails,
    "bulk": _bulk,
    "resharding": _resharding,
    "peaks": _peaks,
}
