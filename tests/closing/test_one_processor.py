"""Short work is done on one processor, and nothing stays there."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext

import pytest

from chroma_lifecycle.chroma import one_processor
from chroma_lifecycle.chroma.one_processor import MOST_RECORDS, MOST_VECTORS, beside, on_one_processor
from chroma_lifecycle.planning.plan import Plan, Write

ALLOWED = os.sched_getaffinity(0)  # before any test of this module could leave another

several = pytest.mark.skipif(len(ALLOWED) < 2, reason="this machine has one processor")


@several
def test_this_thread_and_those_that_begin_in_the_block_are_on_one_processor() -> None:
    """Chroma's threads begin when it is opened, and are where the thread is that opens it."""
    found: list[set[int]] = []

    with on_one_processor():
        here = os.sched_getaffinity(0)
        one = threading.Thread(target=lambda: found.append(os.sched_getaffinity(0)))
        one.start()
        one.join()

    assert (1, [here]) == (len(here), found)


@several
@pytest.mark.parametrize("fails", [False, True])
def test_who_outlives_the_block_is_free_again(*, fails: bool) -> None:
    """Chroma keeps a thread for good; it, and this thread, may be moved by the system afterwards, whatever happened."""
    end = threading.Event()
    inside: list[int] = []

    def live() -> None:
        inside.append(len(os.sched_getaffinity(0)))
        begun.set()
        end.wait()

    begun, one = threading.Event(), threading.Thread(target=live)
    with pytest.raises(ZeroDivisionError) if fails else nullcontext(), on_one_processor():
        one.start()
        begun.wait()
        if fails:
            raise ZeroDivisionError
    after = os.sched_getaffinity(0), os.sched_getaffinity(one.native_id or 0)
    end.set()
    one.join()

    assert ([1], (ALLOWED, ALLOWED)) == (inside, after)


@several
def test_where_the_system_does_not_tell_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without /proc, or one that refuses, is no reason to fail."""
    for name, answer in (("_processor", lambda: None), ("allowed_processors", set)):
        with monkeypatch.context() as patch:
            patch.setattr(one_processor, name, answer)
            with on_one_processor():
                assert ALLOWED == os.sched_getaffinity(0)


def _ids(count: int) -> frozenset[str]:
    return frozenset(f"r{number}" for number in range(count))


@several
@pytest.mark.parametrize(
    ("plan", "is_held"),
    [
        (Plan(updates={"a": {"k": 1}}), True),
        (Plan(updates={key: {"k": 1} for key in _ids(MOST_RECORDS + 1)}), False),
        (Plan(writes=(Write("d", _ids(MOST_VECTORS), frozenset()),)), True),
        (Plan(writes=(Write("d", _ids(MOST_VECTORS), frozenset()),), deletes=("a",)), False),
    ],
    ids=["metadata", "much metadata", "vectors", "many vectors"],
)
def test_only_what_is_short_is_held(plan: Plan, *, is_held: bool) -> None:
    """What takes long is left to the system, which moves it to idle processors."""
    with beside(plan):
        found = os.sched_getaffinity(0)

    assert (1 if is_held else len(ALLOWED)) == len(found)
