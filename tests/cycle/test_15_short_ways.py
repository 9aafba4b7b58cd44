"""What a warm cycle does early, or does not do again, makes the same version."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma import kept_memory, tail
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.cycle import Cycle
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.ledger import RETENTION_SECONDS, Ledger
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.descriptors import below
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.memory_store import FakeClock
from tests.support.table import Table, in_sqs
from tests.support.watching import WatchedStore
from tests.support.world import WORD, World, label, with_word


def test_the_ledger_is_looked_into_while_the_store_is_asked_for_head(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: a warm container does not wait for an answer that is mostly the one that it expects."""
    table = Table()
    with_word(world, table)
    records = [label(table, "total")]
    planned, plan = threading.Event(), Cycle._plan

    def noted(self: Cycle, *arguments: Any) -> object:
        planned.set()
        return plan(self, *arguments)

    monkeypatch.setattr(Cycle, "_plan", noted)
    met: list[bool] = []
    store = WatchedStore(world.store)
    with world.compactor(store=store) as machine:
        machine.compact(in_sqs(records))
        planned.clear()
        store.before = lambda _, call: met.append(planned.wait(20)) if call == "read_head words" else None
        assert 1 == machine.compact(in_sqs(records)).no_op

    assert [True] == met


def test_what_was_planned_on_a_version_that_is_not_the_newest_is_planned_again(world: World) -> None:
    """L5: a straggler that moves the facts of the version that is here, and none of the newest one's."""
    table = Table()
    with_word(world, table)
    with world.compactor("one") as one, world.compactor("other") as other:
        one.compact(in_sqs([label(table, "total")]))
        straggler = label(table, "total", "INVALID")
        newest = label(table, "total", "VALID")
        assert 1 == other.compact(in_sqs([newest])).applied

        report = one.compact(in_sqs([straggler]))

    assert (0, 1) == (report.applied, report.no_op)
    assert world.records()[WORD][2]["label_total"] is True


def test_a_problem_of_an_early_plan_is_told_by_the_plan_that_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L3: what was found in vain is nobody's failure."""
    table = Table()
    with_word(world, table)
    plan, calls = Cycle._plan, []

    def fails_first(self: Cycle, *arguments: Any) -> object:
        calls.append(self._collection)
        if calls == ["lines", "words"]:  # lines is not here yet, so nothing is planned early
            raise BadInput("not yet", hint="none")
        return plan(self, *arguments)

    monkeypatch.setattr(Cycle, "_plan", fails_first)
    with world.compactor() as machine:
        assert 1 == machine.compact(in_sqs([label(table, "total")])).applied
    assert ["lines", "words", "words"] == calls


def test_a_version_counts_its_facts_rightly_without_counting_them_all(world: World) -> None:
    """New facts, moved ones, a tombstone, a run that begins again, and facts that retention takes."""
    table, clock = Table(), FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    with_word(world, table)
    batches = [
        [label(table, "total"), label(table, "date")],
        [label(table, "total", "INVALID"), label(table, "tax", word=2)],
        [table.remove(*_key_of(table, "tax")), table.put("IMAGE#a", "RECEIPT#00001#PLACE", merchant_name="Corner")],
        [table.put("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00002", text="x")],
        [table.remove("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00002")],
        [label(table, "late")],
    ]
    with world.compactor() as made:
        machine = Compactor(replace(made._around, clock=clock), made._root)
        for batch in batches:
            if batch is batches[-1]:
                clock.pass_by(timedelta(seconds=RETENTION_SECONDS + 2 * 86_400))
            machine.compact(in_sqs(batch))
            assert _counted(world) == _told(world)
        machine.close()
    assert _told(world)["facts"] > 0


def _key_of(table: Table, name: str) -> tuple[str, str]:
    return next(key for key in table.items if key[1].endswith(f"#LABEL#{name}"))


def _told(world: World) -> dict[str, int]:
    counts = world.published().manifest.details.counts
    return {"records": counts.records, "facts": counts.facts, "withheld": counts.withheld}


def _counted(world: World) -> dict[str, int]:
    manifest, stores = world.published().manifest, Stores(world.store)
    with files_of(manifest, stores) as files, Ledger.open(files / "ledger.sqlite3", read_only=True) as ledger:
        return ledger.counts()


def test_a_few_labels_keep_chroma_on_one_processor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chroma and its threads change from one to the next some thousand times; afterwards nobody is held."""
    table, apply = Table(), ManagedClient.apply
    allowed = os.sched_getaffinity(0)
    held: list[int] = []

    def noted(self: ManagedClient, *arguments: Any) -> object:
        held.append(len(os.sched_getaffinity(0)))
        return apply(self, *arguments)

    with_word(world, table)
    monkeypatch.setattr(ManagedClient, "apply", noted)
    with world.compactor() as machine:
        assert 1 == machine.compact(in_sqs([label(table, "total")])).applied

    assert ([1], allowed) == (held, os.sched_getaffinity(0))


def test_chroma_works_in_kept_memory_from_before_it_opens_until_its_tail_is_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the index may outgrow its room is asked with what is pending and with what is planned."""
    table, happened = Table(), list[object]()

    @contextmanager
    def kept(directory: Path, plan: Plan, pending: int) -> Iterator[None]:
        happened.append((directory.name, plan.size, pending, below(directory)))
        yield
        happened.append("over")

    def settled(directory: Path, *given: object, **more: object) -> object:
        happened.append("settled")
        return settle_tail(directory, *given, **more)  # type: ignore[arg-type]

    with_word(world, table)
    monkeypatch.setattr(kept_memory, "kept_memory", kept)
    settle_tail = tail.settle_tail
    monkeypatch.setattr(tail, "settle_tail", settled)
    with world.compactor() as machine:
        assert 1 == machine.compact(in_sqs([label(table, "total")])).applied

    assert [("chroma", 1, 1, ()), "settled", "over"] == happened


@pytest.mark.parametrize("collects", [True, False])
def test_what_a_batch_makes_is_not_looked_through_until_it_is_done(world: World, *, collects: bool) -> None:
    """The collector rests while a batch is worked on, and does afterwards what it did before, whatever happened."""
    seen: list[bool] = []

    with world.compactor() as machine:
        before = gc.isenabled()
        try:
            (gc.enable if collects else gc.disable)()
            machine.compact(in_sqs([label(Table(), "total")]), told=lambda _: seen.append(gc.isenabled()))
            with pytest.raises(BadInput):
                machine.compact({})
            after = gc.isenabled()
        finally:
            (gc.enable if before else gc.disable)()

    assert ([False], collects) == (seen, after)


def test_a_directory_for_deltas_is_made_for_deltas_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of labels reads no delta, and does not wait for the disk to make and remove a place for one."""
    made: list[str] = []
    blank = Workspace.blank

    def noted(self: Workspace) -> AbstractContextManager[Path]:
        made.append(self.root.name)
        return blank(self)

    table = Table()
    monkeypatch.setattr(Workspace, "blank", noted)
    with_word(world, table)
    with_deltas, records = len(made), [label(table, "total")]
    with world.compactor() as machine:
        assert (1, 1) == (machine.compact(in_sqs(records)).applied, machine.compact(in_sqs(records)).no_op)

    assert with_deltas == len(made)
    assert with_deltas > 0
