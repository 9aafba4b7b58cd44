"""The examples of readers and producers, in the README and in docs/, run on the store of the command line's tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "at", "printed"),
    [
        ("docs/reading.md", 0, "3 ['USER#u#NOTE#"),
        ("docs/producing.md", 0, "notes/USER_u_RUN"),
        ("README.md", 1, "[['USER#u#NOTE#"),
    ],
)
def test_the_example_runs(cli: CommandLine, page: str, at: int, printed: str) -> None:
    """As it stands there, but for the address of the store."""
    examples = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    example = examples[at].replace("s3://bucket/snapshots", "store")

    ended = subprocess.run(
        [sys.executable, "-c", example],
        cwd=cli.home,
        env=os.environ | {"TMPDIR": str(cli.home)},
        capture_output=True,
        text=True,
    )

    assert 0 == ended.returncode, ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.startswith(printed)]
