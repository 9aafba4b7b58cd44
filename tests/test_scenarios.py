"""The page of scenarios says what the tests say."""

from __future__ import annotations

import subprocess
import sys


def test_the_page_of_scenarios_is_what_the_docstrings_claim() -> None:
    """`docs/scenarios.md` is made by `scripts/scenarios.py`; run it after adding a numbered test."""
    result = subprocess.run([sys.executable, "scripts/scenarios.py", "--check"], capture_output=True, text=True)

    assert (0, "") == (result.returncode, result.stderr)
