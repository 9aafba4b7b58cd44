"""What cycles took decides what the next one may begin."""

from __future__ import annotations

from chroma_lifecycle.batch.pace import RESERVE_TIMES, Pace


def test_the_reserve_follows_the_longest_of_the_last_publishes() -> None:
    """S1: at least the setting; a slow publish raises it, and is forgotten after some quick ones."""
    pace = Pace(10.0)
    assert 10.0 == pace.reserve_seconds

    pace.note({"seal": 2.0, "publish": 6.0, "apply": 50.0}, 10)
    assert RESERVE_TIMES * 8.0 == pace.reserve_seconds

    for _ in range(16):
        pace.note({"seal": 0.1, "publish": 0.1}, 10)
    assert 10.0 == pace.reserve_seconds


def test_a_plan_gets_the_share_that_there_is_time_for() -> None:
    """L14: what is kept in reserve is not spent; a plan of metadata alone is not cut."""
    pace = Pace(10.0)
    pace.note({"apply": 20.0}, 1_000)  # 20 ms a record
    pace.note({"apply": 2.0}, 1)  # the opening alone

    assert 1.0 == pace.share(1_000, float("inf"))
    assert 1.0 == pace.share(1_000, 32.0)
    assert 0.5 == pace.share(1_000, 22.0)
    assert 0.0 == pace.share(1_000, 5.0)
    assert 1.0 == pace.share(0, 12.0)


def test_a_publish_without_records_says_nothing_of_the_engine() -> None:
    """The ledger alone is written in no time."""
    pace = Pace(1.0)
    before = pace.share(1_000, 3.0)

    pace.note({"apply": 0.0}, 0)

    assert before == pace.share(1_000, 3.0)
