"""C13: a process dies at any step or moment, and the next cycle succeeds without help, on either store."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import mutants
from tests.support.dying import STEPS, STEPS_OF_REBASE, die_at, die_in
from tests.support.planting import Plant, soundly
from tests.support.s3 import client, new_bucket, use_server
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table
from tests.support.telling import states_in_server, told_in_server
from tests.support.world import IMAGE, World, label

COUNT = int(os.environ.get("COUNT", "100"))
"""How many processes a long run kills on each store."""
ALL_STEPS = (*STEPS, *STEPS_OF_REBASE)
PUBLISHED = ("publish", "head", "mirror", "status", *STEPS_OF_REBASE)
"""The steps after which the version is published; that of the last ones is before them, too."""
STEPS_IN_S3 = ("objects", "manifest", "head")
"""The steps of which a quick run kills each once in S3; a long run kills at all of them, before and after."""


def seed_of(request: pytest.FixtureRequest) -> int:
    """Return the seed of the moments: the one of the command line, which plays them again, or a new one."""
    return int(request.config.getoption("--hypothesis-seed") or random.SystemRandom().randrange(1 << 30))


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> None:
    use_server(monkeypatch)


def in_s3(begun: Path, home: Path) -> World:
    """Return a world whose store, with what had begun, is in a new bucket."""
    shutil.copytree(begun, home)
    bucket = new_bucket()
    world = World(home, f"s3://{bucket}/snapshots")
    for key, body in world.stored().items():
        client().put_object(Bucket=bucket, Key=f"snapshots/{key}", Body=body)
    shutil.rmtree(home / "store")
    return world


def begun_story(world: World, table: Table) -> tuple[World, list[Any]]:
    """Return the world with deltas and a real table of the runs of *table*, and what comes from it."""
    write_pool(world)
    records = story(table)
    return replace(world, table=told_in_server(table)), records


def healed(world: World) -> None:
    """Run one more cycle, which brings the mirror up to what the killed process published."""
    report = world.compact([Table().put(IMAGE, "RECEIPT#00009#PLACE", merchant_name="another")])
    assert (1, 0) == (report.applied, report.failed)


def expect_nothing_lost(world: World, step: str, after: bool, plant: Plant = soundly) -> None:
    """Kill at a step of words, lines being done, send the batch again, and compare with the model."""
    world, records = begun_story(world, Table())
    world.compact(records[:3])
    before = world.version()

    died = die_at(world, records[3:], step, after=after, collections=1, plant=plant)
    assert -signal.SIGKILL == died

    landed = step in PUBLISHED and (after or step not in ("publish", "head"))
    rebased = (step, after) == ("rebase", True)
    assert before + landed + rebased == world.version()
    if not landed:
        assert "PENDING" == states_in_server(world.table)["r2.parquet words"]
    report = world.compact(records[3:])
    assert 0 == report.failed
    assert (len(records[3:]) if landed else 0) == report.no_op
    healed(world)
    expect_model(world, records)
    assert {"COMPLETED"} == {*states_in_server(world.table).values()}
    leftovers = {path.name.split("-")[0] for path in (world.home / "workspace" / "words").iterdir()}
    assert not leftovers & {"working", "restoring", "kept"}


@pytest.mark.parametrize(
    ("step", "after"),
    [
        pytest.param(step, after, marks=[] if after else pytest.mark.soak)  # before a step is after the one before
        for step in ALL_STEPS
        for after in (False, True)
    ],
)
def test_a_kill_at_a_step_loses_nothing(world: World, step: str, after: bool) -> None:
    """C13: SIGKILL before or after each named step of words, lines being done; the same batch then ends right.

    The table, too, which is told of a run when it is published.
    """
    expect_nothing_lost(world, step, after)


@pytest.mark.parametrize(
    ("step", "after"),
    [
        pytest.param(step, after, marks=[] if after and step in STEPS_IN_S3 else pytest.mark.soak)
        for step in ALL_STEPS
        for after in (False, True)
    ],
)
def test_a_kill_at_a_step_loses_nothing_in_s3(begun: Path, tmp_path: Path, step: str, after: bool) -> None:
    """C13: the same with S3, where the answer to a write may have been on its way."""
    expect_nothing_lost(in_s3(begun, tmp_path / "world"), step, after)


@pytest.mark.parametrize(
    ("plant", "step", "found"),
    [
        (mutants.the_table_is_told_nothing, "publish", "'COMPLETED'} == {'PENDING'}"),
        pytest.param(
            mutants.a_run_is_completed_before_it_is_published,
            "objects",
            "'PENDING' == 'COMPLETED'",
            marks=pytest.mark.soak,
        ),
        pytest.param(mutants.an_older_image_replaces_a_newer_one, "publish", "no_op", marks=pytest.mark.soak),
        pytest.param(mutants.what_a_dead_process_left_stays, "seal", "'working'", marks=pytest.mark.soak),
    ],
)
def test_a_planted_defect_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch, plant: Plant, step: str, found: str
) -> None:
    """The kills are not blind: with a defect, in the process that dies and in the one that heals, they fail."""
    plant(monkeypatch)
    with pytest.raises(AssertionError, match=found):
        expect_nothing_lost(world, step, after=True, plant=plant)


def test_kills_at_random_moments_lose_nothing(world: World, request: pytest.FixtureRequest) -> None:
    """C13: SIGKILL at random moments of a cycle, again and again on what the one before left."""
    table = Table()
    world, records = begun_story(world, table)
    seed = seed_of(request)
    chance, killed, longest = random.Random(seed), 0, 0.5
    for number in range(40):
        records.append(label(table, f"kill{number}"))  # so that there is something to do in every round
        code, _ = die_in(world, records, chance.uniform(0.0, longest))
        assert code in (0, -signal.SIGKILL), f"seed {seed}: {code}"
        killed += code != 0
        longest *= 1.2 if code else 0.6  # as long as a cycle takes here: deaths come early and late
        if killed == 4:
            break

    assert 4 == killed, f"seed {seed}"
    assert 0 == world.compact(records).failed, f"seed {seed}"
    healed(world)
    expect_model(world, records)
    assert {"COMPLETED"} == {*states_in_server(world.table).values()}


@pytest.mark.soak
@pytest.mark.parametrize("store", ["directory", "s3"])
def test_many_kills_at_random_moments_lose_nothing(
    begun: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    store: str,
) -> None:
    """C13: COUNT processes killed on each store, up to four for each new world; what they left ends right."""
    seed = seed_of(request)
    chance, happened, longest = random.Random(seed), Counter[str](), 1.0
    while happened["killed"] < COUNT:
        happened["worlds"] += 1
        assert happened["worlds"] <= COUNT, f"seed {seed}: processes end before they are killed: {happened}"
        home = tmp_path / "world"
        world = in_s3(begun, home) if store == "s3" else World(Path(shutil.copytree(begun, home)))
        world, records = begun_story(world, Table())
        for _ in range(4):
            code, phase = die_in(world, records, chance.uniform(0.0, longest))
            assert code in (0, -signal.SIGKILL), f"seed {seed}: {code}"
            happened["killed" if code else "ended first"] += 1
            happened[f"killed in {phase}"] += code != 0
            longest *= 1.2 if code else 0.6  # as long as a cycle takes here: deaths come early and late
        for collection in ("words", "lines"):
            happened[f"{collection} published before"] += world.version(collection) > 1
        assert 0 == world.compact(records).failed, f"seed {seed}, {happened}"
        healed(world)
        expect_model(world, records)
        assert {"COMPLETED"} == {*states_in_server(world.table).values()}, f"seed {seed}"
        shutil.rmtree(home)
    with capsys.disabled():
        print(f"\n{store}, seed {seed}: {dict(happened)}")
    if COUNT >= 100:
        assert happened["killed in apply"], "no kill fell inside a call of Chroma that writes"
