"""Profiles of Hypothesis: ``quick`` for every run, ``soak`` for as long as one likes (`--hypothesis-profile soak`).

And the tests of a module close what they open, and none hears by what another has made of the logs.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.support.open_files import open_files

settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile("soak", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile("quick")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, and then all that a test starts
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_is_left_of_the_logs() -> Iterator[None]:
    """What a test, or a command in it, makes of structlog ends with it: its level, a stream that is closed."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Who holds a database open for ever fails, not the test after it that counts the descriptors of this process."""
    # What is loaded stays: looking through it again and again took the collector a quarter of a worker's time.
    gc.collect()
    gc.freeze()
    before = open_files()
    yield
    if _left_open(before):
        gc.collect()  # a frame that a handled error still knows keeps its local connection for a while
        assert not (left := _left_open(before)), f"these tests left open: {sorted(left)}"


def _left_open(before: dict[int, str]) -> set[str]:
    return {path for number, path in open_files().items() if ".sqlite3" in path and before.get(number) != path}
