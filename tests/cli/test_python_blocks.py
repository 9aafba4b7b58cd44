"""Every example in Python of every document runs as it stands there, beside the store of the command line's tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.command_line import CommandLine
from tests.support.pages import Block, blocks, pages

EXAMPLES = [block for page in pages() for block in blocks(page) if block.language == "python" and not block.title]
PRINTED = {
    "README.md": ["close() ", "[['USER#u#NOTE#"],
    "docs/closing.md": ["close() "],
    "docs/producing.md": ["notes/USER_u_RUN"],
    "docs/reading.md": ["3 ['USER#u#NOTE#"],
}
"""What a line of the output of each begins with, in the order of the page."""


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_example_runs(cli: CommandLine, example: Block) -> None:
    """But for the address of the store; what it prints is what it is about."""
    at = [block for block in EXAMPLES if block.page == example.page].index(example)
    printed = PRINTED[example.page][at]

    ended = subprocess.run(
        [sys.executable, "-c", example.text.replace("s3://bucket/snapshots", "store")],
        cwd=cli.home,
        env=os.environ | {"TMPDIR": str(cli.home)},
        capture_output=True,
        text=True,
    )

    assert 0 == ended.returncode, ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.startswith(printed)], ended.stdout
