"""Swaps, many of them, under readers that never pause: nothing fails, nothing is mixed, nothing piles up."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import structlog

from chroma_lifecycle.clock import SYSTEM_CLOCK, wait_until
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.reader import SnapshotReader
from tests.reader.conftest import MakeReader
from tests.support.crowd import Crowd, Publisher, expect_true, percentile
from tests.support.news import News, said_by, seen_by
from tests.support.table import Table, in_sqs
from tests.support.world import World, begins

SWAPS = 8


@pytest.fixture(autouse=True)
def quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))


def test_eight_threads_query_through_swaps(news: News, read: MakeReader) -> None:
    """No query fails or sees a mixture; no thread ever goes back; the last version comes without being asked for."""
    reader = read(check_seconds=0.01, background=True)
    crowd = Crowd(reader, news.world)
    seen_by(reader)
    with crowd.asking():
        for _ in range(SWAPS):
            version = news.publish()
            with reader.at_least(version, timeout_seconds=60) as words:
                assert version == words.version

    assert [] == crowd.failures
    for answers in crowd.answers:
        versions = [answer.version for answer in answers]
        assert sorted(versions) == versions
    expect_true(crowd.all_answers(), range(2, version + 1))
    assert len({answer.version for answer in crowd.all_answers()}) > 2
    assert (version, None, 0) == (reader.status().version, reader.status().problem, reader.status().older_in_use)


def used(world: World) -> dict[str, int]:
    """Return what this process and the reader's workspace hold now."""
    gc.collect()
    process, files = psutil.Process(), [path for path in (world.home / "reader").rglob("*") if path.is_file()]
    return {
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "files": len(files),
        "disk": sum(path.stat().st_size for path in files),
        "memory": process.memory_info().rss,
    }


def swap_often(news: News, reader: SnapshotReader, swaps: int, warm: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return what is held after the first *warm* swaps, and after all."""
    before: dict[str, int] = {}
    for number in range(swaps):
        version = news.publish()
        with reader.at_least(version) as words:
            assert version == said_by(words)
        if number == warm:
            before = used(news.world)
    return before, used(news.world)


def test_swaps_leave_nothing_behind(news: News, read: MakeReader) -> None:
    """After each swap the workspace holds one pristine copy and one that is served; descriptors are as before."""
    before, after = swap_often(news, read(), SWAPS, 3)

    def grown() -> dict[str, int]:
        after.update(used(news.world))
        return {what: after[what] - before[what] for what in ("descriptors", "threads", "files")}

    # Pools of the engine come and go, later on a busy machine; what is lost with every swap shows more, and stays.
    wait_until(lambda: max(grown().values()) < SWAPS - 3, timeout_seconds=20.0, poll_seconds=0.5)
    assert max(grown().values()) < SWAPS - 3, (before, after)


@pytest.mark.soak
def test_five_hundred_swaps_leave_nothing_behind(news: News, read: MakeReader) -> None:
    """Descriptors, threads, files are as after the first fifty; memory and disk do not grow with the swaps."""
    before, after = swap_often(news, read(), 500, 50)

    print("after 50 swaps:", before)
    print("after 500 swaps:", after)
    for what in ("descriptors", "threads", "files"):
        assert abs(after[what] - before[what]) <= 2, (what, before, after)
    assert after["memory"] - before["memory"] < 64 << 20
    assert after["disk"] < 2 * before["disk"]


RECORDS, DIMENSION, SECONDS, INTERVAL = 10_000, 384, 180.0, 2.0


def fill(world: World, news: News) -> None:
    """Publish many records beside the eight that tell the version."""
    chance = np.random.default_rng(1)
    with DeltaWriter(world.home / "deltas" / "many.parquet", dimension=DIMENSION) as writer:
        for start in range(0, RECORDS, 1_000):
            ids = [f"IMAGE#m#RECEIPT#00001#LINE#00001#WORD#{number:05d}" for number in range(start, start + 1_000)]
            vectors = chance.random((1_000, DIMENSION), np.float32) + 10
            writer.add(ids, vectors, [f"text of {id_}" for id_ in ids], [{"x": 1}] * 1_000)
    run = Table().put("IMAGE#m", "RECEIPT#00001#COMPACTION_RUN#many", **begins("many"))
    assert 1 == news.machine.compact(in_sqs([run])).applied


@pytest.mark.soak
@pytest.mark.parametrize("background", [True, False], ids=["in the background", "by the readers"])
def test_minutes_of_queries_while_a_version_a_second_is_published(tmp_path: Path, background: bool) -> None:
    """Eight threads query for minutes while another process publishes every second: no query fails, no answer is
    older than the interval and the time of a refresh, descriptors and memory are flat.
    """
    world = World(tmp_path / "world", dimension=DIMENSION).begin()
    with world.compactor() as machine:
        news = News(world, machine)
        news.first()
        fill(world, news)
        before = news.publish()
    publisher = Publisher(world, 1.0)
    with SnapshotReader(
        world.store, "words", workspace=world.home / "reader", check_seconds=INTERVAL, background=background
    ) as reader:
        crowd = Crowd(reader, world)
        with publisher.publishing(), crowd.asking():
            held = watch(world, reader, publisher)
        status = reader.status()
    assert [] == crowd.failures
    answers = crowd.all_answers()
    expect_true(answers, [before, *(version for _, version in publisher.published)])
    stale = max(publisher.staleness(answer) for answer in answers[:: max(1, len(answers) // 20_000)])
    swaps = len({answer.version for answer in answers})
    print(f"{len(answers):,} queries, {len(publisher.published)} versions published, {swaps} served")
    print("ms at 50, 99, 99.9 %, most:", *(round(percentile(answers, share), 1) for share in (0.5, 0.99, 0.999, 1.0)))
    print(f"stale at most {stale:.2f} s at an interval of {INTERVAL:g} s")
    print("held:", *held, sep="\n")
    assert status.problem is None
    assert swaps > SECONDS / INTERVAL / 2
    assert stale < INTERVAL + 5.0
    for what in ("descriptors", "threads", "files"):
        assert abs(held[-1][what] - held[0][what]) <= 16, (what, held)  # a swap may be under way
    # glibc keeps an arena for each thread, which takes some fifty swaps to fill (docs/reading.md).
    assert held[-1]["memory"] - held[2]["memory"] < 128 << 20


def watch(world: World, reader: SnapshotReader, publisher: Publisher) -> list[dict[str, int]]:
    """Return what was held, from when versions have come for a while until the time is over."""
    held = []
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        enough: Callable[[], bool] = lambda share=share: len(publisher.published) >= share * SECONDS  # noqa: E731
        assert wait_until(enough, timeout_seconds=SECONDS * 4, poll_seconds=0.5)
        held.append(used(world) | {"moment": int(SYSTEM_CLOCK.monotonic()), "version": reader.status().version or 0})
    return held
