"""docs/tutorial.md from the pipeline on: a second terminal beside `make dev`, line by line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chroma_lifecycle.clock import wait_until
from tests.e2e.test_dev import dev, printed, shell
from tests.support.pages import ROOT, blocks, examples, settled

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "tutorial.md"


def test_the_pipeline_follows_the_page(tmp_path: Path) -> None:
    """Vectors, an item, a reader, a run that cannot be merged, back and forward: each prints what stands there.

    What only looks is looked at until it is so: the page says that it takes a moment.
    """
    text = PAGE.read_text("utf-8")
    for block in blocks(PAGE):
        if block.title:
            (tmp_path / block.title).parent.mkdir(exist_ok=True)
            (tmp_path / block.title).write_text(block.text)
    typed = [*examples(text.partition("\n## 4. ")[2])]
    assert 12 == len(typed)
    [given] = re.findall(r"^make dev (.*)$", text, re.MULTILINE)
    options = [part for each in shlex.split(given) for part in (f"--{each.split('=')[0].lower()}", each.split("=")[1])]
    [second] = re.findall(r"^source \.work/dev/env$", text, re.MULTILINE)

    with dev(tmp_path, *options) as process:
        assert wait_until(lambda: "another terminal" in printed(tmp_path), timeout_seconds=120), printed(tmp_path)
        for line, shown in typed:
            told: list[str] = []

            def as_shown(line: str = line, shown: str = shown, told: list[str] = told) -> bool:
                told[:] = settled(shell(tmp_path, "source .venv/bin/activate", second, line))
                expected = settled(shown)
                return len(told) == len(expected) and all(map(str.startswith, told, expected))

            looks = line.split()[1] in ("query", "log", "mine/run.py", "mine/read.py")
            assert wait_until(as_shown, timeout_seconds=60 if looks else 0, poll_seconds=0.5), (line, told)
        process.terminate()
