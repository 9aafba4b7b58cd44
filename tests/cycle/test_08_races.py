"""L5, L6: two compactors on one store, each with a workspace of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.cycle import ATTEMPTS, Cycle
from chroma_lifecycle.errors import NotOwned
from tests.cycle.test_06_deadline import ManualClock
from tests.model.reference import Reference, typed
from tests.support import mutants
from tests.support.contending import run_contention
from tests.support.dying import run_race
from tests.support.planting import Plant, soundly
from tests.support.s3 import fault_proxy, new_bucket, use_server
from tests.support.story import POOL, expect_model, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.watching import WatchedStore
from tests.support.world import World, label

ROUNDS = 4
STATUSES = ("VALID", "INVALID", "PENDING", "NEEDS_REVIEW")


def batches_of(table: Table, count: int) -> dict[str, list[list[dict[str, Any]]]]:
    """Return a batch for each round and process; all of them change a word that the others change too."""
    return {
        f"w{number}": [
            [
                label(table, f"n{number}", STATUSES[number % len(STATUSES)], word=4),
                label(table, f"n{number}-{turn}", word=turn + 5),
            ]
            for turn in range(ROUNDS)
        ]
        for number in range(count)
    }


def expect_nothing_lost(world: World, count: int, plant: Plant = soundly) -> None:
    """Let processes race that meet between compare and write: each loses most of its turns, and no update is lost."""
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact(records)
    batches = batches_of(table, count)

    ends = run_race(world, batches, plant)

    assert [()] * count * ROUNDS == [end.failed for end in ends]
    everything = [*records, *(record for each in batches.values() for batch in each for record in batch)]
    assert typed(Reference(POOL).replay(everything)) == typed(world.everything())
    lost = {name: sum(end.lost for end in ends if end.name == name) for name in batches}
    # Each is the first to write in its share of the rounds, and has lost in all others.
    assert all(swaps >= ROUNDS - -(-ROUNDS // count) for swaps in lost.values()), lost


COUNTS = [2, pytest.param(8, marks=pytest.mark.soak)]


@pytest.mark.parametrize("count", COUNTS)
def test_of_racing_compactors_no_update_is_lost(world: World, count: int) -> None:
    """L5, L6: processes that met between compare and write: each loses its turns, and no update is lost."""
    expect_nothing_lost(world, count)


@pytest.mark.parametrize("count", COUNTS)
def test_of_racing_compactors_no_update_is_lost_in_s3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """L5, L6: the same with S3, where the ETag decides."""
    with fault_proxy() as proxy:
        use_server(monkeypatch, proxy.url)
        expect_nothing_lost(World(tmp_path, f"s3://{new_bucket()}/snapshots").begin(), count)
        assert 412 in {seen.status for seen in proxy.seen if seen.method == "PUT" and seen.path.endswith("/HEAD")}


@pytest.mark.parametrize(
    "plant",
    [
        mutants.a_lost_swap_is_taken_for_landed,
        pytest.param(mutants.a_refusal_is_taken_for_our_own_write, marks=pytest.mark.soak),
    ],
)
def test_a_planted_defect_is_found(world: World, plant: Plant) -> None:
    """L5: the races are not blind: where a loser does not begin again, an update is lost, and they tell."""
    with pytest.raises(AssertionError, match="'words':"):
        expect_nothing_lost(world, 2, plant)


@pytest.mark.soak
@pytest.mark.parametrize("store", ["directory", "s3"])
@pytest.mark.parametrize("count", [2, 8])
def test_compactors_that_go_as_fast_as_they_can_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: str, count: int
) -> None:
    """L5, L6: no barrier, overlapping batches; who loses begins again until it wins; what is wasted is printed."""
    with fault_proxy() as proxy:
        use_server(monkeypatch, proxy.url)
        world = World(tmp_path, f"s3://{new_bucket()}/snapshots" if store == "s3" else None).begin()
        write_pool(world)
        table = Table()
        records = story(table)
        world.compact(records)
        batches = {
            f"w{number}": [
                [label(table, "shared", word=4), label(table, f"n{number}", word=turn + 1)] for turn in range(ROUNDS)
            ]
            for number in range(count)
        }

        ends = run_contention(world, batches)

        everything = [*records, *(r for each in batches.values() for batch in each for r in batch)]
        assert typed(Reference(POOL).replay(everything)) == typed(world.everything())
        lost, attempts = sum(end.lost for end in ends), sum(end.attempts for end in ends)
        assert attempts - lost >= sum(map(len, batches.values()))  # who lost begins again until it wins
        assert max(end.longest for end in ends) <= ATTEMPTS
        share = sum(end.lost_seconds for end in ends) / sum(end.cpu_seconds for end in ends)
        with capsys.disabled():
            print(
                f"\n{count} compactors, {store}: {lost} of {attempts} attempts lost, {share:.0%} of the CPU time, "
                f"{max(end.longest for end in ends)} in a row, {sum(end.handed_back for end in ends)} handed back"
            )


def test_a_writer_that_paused_before_its_swap_starts_over(world: World) -> None:
    """L5: A pauses before its swap, B publishes, A resumes: A's swap is lost, and both writers' changes are there."""
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact(records)
    ours, theirs = label(table, "ours"), label(table, "theirs")
    pauses = ["swap_head lines", "swap_head words"]

    with world.compactor("theirs") as other:

        def pause(number: int, call: str) -> None:
            if call in pauses:
                pauses.clear()
                assert 1 == other.compact(in_sqs([theirs])).applied

        with world.compactor("ours", store=WatchedStore(world.store, before=pause)) as machine:
            report = machine.compact(in_sqs([ours]))

    assert {"lines": 2, "words": 1} == {each.collection: each.attempts for each in report.collections}
    assert typed(Reference(POOL).replay([*records, ours, theirs])) == typed(world.everything())


def test_the_loser_answers_for_its_last_attempt_only(world: World) -> None:
    """L5: what was new when the swap was lost is a duplicate on the new HEAD; nothing is published twice."""
    write_pool(world)
    table = Table()
    records = story(table)
    world.compact(records)
    change = label(table, "same")
    waiting = ["swap_head words"]

    with world.compactor("theirs") as other:

        def pause(number: int, call: str) -> None:
            if call in waiting:
                waiting.clear()
                other.compact(in_sqs([change]))

        with world.compactor("ours", store=WatchedStore(world.store, before=pause)) as machine:
            report = machine.compact(in_sqs([change]))

    words = next(each for each in report.collections if each.collection == "words")
    assert (2, False, {"no-op": 1}) == (words.attempts, words.published, words.outcomes)
    assert 3 == world.version()


def test_two_containers_cannot_share_a_workspace(world: World) -> None:
    """L6, C6: the second owner is refused and told who has it; nothing is answered for."""
    table = Table()
    with world.compactor() as first, world.compactor() as second:
        first.compact(in_sqs([label(table, "total")]))
        with pytest.raises(NotOwned, match="in use by process"):
            second.compact(in_sqs([label(table, "date")]))
    assert 2 == world.version()


def test_a_merge_that_lasts_longer_than_any_lock_is_published_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L4: a day goes by while A merges, and the queue hands its batch to B, who publishes it: it is published once."""
    write_pool(world)
    records, clock, merge = story(Table()), ManualClock(), ManagedClient.apply
    waiting = [lambda: world.compact(records)]

    def slow(self: ManagedClient, *given: Any, **named: Any) -> Any:
        clock.seconds += 86_400
        if waiting:
            assert 0 == waiting.pop()().failed
        return merge(self, *given, **named)

    monkeypatch.setattr(ManagedClient, "apply", slow)
    monkeypatch.setattr(Cycle, "_give_way", lambda *given: None)  # it would be for a good part of that day
    with world.compactor("slow") as made, Compactor(replace(made._around, clock=clock), made._root) as machine:
        report = machine.compact(in_sqs(records))

    assert (0, len(records)) == (report.failed, report.no_op + report.ignored + report.applied)
    assert {"words": 2, "lines": 2} == {name: world.version(name) for name in ("words", "lines")}
    expect_model(world, records, mirrored=False)
