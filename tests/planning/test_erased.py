"""Erasing records of withheld runs: what was received before does not bring them back, what is newer does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.planning.test_convergence import World, begun
from tests.support.table import Table
from tests.support.world import IMAGE, LINE, begins

GONE, STAYS = f"{LINE}#WORD#00001", f"{LINE}#WORD#00002"
RUN = "RECEIPT#00001#COMPACTION_RUN#{}"
BOTH = {GONE, STAYS}


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def world(table: Table) -> Iterator[World]:
    """A run wrote two records, a rollback withholds it, and the first was erased since: version 3."""
    with begun({"r1.parquet": {GONE: (1, None, {}), STAYS: (2, None, {})}}) as world:
        world.deliver([table.put(IMAGE, RUN.format("r1"), **begins("r1"))])
        world.rollback("words", 0)
        world.ledger("words").erase([GONE], received_seconds=0, version=3)
        world._note("words")
        yield world


def test_going_to_and_fro_brings_nothing_back(world: World) -> None:
    """D1d: after each reapply the record is not there, whichever versions since the erasure were gone back to."""
    for _ in range(2):
        world.reapply("words")
        assert {STAYS} == world.records["words"].keys()
        world.rollback("words", 3)
        assert {} == world.records["words"]


def test_a_run_that_began_again_since_brings_the_record(world: World, table: Table) -> None:
    """Also where that is withheld in its turn, and reapplied."""
    table.remove(IMAGE, RUN.format("r1"))
    world.deliver([table.put(IMAGE, RUN.format("r1"), **begins("r1"))])
    assert BOTH == world.records["words"].keys()
    world.rollback("words", 3)
    assert {} == world.records["words"]

    world.reapply("words")

    assert BOTH == world.records["words"].keys()


@pytest.mark.parametrize("name", ["r0", "r2"])
def test_another_run_of_the_same_delta_may_be_newer(world: World, table: Table, name: str) -> None:
    """Of two withheld runs one was received before the erasure: the record is the other's, whichever is read first."""
    world.deliver([table.put(IMAGE, RUN.format(name), **begins("r1"))])
    world.rollback("words", 3)
    assert {} == world.records["words"]

    world.reapply("words")

    assert BOTH == world.records["words"].keys()
