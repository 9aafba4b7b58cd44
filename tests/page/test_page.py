"""The page: what it says, and that it is one file that nothing can get into."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from chroma_lifecycle.page.drawings import drawings
from chroma_lifecycle.page.health import State, checks
from chroma_lifecycle.page.history import MirrorSeen
from chroma_lifecycle.page.html import page
from tests.support.heads import head_spec
from tests.support.histories import history_spec
from tests.support.versions import manifest_spec


class Elements(HTMLParser):
    """Collects the elements of a page, and sees that each one is closed."""

    VOID = frozenset({"meta", "rect", "line", "circle", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)
        if tag not in self.VOID or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()


@pytest.mark.parametrize("versions", [0, 1, 2, 1_000])
def test_the_page_is_whole_at_any_length(versions: int) -> None:
    """Without a version, with one, with a thousand: every element is closed, six charts are there."""
    elements = Elements(page(history_spec(versions)))

    assert [] == elements.open
    assert 6 == elements.found.count("svg")


def test_a_thousand_versions_share_columns() -> None:
    """The page of a thousand versions stays small enough to send by mail, and no change is left out of the bars."""
    history = history_spec(1_000)

    changes = drawings(history)[1]
    assert len(changes.columns) <= 180
    assert sum(row.added for row in history.rows) == sum(column.values[0] or 0 for column in changes.columns)
    assert len(page(history)) < 600_000


def test_nothing_is_fetched_and_nothing_runs() -> None:
    """No script, no address that a browser would load, and a policy that forbids both."""
    text = page(history_spec(3))

    assert "default-src 'none'" in text
    assert [] == re.findall(r"<script|<img|<link|<iframe|src=|url\(|@import", text)


def test_names_cannot_become_markup() -> None:
    """An address, an action or a problem is text, whatever characters it has."""
    hostile = "<script>alert(1)</script>\"'&"
    history = history_spec(2, mirror=MirrorSeen(hostile, problem=hostile), broken=hostile)
    history = replace(history, address=hostile, rows=tuple(replace(row, action=hostile) for row in history.rows))

    elements = Elements(page(history))

    assert "script" not in elements.found
    assert [] == elements.open


@pytest.mark.parametrize(
    ("change", "expected", "word"),
    [
        ({"mirror": MirrorSeen("mnt", version=1)}, State.GOOD, "mirror is at version 1, like"),
        ({"mirror": MirrorSeen("mnt", version=None)}, State.BAD, "no HEAD"),
        ({"mirror": MirrorSeen("mnt", problem="it hangs")}, State.BAD, "it hangs"),
        ({"broken": "manifest 3 is gone"}, State.BAD, "manifest 3 is gone"),
        ({"head": head_spec(moved_to="s3://elsewhere/x")}, State.BAD, "moved to s3://elsewhere/x"),
        ({"head": head_spec(4), "mirror": MirrorSeen("mnt", version=1)}, State.LOOK, "at version 1, the store at 4"),
    ],
)
def test_each_fault_is_a_check(change: dict[str, object], expected: State, word: str) -> None:
    """What is wrong is told, with a way out; the worst stands first."""
    found = checks(replace(history_spec(2), **change))  # type: ignore[arg-type]

    [told] = [check for check in found if word in check.text]
    assert expected is told.state
    assert bool(told.way_out) == (expected is not State.GOOD) or "moved" in word
    order = [State.BAD, State.LOOK, State.GOOD]
    assert sorted((check.state for check in found), key=order.index) == [check.state for check in found]


def test_a_long_tail_and_withheld_facts_are_told() -> None:
    """They are in the newest manifest."""
    details = manifest_spec().details
    counts = replace(details.counts, tail=5_000, withheld=7)
    newest = manifest_spec(details=replace(details, counts=counts))

    told = " ".join(
        check.text for check in checks(replace(history_spec(2), newest=newest)) if check.state is State.LOOK
    )

    assert "replay 5,000 vector operations" in told
    assert "withholds 7 facts" in told


def test_the_worst_of_the_checks_stands_at_the_top() -> None:
    """Whoever opens the page knows at once whether to read on."""
    well, broken = page(history_spec(3)), page(history_spec(3, broken="a manifest is gone"))

    assert '<div class="pill good">✓ all is well</div>' in well
    assert '<div class="pill bad">✗ 1 to look at</div>' in broken


def test_a_part_of_the_history_is_no_whole_one() -> None:
    """Of more versions than were read, the check says how many there are."""
    history = replace(history_spec(3), head=head_spec(5_000))

    assert any("the newest 3 of 5,000 versions" in each.text for each in checks(history))
