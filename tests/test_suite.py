"""The suite itself."""

from __future__ import annotations

import ast
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
