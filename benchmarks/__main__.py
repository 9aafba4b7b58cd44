"""Measure, and write the page: ``python -m benchmarks [--size full|small|tiny] [--only PART,...] [--into DIRECTORY]``.

A part that is not measured keeps the figures that it had. With ``--into`` nothing in docs/ is touched.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from benchmarks import page
from benchmarks.bases import measure_bases
from benchmarks.beside import measure_beside
from benchmarks.bulk import measure_bulk
from benchmarks.closing import measure_checks, measure_closing
from benchmarks.cold import measure_behind, measure_restore
from benchmarks.cycles import KINDS, Sides, measure, measure_no_op
from benchmarks.function_process import become_the_function
from benchmarks.growth import measure_growth
from benchmarks.memory import measure_memory
from benchmarks.peaks import measure_peaks
from benchmarks.receipts import Editor
from benchmarks.resharding import measure_resharding
from benchmarks.rounds import measure_rounds
from benchmarks.servers import s3_server
from benchmarks.site import CACHE, Site, site
from benchmarks.sizes import SIZES, Size
from benchmarks.tails import measure_tails

_COUNTED = 3


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: its size, a server, and room on the disk."""

    size: Size
    url: str
    room: Path

    @contextmanager
    def site(self, records: int | None = None) -> Iterator[Site]:
        """Give a fresh bucket with a snapshot."""
        with site(self.url, records or self.size.records, self.size.dimension, self.room) as made:
            yield made


def cycles(bench: Bench) -> dict[str, Any]:
    """Warm cycles of every kind."""
    with bench.site() as here, Sides.at(here) as sides:
        kinds = [measure(sides, kind, bench.size.rounds, _COUNTED) for kind in KINDS]
        return {"kinds": kinds, "no_op": measure_no_op(sides, 2 * bench.size.rounds)}


def larger(bench: Bench) -> dict[str, Any]:
    """The same labels on a larger snapshot."""
    with bench.site(bench.size.records * bench.size.larger) as here, Sides.at(here) as sides:
        found = measure(sides, KINDS[0], bench.size.rounds, _COUNTED)
        return {**found, "records": here.records, "limit": 1.3}


def cold(bench: Bench) -> dict[str, Any]:
    """A restore into an empty workspace."""
    with bench.site() as here:
        return measure_restore(here, bench.size.slow_rounds)


def behind(bench: Bench) -> dict[str, Any]:
    """A workspace ten versions behind."""
    with bench.site() as here:
        return measure_behind(here, Editor(here.records, generation=1))


def bases(bench: Bench) -> list[dict[str, Any]]:
    """New bases after their packs."""
    with bench.site() as here:
        return measure_bases(here, Editor(here.records, generation=1))


def beside(bench: Bench) -> dict[str, Any]:
    """Us and the others."""
    with bench.site() as here:
        return measure_beside(here, Editor(here.records, generation=1), bench.size.slow_rounds)


def growth(bench: Bench) -> list[dict[str, Any]]:
    """Bytes by size."""
    return measure_growth(bench.url, bench.size.chart_records, bench.size.dimension, bench.room)


def memory(bench: Bench) -> dict[str, Any]:
    """Peaks."""
    with bench.site() as here:
        return measure_memory(here)


def closing(bench: Bench) -> list[dict[str, Any]]:
    """Ways to close."""
    return measure_closing(bench.size.closing_rounds)


def checks(bench: Bench) -> dict[str, Any]:
    """The light check, against a cycle."""
    with bench.site() as here, Sides.at(here) as sides:
        cycle = measure(sides, KINDS[0], bench.size.slow_rounds, 1)
        return measure_checks(here.lay_out("checked"), bench.size.rounds, cycle["seconds"]["median"])


def rounds(bench: Bench) -> dict[str, Any]:
    """Opening and closing, over and over."""
    return measure_rounds(bench.size.open_rounds)


def tails(bench: Bench) -> list[dict[str, Any]]:
    """Readers, by tail."""
    sizes = (bench.size.records // 5, bench.size.records)
    return measure_tails(sizes, bench.size.dimension, bench.size.slow_rounds)


def bulk(bench: Bench) -> dict[str, Any]:
    """A first load."""
    rounds = max(1, bench.size.slow_rounds // 2)
    return measure_bulk(bench.url, bench.size.records, bench.size.dimension, rounds, bench.room)


def peaks(bench: Bench) -> dict[str, Any]:
    """Memory by size, of what goes through a whole collection."""
    return measure_peaks((bench.size.records // 8, bench.size.records // 2), bench.size.dimension, bench.room)


def resharding(bench: Bench) -> dict[str, Any]:
    """Shards cut anew while changes come."""
    return measure_resharding(bench.url, bench.size.records, bench.size.dimension, bench.room)


PARTS: dict[str, Callable[[Bench], Any]] = {
    part.__name__: part
    for part in (
        cycles,
        larger,
        cold,
        behind,
        bases,
        beside,
        growth,
        memory,
        closing,
        checks,
        rounds,
        tails,
        bulk,
        resharding,
        peaks,
    )
}


def machine(size: Size) -> dict[str, str]:
    """Return what the figures are from."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return {
        "machine": f"{os.cpu_count()} cores, {_processor()}, {_memory_gigabytes()} GB, Linux {platform.release()}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}"]
            + [f"{name} {version(name)}" for name in ("chromadb", "moto", "numpy", "zstandard")]
        ),
        "profile": f"{size.name}: {size.records:,} records of {size.dimension} dimensions, {size.rounds} rounds",
        "load when it began": load,
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _memory_gigabytes() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30))


def run(size: Size, parts: list[str], results: dict[str, Any]) -> Iterator[str]:
    """Measure *parts* into *results*; yield the name of each when it is done."""
    CACHE.mkdir(parents=True, exist_ok=True)
    results["machine"] = machine(size)
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=CACHE)))
        url = stack.enter_context(s3_server())
        for name in parts:
            results[name] = PARTS[name](Bench(size, url, room))
            yield name


def main() -> None:
    """Measure, and write results, page and pictures after each part."""
    become_the_function()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("--size", choices=SIZES, default="full")
    arguments.add_argument("--only", type=lambda text: text.split(","), default=[*PARTS], help="parts, by comma")
    arguments.add_argument("--into", type=Path, help="write here instead of docs/")
    chosen = arguments.parse_args()
    if unknown := [name for name in chosen.only if name not in PARTS]:
        arguments.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    places = {"results_file": page.RESULTS, "page": page.PAGE, "folder": page.PICTURES}
    if chosen.into:
        chosen.into.mkdir(parents=True, exist_ok=True)
        places = {name: chosen.into / place.name for name, place in places.items()}
        shutil.copy(page.PAGE, places["page"])
    known = json.loads(places["results_file"].read_text()) if places["results_file"].exists() else {}
    began = time.monotonic()
    for name in run(chosen.size and SIZES[chosen.size], chosen.only, known):
        page.write(known, **places)
        print(f"{name}: done, {time.monotonic() - began:.0f} s since the start", flush=True)


if __name__ == "__main__":
    main()
