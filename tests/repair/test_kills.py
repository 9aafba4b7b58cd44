"""C13: a rollback dies at a step; the collection has its old version or the rolled back one, and nothing between."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.publishing.publication import Publication
from chroma_lifecycle.repair import rollback as rolling
from chroma_lifecycle.snapshot.pristine import PristineChange
from tests.model.reference import Reference, typed
from tests.support.dying import processes
from tests.support.repairs import roll_back
from tests.support.story import POOL, story, write_pool
from tests.support.table import Table
from tests.support.world import World

STEPS: dict[str, tuple[Any, str]] = {
    "verify": (rolling, "verify_version"),
    "lay out": (rolling, "bring_forward"),
    "withhold": (rolling, "left_behind"),
    "seal": (rolling, "seal"),
    "objects": (Publication, "store_objects"),
    "manifest": (Publication, "store_manifest"),
    "head": (Publication, "move_head"),
    "follow": (PristineChange, "finish"),
}


def dying(home: Path, step: str, after: bool) -> None:
    """Roll back in a process that is killed before or after a step."""
    owner, name = STEPS[step]
    original = getattr(owner, name)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs) if after else None
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)
    roll_back(World(home), 2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_rollback_that_is_killed_leaves_one_version_or_the_other(world: World, step: str, after: bool) -> None:
    """SIGKILL before or after each step: every record is of one version, and the next cycle needs no help."""
    write_pool(world)
    records = story(Table())
    world.compact(records[:1])
    world.compact(records[1:])
    process = processes().Process(target=dying, args=(world.home, step, after))
    process.start()
    process.join(120)
    assert -signal.SIGKILL == process.exitcode

    landed = step == "follow" or (step == "head" and after)
    assert 3 + landed == world.version()
    counted = records[:1] if landed else records
    again = world.compact(records)
    assert (len(records), 0) == (again.no_op, again.failed)
    assert typed({"words": Reference(POOL).replay(counted)["words"]}) == typed({"words": world.records()})
    assert 4 == roll_back(world, 2).published.manifest.version.number - landed
