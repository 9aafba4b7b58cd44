"""The report of a thousand versions that were really published, in a real browser, in light and dark."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chroma_lifecycle.page.health import State, checks
from chroma_lifecycle.page.history import read_history
from chroma_lifecycle.page.html import page
from chroma_lifecycle.wiring import open_store
from tests.browser.test_report import COPIED, DARK, LIGHT, STORED, near, screenshot
from tests.support.command_line import COLLECTION
from tests.support.published import publish

pytestmark = pytest.mark.soak

VERSIONS = 1_000
COMMAND = (sys.executable, "-c", "from chroma_lifecycle.cli import main; main()")


def test_a_thousand_published_versions_are_one_page(tmp_path: Path) -> None:
    """Every manifest is read once, the page stays small, nothing is to be done, and both lines can be seen."""
    store = open_store(str(publish(tmp_path, VERSIONS)))
    read: Counter[str] = Counter()
    inner = type(store).read

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "read", lambda self, name, **how: (read.update([name]), inner(self, name, **how))[1])
        history = read_history(store, COLLECTION, most=2 * VERSIONS)
    told = page(history)

    assert [*range(1, history.head.version.number + 1)] == [row.version for row in history.rows]
    assert history.head.version.number >= VERSIONS  # and the new bases between them
    assert len(history.rows) == len(read)
    assert len(history.rows) + 1 == read.total()  # the newest one by HEAD, too
    assert {State.GOOD} == {each.state for each in checks(history)}
    assert len(told) < 400_000
    command = ["report", "--store", str(tmp_path / "store"), "-c", COLLECTION, "-o", str(tmp_path / "report.html")]
    subprocess.run([*COMMAND, *command], check=True)
    for scheme in (LIGHT, DARK):
        pixels = screenshot(tmp_path, tmp_path / "report.html", scheme)
        assert near(pixels, STORED[scheme]) > 1_000
        assert near(pixels, COPIED[scheme]) > 1_000
