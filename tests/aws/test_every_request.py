"""Each request of a cycle, a restore, a new base, an expiry and a sweep fails, in every way that there is."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.ports import HeadToken, SwapUnanswered
from chroma_lifecycle.publishing import swap as swapping
from tests.support import mutants
from tests.support.planting import Plant
from tests.support.requests import ACTIVITIES, FAULTS, Grid
from tests.support.s3 import FaultProxy, use_server


@pytest.fixture
def grid(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """A history in a directory, from which each case gets a bucket of its own."""
    monkeypatch.setattr(swapping, "_PAUSES_SECONDS", (0.0,) * len(swapping._PAUSES_SECONDS))
    use_server(monkeypatch, proxy.url)
    return Grid.prepare(proxy, tmp_path_factory.mktemp("grid"))


QUICK = {"cycle", "sweep"}
"""What publishes and what deletes; a long run goes through the others as well."""


@pytest.mark.parametrize(
    "activity", [name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in ACTIVITIES]
)
def test_any_request_may_fail(grid: Grid, activity: str) -> None:
    """L3, C3, C14, S11: each request fails in some way, once or as often as it is tried; the next cycle needs no help.

    Which ways meet which request follows from its number; a long run goes through all of them.
    """
    faults = list(FAULTS)
    requests = len(grid.requests(activity))
    for number in range(1, requests + 1):
        fault = faults[(7 * number + len(activity)) % len(faults)]
        grid.run(activity, number, fault, lasting=bool(number % 2))

    assert requests == grid.ends.total()
    assert len(grid.ends) > 1 or activity == "expire", grid.ends


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("activity", ACTIVITIES)
def test_every_request_may_fail_in_every_way(
    grid: Grid, capsys: pytest.CaptureFixture[str], activity: str, fault: str
) -> None:
    """L3, C3, C14, S11: the whole grid, each fault once and lasting."""
    requests = len(grid.requests(activity))
    for number in range(1, requests + 1):
        for lasting in (False, True):
            grid.run(activity, number, fault, lasting=lasting)
    with capsys.disabled():
        print(f"\n{activity}, {fault}: {requests} requests, {dict(grid.ends)}")


MATTER = {
    "cycle": ("answer lost", "time-out after", "409 before", "412 after"),
    "sweep": ("answer lost", "503 after"),
}
"""The ways in which the write of HEAD may fail and have happened, or not have and look as if it had."""


@pytest.mark.parametrize("activity", MATTER)
def test_the_swap_may_fail_and_have_happened(grid: Grid, activity: str) -> None:
    """L3, C14: the request that decides fails once, in the ways that tell least of what became of it."""
    swap = grid.requests(activity).index("PUT HEAD") + 1
    for fault in MATTER[activity]:
        grid.run(activity, swap, fault, lasting=False)

    assert {"done": len(MATTER[activity])} == grid.ends


def no_answer_is_taken_for_one(patch: pytest.MonkeyPatch) -> None:
    """A swap that nobody answered counts as done."""
    swap_head = S3Store.swap_head

    def answered(self: S3Store, *args: Any, **named: Any) -> HeadToken:
        try:
            return swap_head(self, *args, **named)
        except SwapUnanswered:
            return HeadToken("some")

    patch.setattr(S3Store, "swap_head", answered)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("plant", "fault"),
    [
        (no_answer_is_taken_for_one, "500 before"),
        (mutants.head_is_moved_before_its_manifest_is_stored, "503 before"),
    ],
)
def test_a_planted_defect_is_found(grid: Grid, monkeypatch: pytest.MonkeyPatch, plant: Plant, fault: str) -> None:
    """The grid is not blind: what takes the swap for done that was not, and a HEAD that names nothing, are seen."""
    requests = len(grid.requests("cycle"))
    plant(monkeypatch)
    with pytest.raises((AssertionError, LifecycleError), match=r"done, and 0 versions|HEAD of words names"):
        for number in range(1, requests + 1):
            grid.run("cycle", number, fault, lasting=True)
