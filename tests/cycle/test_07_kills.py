"""C13: a process dies at any step or moment, and the next cycle succeeds without help."""

from __future__ import annotations

import random
import signal

import pytest

from tests.support.dying import STEPS, die_at, die_in
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table
from tests.support.world import IMAGE, World


def healed(world: World) -> None:
    """Run one more cycle, which brings the mirror up to what the killed process published."""
    report = world.compact([Table().put(IMAGE, "RECEIPT#00009#PLACE", merchant_name="another")])
    assert (1, 0) == (report.applied, report.failed)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_step_loses_nothing(world: World, step: str, after: bool) -> None:
    """C13: SIGKILL before or after each named step of words, lines being done; the same batch then ends right."""
    write_pool(world)
    records = story(Table())
    world.compact(records[:3])
    before = world.version()

    assert -signal.SIGKILL == die_at(world.home, records[3:], step, after=after, collections=1)

    landed = step in ("mirror", "publish", "head") and (after or step == "mirror")
    assert before + landed == world.version()
    report = world.compact(records[3:])
    assert 0 == report.failed
    assert (len(records[3:]) if landed else 0) == report.no_op
    healed(world)
    expect_model(world, records)
    leftovers = {path.name.split("-")[0] for path in (world.home / "workspace" / "words").iterdir()}
    assert not leftovers & {"working", "restoring", "kept"}


def test_kills_at_random_moments_lose_nothing(world: World) -> None:
    """C13: SIGKILL at random moments of a cycle, again and again on what the one before left."""
    write_pool(world)
    records = story(Table())
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    killed = sum(die_in(world.home, records, chance.uniform(0.01, 0.5)) == -signal.SIGKILL for _ in range(6))

    assert killed >= 1, f"seed {seed}: no process was killed in time"
    assert 0 == world.compact(records).failed, f"seed {seed}"
    healed(world)
    expect_model(world, records)
