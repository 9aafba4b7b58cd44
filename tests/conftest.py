"""Profiles of Hypothesis: ``quick`` for every run, ``soak`` for as long as one likes (`--hypothesis-profile soak`).

And the tests of a module close what they open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("soak", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("quick")


def _databases() -> dict[str, str]:
    """The open SQLite files of this process by descriptor."""
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor of this very listing
            found[link.name] = str(link.readlink())
    return {number: path for number, path in found.items() if ".sqlite3" in path}


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Who leaves a database open fails, not the test after it that looks at the descriptors of this process."""
    before = _databases()
    yield
    left = {number: path for number, path in _databases().items() if before.get(number) != path}
    assert not left, f"these tests left open: {sorted(left.values())}"
