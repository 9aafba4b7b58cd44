"""Each request of a batch, of what mends, of a reshard's tasks and of what brings a store back fails, in every way."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from chroma_lifecycle import rebuild as rebuilding
from chroma_lifecycle.publishing import swap as swapping
from tests.support.act_grid import ActGrid
from tests.support.acts import ACTS
from tests.support.requests import FAULTS
from tests.support.resharding import read_here
from tests.support.s3 import FaultProxy, use_server

MakeGrid = Callable[[str], ActGrid]


@pytest.fixture
def grid_of(tmp_path: Path, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> MakeGrid:
    """Prepare an act; Chroma reads its records here, and not in a child that takes seconds to start."""
    monkeypatch.setattr(swapping, "_PAUSES_SECONDS", (0.0,) * len(swapping._PAUSES_SECONDS))
    monkeypatch.setattr(rebuilding, "read_chroma_delta", read_here)
    use_server(monkeypatch, proxy.url)

    def make(name: str) -> ActGrid:
        act = ACTS[name]()
        return ActGrid(act, proxy, act.prepare(tmp_path / "prepared"))

    return make


@pytest.mark.soak
@pytest.mark.parametrize("name", ACTS)
def test_every_request_may_fail_in_every_way(grid_of: MakeGrid, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """L3, C3, C14, S11: the whole grid, each fault once and lasting; nothing is half done, and the same again is.

    CASES=n draws so many of them; SEED=n draws the same ones again.
    """
    grid = grid_of(name)
    requests = len(grid.requests())
    whole = list(itertools.product(range(1, requests + 1), FAULTS, (False, True)))
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    drawn = int(os.environ.get("CASES") or len(whole))
    for number, fault, lasting in random.Random(seed).sample(whole, min(drawn, len(whole))):
        grid.run(number, fault, lasting=lasting)
    with capsys.disabled():
        print(
            f"\n{name}: {grid.ends.total()} of {len(whole)} cases, {requests} requests, seed {seed}: {dict(grid.ends)}"
        )


SAMPLED = {"upserts": 2, "rebuild": 1, "reshard": 1, "recover": 1}
"""Acts that a quick run looks at, and in how many cases."""


@pytest.mark.parametrize("name", SAMPLED)
def test_any_request_may_fail(grid_of: MakeGrid, name: str) -> None:
    """L3, C3, C14, S11: some cases of the grid, drawn anew in each run; a failure names its case."""
    grid, draw = grid_of(name), random.Random()
    requests = len(grid.requests())
    for _ in range(SAMPLED[name]):
        fault = draw.choice([*FAULTS])
        grid.run(draw.randint(1, requests), fault, lasting="time-out" not in fault and draw.random() < 0.5)

    assert SAMPLED[name] == grid.ends.total()
