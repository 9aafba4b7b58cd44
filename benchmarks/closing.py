"""Ways of closing Chroma, on every release that has an environment; and what the light check costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Spread, seconds_of
from benchmarks.servers import ROOT
from chroma_lifecycle.snapshot import soundness

VERSIONS = ("1.3.3", "1.5.1", "newest")


def measure_closing(rounds: int) -> list[dict[str, Any]]:
    """Run the experiment of docs/closing.md in each environment that ``scripts/closing_versions.sh`` made."""
    rows: list[dict[str, Any]] = []
    for python in _environments():
        command = [str(python), "scripts/closing_experiment.py", "--rounds", str(rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
        rows += [json.loads(line) for line in done.stdout.splitlines()]
    return rows


def _environments() -> list[Path]:
    made = [ROOT / ".work" / f"closing-{version}" / "bin" / "python" for version in VERSIONS]
    return [python for python in made if python.exists()] or [Path(sys.executable)]


def measure_checks(chroma: Path, rounds: int, cycle_seconds: float) -> dict[str, Any]:
    """Time the light and the full check of a closed directory, against a cycle of 100 labels on it."""
    light = [seconds_of(lambda: soundness.examine(chroma)) for _ in range(rounds)]
    full = [seconds_of(lambda: soundness.examine(chroma, full=True)) for _ in range(max(3, rounds // 5))]
    return {
        "light_seconds": Spread.of(light).rounded(5),
        "full_seconds": Spread.of(full).rounded(4),
        "light_share_of_a_cycle": round(median(light) / cycle_seconds, 4),
        "limit_share": 0.1,
    }
