"""Write the tables of ``docs/scale.md`` from the model and the simulation: ``python -m benchmarks.scale``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.constants import write as write_constants
from benchmarks.contention import contend
from benchmarks.page import RESULTS, table
from benchmarks.simulation import play
from chroma_lifecycle.sizing.answer import Sizing, size_up
from chroma_lifecycle.sizing.demand import Demand
from chroma_lifecycle.sizing.measured import measured
from chroma_lifecycle.sizing.model import MONTH_SECONDS, Model
from chroma_lifecycle.sizing.prices import Prices
from chroma_lifecycle.words import size

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
SHARDS = PAGE.with_name("shards.json")

GROWING = (
    Demand(100_000, 384, 0.1, 0.01, readers=10),
    Demand(1_000_000, 384, 1, 0.1, readers=10),
    Demand(10_000_000, 384, 10, 1, readers=20),
    Demand(100_000_000, 384, 100, 10, readers=50),
    Demand(1_000_000_000, 384, 1_000, 100, readers=200),
)
PLAYED = (
    (Demand(30_000, 384, 0.01), 200.0),
    (Demand(30_000, 384, 1), 20.0),
    (Demand(300_000, 384, 5, 0.5), 20.0),
    (Demand(1_000_000, 384, 0.1), 20.0),
    (Demand(1_000_000, 384, 20, 2), 10.0),
    (Demand(1_000_000, 384, 300, 3), 4.0),
)
"""Demands of one shard each, and for how many hours they are played."""


def sized(demand: Demand) -> Sizing:
    """Return the answer with the constants of this release and list prices."""
    return size_up(demand, measured(), Prices())


def constants() -> str:
    """Return what the model takes from the benchmarks."""
    known = asdict(measured())
    return table(["constant", "value"], [[name, f"{value}"] for name, value in known.items()])


def growing() -> str:
    """Return what collections of many sizes take."""
    rows = []
    for demand in GROWING:
        found = sized(demand)
        one = found.shard
        rows.append(
            [
                f"{demand.vectors:,}",
                f"{demand.changes_per_second + demand.vectors_per_second:g}",
                f"{found.shards:,}",
                size(one.disk_bytes),
                size(one.memory_bytes),
                f"{one.cycle_seconds:.2f} s",
                f"{one.busy_share:.0%}",
                f"${found.dollars:,.0f}",
            ]
        )
    return table(["vectors", "changes a second", "shards", "disk", "memory", "cycle", "busy", "dollars a month"], rows)


def tables() -> str:
    """Return what ten thousand small tables take, each with a collection of its own."""
    one = sized(Demand(10_000, 384, 0.001, readers=1, window_seconds=60))
    rows = [[cost.component, f"${cost.dollars:,.3f}", f"${10_000 * cost.dollars:,.0f}"] for cost in one.costs]
    rows.append(["sum", f"${one.dollars:,.2f}", f"${10_000 * one.dollars:,.0f}"])
    return table(["dollars a month", "one table", "10,000 tables"], rows)


def simulated() -> str:
    """Return the model beside the simulation."""
    low, high = measured_spread()
    rows = []
    for demand, hours in PLAYED:
        played = play(demand, measured(), hours=hours, spread=(low, high))
        one = Model(demand, measured()).shard(1)
        rows.append(
            [
                f"{demand.vectors:,}",
                f"{demand.changes_per_second + demand.vectors_per_second:g}",
                f"{played.cycles / hours:,.0f}",
                f"{one.cycles_per_month / MONTH_SECONDS * 3600:,.0f}",
                f"{played.busy_share:.2%}",
                f"{one.cycle_seconds * one.cycles_per_month / MONTH_SECONDS:.2%}",
                f"{played.mean_lag_seconds:.1f} s",
            ]
        )
    headings = [
        "vectors",
        "changes a second",
        "cycles an hour, played",
        "modelled",
        "busy, played",
        "modelled",
        "mean age",
    ]
    return table(headings, rows)


def measured_spread() -> tuple[float, float]:
    """Return the shortest and the longest of the measured cycles of a hundred labels, as multiples of the median."""
    seconds = json.loads(RESULTS.read_text())["cycles"]["kinds"][0]["seconds"]
    return seconds["low"] / seconds["median"], seconds["high"] / seconds["median"]


_FUNCTIONS = (1, 2, 4, 8, 16, 32)
_CROWDED_SHARDS, _CROWDED_VECTORS = (12, 48), 10_000_000
_OF_A_BATCH, _CROWDED_BATCHES, _TIMES = 2_000, 200, 10


def contended() -> str:
    """Return how many swaps processes here lost, beside what the same batches lose when they are played."""
    known, rows = json.loads(SHARDS.read_text()), []
    for each in known["drained"]:
        played = [
            contend(
                measured(),
                records=known["records"],
                shards=each["shards"],
                functions=each["workers"],
                batches=each["batches_taken"],
                labels=each["labels_of_a_batch"],
                anywhere=each["batches"] == "anywhere",
                in_turn=each["batches"] != "anywhere",
                spread=measured_spread(),
                seed=seed,
            )
            for seed in range(_TIMES)
        ]
        lost = sum(one.lost for one in played) / _TIMES
        shards, workers = f"{each['shards']}", f"{each['workers']}"
        rows.append([shards, each["batches"], workers, f"{each['cycles']}", f"{each['swaps_lost']}", f"{lost:.1f}"])
    return table(["shards", "labels of a batch", "processes", "cycles", "swaps lost here", "played"], rows)


def crowded() -> str:
    """Return what more functions would do than could be measured."""
    rows = []
    for shards in _CROWDED_SHARDS:
        for functions in _FUNCTIONS:
            one, all_ = (
                contend(
                    measured(),
                    records=_CROWDED_VECTORS,
                    shards=shards,
                    functions=functions,
                    batches=_CROWDED_BATCHES,
                    labels=_OF_A_BATCH,
                    anywhere=anywhere,
                    spread=measured_spread(),
                )
                for anywhere in (False, True)
            )
            counts = [f"{shards}", f"{functions}"]
            rows.append(
                [
                    *counts,
                    f"{one.labels_per_second:,.0f}",
                    f"{one.lost_share:.0%}",
                    f"{all_.labels_per_second:,.0f}",
                    f"{all_.lost_share:.0%}",
                ]
            )
    return table(["shards", "functions", "of one shard: labels a second", "swaps lost", "anywhere", "swaps lost"], rows)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "constants": constants,
    "growing": growing,
    "tables": tables,
    "simulated": simulated,
    "contended": contended,
    "crowded": crowded,
}


def render(text: str) -> str:
    """Return the page with everything between its marks written anew."""

    def block(match: re.Match[str]) -> str:
        return f"<!-- begin {match[1]} -->\n{BLOCKS[match[1]]()}\n<!-- end {match[1]} -->"

    return re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", block, text, flags=re.DOTALL)


def main() -> None:
    """Write the constants and the page."""
    write_constants(json.loads(RESULTS.read_text()))
    measured.cache_clear()
    PAGE.write_text(render(PAGE.read_text()))


if __name__ == "__main__":
    main()
