"""A chain that has become long gets a new base, when time allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never

import pytest

from chroma_lifecycle import compactor, upkeep
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.errors import NoRoom, StoreUnavailable
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.report import CollectionReport, Report
from chroma_lifecycle.snapshot import chain
from chroma_lifecycle.snapshot.pristine import Pristine
from chroma_lifecycle.upkeep import Site
from tests.cycle.test_06_deadline import ManualClock
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.watching import WatchedStore
from tests.support.world import WORD, World, label, with_word


@pytest.fixture(autouse=True)
def _short_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "MOST_PACKS", 3)


def rebase_of(report: Report, collection: str = "words") -> str:
    """Return what a report says of the new base of a collection."""
    return next(each.rebase for each in report.collections if each.collection == collection)


def test_a_long_chain_gets_a_new_base_after_its_batch(world: World) -> None:
    """The batch is published first; then a version of the same content follows, in the mirror too."""
    table = Table()
    with_word(world, table)
    with world.compactor() as machine:
        bases = [rebase_of(machine.compact(in_sqs([label(table, name)]))) for name in ("a", "b", "c")]

        assert ["none", "version 5 has a new base in place of 3 packs", "none"] == bases
        published = world.published()
        assert (6, 1) == (published.manifest.version.number, len(published.manifest.chain.packs))
        assert published.manifest == world.published(store=world.mirror).manifest
        assert not verify_store(published, world.store, every_version=True).damage
    assert {"label_a", "label_b", "label_c"} <= world.records()[WORD][2].keys()


def test_a_new_base_waits_for_time(world: World) -> None:
    """L14: short of time the batch is published and the base is put off; a later cycle makes it."""
    table, clock = Table(), ManualClock()
    with_word(world, table)
    world.compact([label(table, "a")])
    with world.compactor() as machine:
        report = machine.compact(in_sqs([label(table, "b")]), Deadline.after(2.0, clock))

        assert (1, 0, 4) == (report.applied, report.failed, world.version())
        assert rebase_of(report).startswith("put off: a new base needs about")

        assert "version 6 has" in rebase_of(machine.compact(in_sqs([label(table, "c")])))


def test_every_collection_is_published_before_any_base_is_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base takes no time from the cycle of another collection."""
    monkeypatch.setattr(chain, "MOST_PACKS", 1)
    write_pool(world)
    records = story(Table())
    for record in records[:3]:
        world.compact([record])
    watched = WatchedStore(world.store)
    with world.compactor(store=watched) as machine:
        report = machine.compact(in_sqs(records[3:]))

    swaps = [call for call in watched.calls if call.startswith("swap_head")]
    assert any("has a new base" in each.rebase for each in report.collections)
    assert {"swap_head lines", "swap_head words"} == set(swaps[: len(report.collections)])
    assert len(swaps) > len(report.collections)
    expect_model(world, records)


def test_a_fault_while_a_base_is_made_costs_nothing(world: World) -> None:
    """L3: the store goes away after the batch was published: the batch is done, and a later cycle makes the base."""
    table = Table()
    with_word(world, table)
    world.compact([label(table, "a")])
    swaps = 0

    def go_away(number: int, call: str) -> None:
        nonlocal swaps
        swaps += call == "swap_head words"
        if swaps and call.startswith("write"):
            raise StoreUnavailable("away", hint="wait")

    with world.compactor(store=WatchedStore(world.store, before=go_away)) as machine:
        report = machine.compact(in_sqs([label(table, "b")]))

    assert (1, 0, "put off: away") == (report.applied, report.failed, rebase_of(report))
    assert "version 6 has" in rebase_of(world.compact([label(table, "c")]))
    assert {"label_a", "label_b", "label_c"} <= world.records()[WORD][2].keys()


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (NoRoom("no room for a lock", hint="none"), "no room for a lock"),
        (KeyError("SECRET"), "KeyError in fail (line "),
    ],
    ids=["full", "defect"],
)
@pytest.mark.parametrize("what", ["workspace", "stamp", "base"])
def test_what_fails_before_a_base_is_begun_fails_no_batch(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, problem: Exception, told: str
) -> None:
    """C15: the batch is published when the workspace cannot be owned again, or its stamp cannot be read."""
    table = Table()
    with_word(world, table)
    monkeypatch.setattr(chain, "MOST_PACKS", 1)
    seen = compactor.rebase_when_due

    def fail(*given: object, **named: object) -> Never:
        raise problem

    def failing(open_site: Callable[[], Site], *given: Any, **named: Any) -> CollectionReport:
        with monkeypatch.context() as patch:
            place, name = {
                "workspace": (Compactor, "_workspace"),
                "stamp": (Pristine, "version"),
                "base": (upkeep, "rebase_now"),
            }[what]
            patch.setattr(place, name, fail)
            return seen(open_site, *given, **named)

    monkeypatch.setattr(compactor, "rebase_when_due", failing)
    report = world.compact([label(table, "a")])
    assert (1, 0) == (report.applied, report.failed)
    assert rebase_of(report).startswith(f"put off: {told}")
    assert "SECRET" not in rebase_of(report)
    assert {"label_a"} <= world.records()[WORD][2].keys()
