"""The error tour is true: every error of the tree is on it, and every command prints what stands there."""

from __future__ import annotations

import re

from tests.tour.page import PAGE, kinds, page
from tests.tour.stops import STOPS


def test_every_error_has_a_stop() -> None:
    """An error that nobody has seen may print anything."""
    assert set(kinds()) == {stop.error for stop in STOPS}


def test_every_stop_prints_what_the_page_says() -> None:
    """`python -m tests.tour.page` writes the page anew after a change; each error names a way out."""
    made = page()

    assert made == PAGE.read_text("utf-8")
    assert (
        len(STOPS)
        == len(re.findall(r"^error: ", made, re.MULTILINE))
        == len(re.findall(r"^hint: ", made, re.MULTILINE))
    )
