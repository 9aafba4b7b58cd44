"""The sizing model beside a simulation, its bounds, its bill, and the page that is written from it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import scale
from benchmarks.constants import FILE, constants
from benchmarks.contention import Contended, contend
from benchmarks.page import RESULTS
from benchmarks.simulation import play
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.sizing.answer import size_up
from chroma_lifecycle.sizing.bulk import estimate
from chroma_lifecycle.sizing.demand import MEBIBYTE, Demand
from chroma_lifecycle.sizing.measured import measured
from chroma_lifecycle.sizing.model import MONTH_SECONDS, Model
from chroma_lifecycle.sizing.prices import Prices

DEMANDS = st.builds(
    Demand,
    vectors=st.integers(1, 10**9),
    dimension=st.integers(2, 4_096),
    changes_per_second=st.floats(0, 1_000),
    vectors_per_second=st.floats(0, 100),
    readers=st.integers(0, 100),
    window_seconds=st.floats(1, 300),
)


@pytest.mark.parametrize(("demand", "hours"), scale.PLAYED, ids=str)
def test_the_model_is_within_a_tenth_of_a_simulation(demand: Demand, hours: float) -> None:
    """Cycles and busy time, from one change in two minutes to three hundred in a second."""
    played = play(demand, measured(), hours=hours, spread=scale.measured_spread(), seed=7)
    one = Model(demand, measured()).shard(1)

    share = 3600 * hours / MONTH_SECONDS
    assert pytest.approx(one.cycles_per_month * share, rel=0.1) == played.cycles
    assert pytest.approx(one.cycle_seconds * one.cycles_per_month / MONTH_SECONDS, rel=0.1) == played.busy_share


def test_a_shard_that_cannot_keep_up_is_found_by_both() -> None:
    """The simulation's queue grows, and the model asks for more shards."""
    demand = Demand(30_000, 384, 12_000, 2_400)

    assert play(demand, measured(), hours=0.5, spread=(1.0, 1.0)).waiting > 100_000
    assert Model(demand, measured()).shard(1).busy_share > 1
    assert size_up(demand, measured(), Prices()).decided_by == "time"


@given(DEMANDS)
def test_the_answer_holds_and_one_shard_fewer_would_not(demand: Demand) -> None:
    """Disk, memory and time, whichever decides."""

    def holds(shards: int) -> bool:
        one = Model(demand, measured()).shard(shards)
        room = 0.8 * 10_240 * MEBIBYTE
        return one.disk_bytes <= room and one.memory_bytes <= room and one.busy_share <= 0.7

    try:
        found = size_up(demand, measured(), Prices())
    except BadInput:
        assert not holds(4096)
        return
    assert holds(found.shards)
    assert found.shards == 1 or not holds(found.shards - 1)
    assert (found.decided_by == "nothing") == (found.shards == 1)


@given(DEMANDS, st.sampled_from(["vectors", "dimension", "changes_per_second", "vectors_per_second"]))
def test_more_of_anything_never_needs_fewer_shards(demand: Demand, name: str) -> None:
    """Which lets the search halve its way."""
    more = replace(demand, **{name: 2 * getattr(demand, name)})
    try:
        assert size_up(demand, measured(), Prices()).shards <= size_up(more, measured(), Prices()).shards
    except BadInput:
        with pytest.raises(BadInput):
            size_up(more, measured(), Prices())


def test_a_record_twice_as_heavy_halves_what_a_shard_holds() -> None:
    """Documents and metadata are what `--record-bytes` says."""
    light = size_up(Demand(10**7, 384, record_bytes=1_000), measured(), Prices())
    heavy = size_up(Demand(10**7, 384, record_bytes=1_000 + 2_536), measured(), Prices())

    assert pytest.approx(2, rel=0.2) == heavy.shards / light.shards


def test_nothing_changes_and_nothing_but_keeping_and_looking_is_paid() -> None:
    """No cycle, no message; the snapshot and its readers stay."""
    found = size_up(Demand(10**6, 384, 0, 0), measured(), Prices())
    paid = {cost.component: cost.dollars for cost in found.costs}

    assert (0, 0, 0) == (paid["Lambda"], paid["S3 requests"], paid["SQS and Pipes"])
    assert min(paid["S3 storage"], paid["readers"], paid["watching"]) > 0


def test_a_price_is_charged_where_it_belongs() -> None:
    """Twice the price of a write is twice the writes, and nothing else moves."""
    demand = Demand(10**5, 384, 1)
    before, after = (
        {cost.component: cost.dollars for cost in size_up(demand, measured(), prices).costs}
        for prices in (Prices(read=0.0), Prices.of({"read": 0.0, "write": 2 * Prices().write}))
    )

    assert pytest.approx(2 * before.pop("S3 requests")) == after.pop("S3 requests")
    assert before == after


def test_a_mirror_is_paid_by_what_moves() -> None:
    """Written, read by each reader, and held."""
    plain, mirrored = (
        size_up(Demand(10**5, 384, 1, readers=9, mirror=on), measured(), Prices()) for on in (False, True)
    )

    assert {cost.component for cost in mirrored.costs} - {cost.component for cost in plain.costs} == {"EFS"}


@pytest.mark.parametrize(
    ("given_prices", "told"),
    [({"rite": 1}, "no price 'rite'"), ({"write": "dear"}, "'dear'"), ({"write": -1}, "-1"), ({"write": True}, "True")],
)
def test_a_price_that_is_none_is_refused(given_prices: dict[str, object], told: str) -> None:
    """With the names that there are."""
    with pytest.raises(BadInput, match=told):
        Prices.of(given_prices)


@pytest.mark.parametrize("change", [{"vectors": 0}, {"dimension": 0}, {"changes_per_second": -1}, {"readers": 10**16}])
def test_a_number_out_of_range_is_refused(change: dict[str, int]) -> None:
    """By its name."""
    (name,) = change
    with pytest.raises(BadInput, match=name.replace("_", " ")):
        size_up(replace(Demand(1, 1), **change), measured(), Prices())


def test_what_no_number_of_shards_can_do_is_said() -> None:
    """With a way out."""
    with pytest.raises(BadInput, match="4,096 shards are not enough") as refused:
        size_up(Demand(10**12, 384), measured(), Prices())
    assert "server" in refused.value.hint


@given(st.integers(10**5, 10**8), st.integers(1, 128), st.integers(1, 64))
def test_a_build_in_more_shards_takes_less_work_but_more_beginnings(records: int, shards: int, workers: int) -> None:
    """A vector takes the longer, the more its index holds; and each task is a process that begins."""

    def seconds(records: int, shards: int, workers: int) -> float:
        return estimate(records, 384, shards, 8, workers, measured(), Prices()).seconds

    beginnings = measured().seconds_per_task
    whole, halves = seconds(records, shards, 1), seconds(records, 2 * shards, 1)
    assert halves < whole + shards * beginnings
    assert halves > whole / 2
    assert seconds(2 * records, shards, 1) > 2 * whole - shards * beginnings
    assert pytest.approx(whole / shards * -(-shards // workers)) == seconds(records, shards, workers)


def test_the_estimate_of_a_build_is_that_of_the_build_that_was_measured() -> None:
    """Within a fifth, of what the processors did."""
    bulk = json.loads(RESULTS.read_text())["bulk"]
    found = estimate(bulk["records"], bulk["dimension"], bulk["shards"], bulk["files"], 1, measured(), Prices())

    assert pytest.approx(bulk["ways"][2]["processor_seconds"], rel=0.2) == found.seconds


def crowd(functions: int, *, shards: int = 8, anywhere: bool = False) -> Contended:
    return contend(
        measured(),
        records=10**6,
        shards=shards,
        functions=functions,
        batches=160,
        labels=500,
        anywhere=anywhere,
        spread=(0.9, 1.1),
    )


def test_who_is_alone_loses_no_swap_and_is_as_fast_as_the_model() -> None:
    """A cycle of one shard for each batch; in all shards, one of each."""
    known = measured()
    alone = crowd(1)
    seconds = known.fixed_seconds + known.seconds_per_record * 10**6 / 8 + 500 * known.seconds_per_label
    assert (160, 0) == (alone.cycles, alone.lost)
    assert pytest.approx(500 / seconds, rel=0.05) == alone.labels_per_second
    assert (8 * 160, 0) == (crowd(1, anywhere=True).cycles, crowd(1, anywhere=True).lost)


def test_functions_that_share_a_shard_lose_swaps_and_every_batch_is_published() -> None:
    """The more of them, the more they lose; on one shard no number of them is faster than one."""
    found = [crowd(functions) for functions in (1, 2, 4, 8, 16)]
    assert [160] * 5 == [each.cycles for each in found]
    assert sorted({each.lost_share for each in found}) == [each.lost_share for each in found]
    assert sorted({each.labels_per_second for each in found}) == [each.labels_per_second for each in found]
    assert crowd(4, shards=1).labels_per_second <= 1.1 * crowd(1, shards=1).labels_per_second


def test_the_swaps_that_are_played_are_about_those_that_processes_lost() -> None:
    """To within a quarter of all swaps, of each of the queues that were drained here."""
    rows = [line.split(" | ") for line in scale.contended().splitlines()[2:]]
    for row in rows:
        cycles, lost, played = (float(cell.strip(" |")) for cell in row[3:])
        assert pytest.approx(lost / (cycles + lost), abs=0.25) == played / (cycles + played)


def test_the_constants_are_those_of_the_benchmarks() -> None:
    """``measured.json`` and ``docs/scale.md`` are written from ``docs/benchmarks.json``."""
    assert constants(json.loads(RESULTS.read_text())) == measured()
    assert FILE.exists()
    assert scale.PAGE.read_text() == scale.render(scale.PAGE.read_text())
