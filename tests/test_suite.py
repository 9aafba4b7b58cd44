"""The suite itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("tests", "chroma_lifecycle", "handler", "dev")


def calls(path: Path) -> set[str]:
    """Return the names of what a file calls, without what they belong to."""
    found = {node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    attributes = {func.attr for func in found if isinstance(func, ast.Attribute)}
    return attributes | {func.id for func in found if isinstance(func, ast.Name)}


def test_nothing_sleeps_and_the_order_is_random(request: pytest.FixtureRequest) -> None:
    """D9: every wait has a condition; tests run in another order each time, so that none can lean on another."""
    files = [path for part in PARTS for path in (ROOT / part).rglob("*.py")]

    assert [] == [path for path in files if "sleep" in calls(path)]
    assert len(files) > 300
    assert request.config.pluginmanager.hasplugin("randomly")


LEANS = """
import pytest
order = []
@pytest.mark.parametrize("number", range(30))
def test_one(number):
    order.append(number)
    assert number != {leans_on} or len(order) > 1
    if len(order) == 30:
        print("order", order)
"""


def random_runs(test: Path, **settings: str) -> tuple[int, str]:
    """Run the script over one file; return its code and what it says."""
    ours = {name: value for name, value in os.environ.items() if name not in ("SEED", "RUNS")}  # may be of such a run
    environment = {**ours, "WORKERS": "0", "TESTS": f"{test} -s", "TMPDIR": str(test.parent), **settings}
    ended = subprocess.run([ROOT / "scripts/random_runs.sh"], env=environment, capture_output=True, text=True)
    return ended.returncode, ended.stdout


def test_runs_in_random_orders_can_be_had_again(tmp_path: Path) -> None:
    """D9: each run has a seed of its own, which is printed and gives its order again; one that fails ends them."""
    sound, leaning = tmp_path / "test_sound.py", tmp_path / "test_leaning.py"
    sound.write_text(LEANS.format(leans_on=-1))
    leaning.write_text(LEANS.format(leans_on="number"))

    code, told = random_runs(sound, RUNS="2")
    seeds, orders = re.findall(r"SEED=([0-9]+)", told), re.findall("order .*", told)
    _, again = random_runs(sound, SEED=seeds[1])
    failed, short = random_runs(leaning, RUNS="2")

    assert (0, 2, 2) == (code, len(set(seeds)), len(set(orders))), told
    assert [orders[1]] == re.findall("order .*", again)
    assert 0 != failed
    assert 1 == short.count("SEED=")
