"""Each request of a resync, a reapply, a rollback and a rebuild fails, in every way that there is."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing import swap as swapping
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.rebuild import rebuild
from chroma_lifecycle.repair.rollback import rollback
from chroma_lifecycle.values import Version
from tests.model.reference import Reference, typed
from tests.support.repairs import reapply_all, roll_back, site
from tests.support.requests import FAULTS
from tests.support.s3 import (
    HASTY,
    STEADY,
    FaultProxy,
    client,
    client_at,
    new_bucket,
    s3_client,
    use_server,
)
from tests.support.scanned import resync_with
from tests.support.story import POOL, story, write_pool
from tests.support.table import Table
from tests.support.world import World

TABLE = Table()
RECORDS = story(TABLE)
LOST = slice(5, 8)
"""Labels that no message brought."""


def _resync(world: World, store: Store) -> None:
    resync_with(world, TABLE, store=store)


def _reapply(world: World, store: Store) -> None:
    reapply_all(world, store=store)


def _rollback(world: World, store: Store) -> None:
    with site(world, store=store) as there:
        rollback(there, Version(2))


def _rebuild(world: World, store: Store) -> None:
    with site(world, store=store) as there:
        rebuild(there, tail_budget=250)


@dataclass(frozen=True)
class Act:
    """What is done, and the records of words before and after."""

    do: Callable[[World, Store], None]
    before: list[Any]
    after: list[Any]


HEARD = [*RECORDS[: LOST.start], *RECORDS[LOST.stop :]]
ACTS = {
    "resync": Act(_resync, HEARD, RECORDS),
    "reapply": Act(_reapply, HEARD[:3], HEARD),
    "rollback": Act(_rollback, HEARD, HEARD[:3]),
    "rebuild": Act(_rebuild, HEARD, HEARD),
}


@dataclass
class Grid:
    """Cases of one act: each begins on a copy of what was prepared, its store in a bucket of its own."""

    act: Act
    proxy: FaultProxy
    prepared: World
    ends: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def count(self) -> list[str]:
        """Return the requests of the act when nothing fails: method and name."""
        world, store, _ = self._world("none")
        self.proxy.forget()
        self.act.do(world, store)
        return [f"{seen.method} {seen.path.partition('?')[0].rpartition('/')[2]}" for seen in self.proxy.seen]

    def run(self, number: int, fault: str, *, lasting: bool) -> None:
        """Let one request fail; nothing is lost or half done, and the same again without a fault ends right."""
        world, store, beside = self._world(fault)
        before = world.published("words", beside).manifest.version.number
        self.proxy.forget()
        self.proxy.nth(number, FAULTS[fault], lasting=lasting)
        try:
            self.act.do(world, store)
            ended = "done"
        except LifecycleError as problem:
            ended = type(problem).__name__
        finally:
            self.proxy.forget()
        self.ends[ended] += 1
        found = world.published("words", beside)
        made = found.manifest.version.number - before
        assert made in {"done": {1}, "OutcomeUnknown": {0, 1}}.get(ended, {0}), f"{ended}, and {made} versions"
        assert not verify_store(found, beside, every_version=True).damage
        self._expect(world, beside, self.act.after if made else self.act.before)
        self.act.do(world, beside)
        self._expect(world, beside, self.act.after)
        shutil.rmtree(world.home)

    def _expect(self, world: World, store: Store, records: list[Any]) -> None:
        model = Reference(POOL).replay(records)["words"]
        assert typed({"words": model}) == typed({"words": world.records("words", store)})

    def _world(self, fault: str) -> tuple[World, Store, Store]:
        home = Path(shutil.copytree(self.prepared.home, self.prepared.home.parent / f"case-{next(self._numbers)}"))
        bucket = new_bucket()
        for path in (home / "store" / "words").rglob("*"):
            if path.is_file() and path.name != ".lock":
                name = f"store/{path.relative_to(home / 'store')}"
                client().put_object(Bucket=bucket, Key=name, Body=path.read_bytes())
        address, patience = S3Address(bucket, "store"), HASTY if "time-out" in fault else STEADY
        return (
            World(home),
            S3Store(address, client_at("s3", self.proxy.url, patience)),
            S3Store(address, s3_client()),
        )


@pytest.fixture
def grid(request: pytest.FixtureRequest, tmp_path: Path, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.setattr(swapping, "_PAUSES_SECONDS", (0.0,) * len(swapping._PAUSES_SECONDS))
    use_server(monkeypatch, proxy.url)
    world = World(tmp_path / "prepared").begin()
    write_pool(world)
    for batch in (HEARD[:3], HEARD[3:]):
        world.compact(batch)
    if request.param == "reapply":
        roll_back(world, 2)
    shutil.rmtree(world.home / "workspace")
    return Grid(ACTS[request.param], proxy, world)


QUICK = ("resync", "reapply", "rollback")
"""A rebuild takes a child that reads the records; it is in the long run."""


@pytest.mark.parametrize("grid", QUICK, indirect=True)
def test_the_swap_may_lose_its_answer(grid: Grid) -> None:
    """C14, L3: HEAD is written, nobody hears of it, and the SDK's retry is refused: it is found to be ours."""
    swap = grid.count().index("PUT HEAD") + 1

    grid.run(swap, "answer lost", lasting=False)
    assert {"done": 1} == grid.ends


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("grid", ACTS, indirect=True)
def test_every_request_may_fail_in_every_way(
    grid: Grid, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest, fault: str
) -> None:
    """L3, C3, C14, S11: the whole grid, each fault once and lasting; nothing is half done, and the same again is."""
    requests = len(grid.count())
    for number in range(1, requests + 1):
        for lasting in (False, True):
            grid.run(number, fault, lasting=lasting)
    with capsys.disabled():
        print(f"\n{request.node.callspec.params['grid']}, {fault}: {requests} requests, {dict(grid.ends)}")
