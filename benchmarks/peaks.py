"""How much memory whole-collection work takes at most, by the size of the collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bulk import put_records
from benchmarks.reaping import run_command
from benchmarks.receipts import COLLECTION, Word, by_image
from chroma_lifecycle.clock import new_id
from tests.support.chroma_server import chroma_server

_TIMES = 2  # as many dimensions have the new vectors


@dataclass(frozen=True, slots=True)
class _Place:
    home: Path
    records: int
    dimension: int

    def commands(self, server: str) -> dict[str, list[str]]:
        """Return the words of each command by its title, in the order in which they are run."""
        here, at = self.home, [f"--store={self.home / 'store'}", f"--collection={COLLECTION}"]
        elsewhere, space = f"--store={here / 'other'}", f"--workspace={here / new_id()}"
        wide = ["--vectors", str(here / "new"), f"--dimension={_TIMES * self.dimension}"]
        return {
            "`init --from` a file": ["init", "--from", str(here / "data" / "all.parquet"), *at, space],
            "`bulk build`, one task": [
                *("bulk", "build", str(here / "data"), elsewhere, at[1]),
                *(f"--dimension={self.dimension}", space),
            ],
            "`verify --deep`": ["verify", "--deep", *at],
            "`export --output`": ["export", "--output", str(here / "out.parquet"), *at],
            "`upload`": ["upload", f"--to={server}", *at],
            "`rebuild`": ["rebuild", *at, space],
            f"`rebuild --vectors`, of {_TIMES} times the dimension": ["rebuild", *wide, *at, space],
        }


def measure_peaks(sizes: Sequence[int], dimension: int, room: Path) -> dict[str, Any]:
    """Return what each command took at most, for collections of these sizes."""
    peaks: dict[str, list[float]] = {}
    for number in sizes:
        place = _Place(room / f"peaks-{number}", number, dimension)
        parts = list(by_image([Word(at) for at in range(number)]))
        for name, wide in (("data", dimension), ("new", _TIMES * dimension)):
            (place.home / name).mkdir(parents=True)
            put_records(place.home / name / "all.parquet", parts, wide)
        with chroma_server(place.home / "server") as server:
            for title, words in place.commands(server.url).items():
                peaks.setdefault(title, []).append(round(run_command(words).peak_bytes / 1e6))
    return {
        "records": list(sizes),
        "dimension": dimension,
        "commands": [{"title": title, "megabytes": found} for title, found in peaks.items()],
    }
