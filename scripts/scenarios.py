"""Write ``docs/scenarios.md``: which tests establish which scenario, read from the tests' own docstrings.

A docstring that begins with numbers (``C1:``, ``L5, L6:``) claims them. With ``--check`` nothing is
written; the exit code says whether the page is what the tests say.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scenarios.md"
_CLAIM = re.compile(r"([LCSD]\d+[a-d]?(?:(?:, | and |/)[LCSD]\d+[a-d]?)*):\s")
_NUMBER = re.compile(r"([LCSD])(\d+)([a-d]?)")
_GROUPS = {"L": "Loss", "C": "Corruption", "S": "Stall", "D": "Cost and noise"}
_HEAD = """# Scenarios

Failures of real systems of this kind, by number, and the tests that establish what happens here.
This page is made from the tests' docstrings by `scripts/scenarios.py`.
"""


def claims() -> dict[str, list[tuple[str, str]]]:
    """Return for each number the tests that claim it: path and name, and the fact in words."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                doc = " ".join((ast.get_docstring(node) or "").split())
                if match := _CLAIM.match(doc):
                    for number in _NUMBER.findall(match[1]):
                        where = f"{path.relative_to(ROOT)}::{node.name}"
                        found["".join(number)].append((where, doc[match.end() :]))
    return found


def page() -> str:
    """Return the page."""
    found = claims()
    lines = [_HEAD]
    for letter, group in _GROUPS.items():
        lines += [f"## {group}", ""]
        for number in sorted((n for n in found if n[0] == letter), key=_order):
            lines.append(f"**{number}**")
            lines += [f"- {fact.replace('|', '/')} (`{where}`)" for where, fact in sorted(found[number])]
            lines.append("")
    return "\n".join(lines)


def _order(number: str) -> tuple[int, str]:
    match = _NUMBER.fullmatch(number)
    assert match is not None
    return int(match[2]), match[3]


def main() -> None:
    """Write the page, or compare it."""
    if "--check" in sys.argv[1:]:
        sys.exit(
            None
            if PAGE.exists() and PAGE.read_text("utf-8") == page()
            else f"{PAGE} is stale: run scripts/scenarios.py"
        )
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
