"""The few messages that spoil a batch are found by trying parts of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.batch.isolation import TRIALS, isolate
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoTime

PROBLEM = BadInput("refused", hint="")


class Engine:
    """Refuses what holds an offender, or both of two that do not go together."""

    def __init__(self, offenders: set[str], pairs: Sequence[set[str]] = ()) -> None:
        self.offenders, self.pairs, self.calls = offenders, pairs, 0

    def __call__(self, sources: Sequence[str]) -> LifecycleError | None:
        self.calls += 1
        assert len(set(sources)) == len(sources)
        spoilt = self.offenders & set(sources) or any(pair <= set(sources) for pair in self.pairs)
        return PROBLEM if spoilt else None


@given(st.integers(1, 200), st.data())
def test_every_message_ends_on_one_side(count: int, data: st.DataObject) -> None:
    """What is sound is taken together, each refused one beside it is not, and none is left out or told twice."""
    sources = [str(number) for number in range(count)]
    offenders = set(data.draw(st.lists(st.sampled_from(sources), min_size=1, max_size=4)))
    engine = Engine(offenders)

    found = isolate(sources, PROBLEM, engine, trials=10_000)

    assert (offenders, []) == (set(found.refused), found.untried)
    assert sorted(sources) == sorted([*found.sound, *found.refused])


@given(st.integers(2, 60), st.data())
def test_two_that_do_not_go_together_are_parted(count: int, data: st.DataObject) -> None:
    """The one that is tried later is refused; the other one and the rest are taken."""
    sources = [str(number) for number in range(count)]
    pair = set(data.draw(st.lists(st.sampled_from(sources), min_size=2, max_size=2, unique=True)))

    found = isolate(sources, PROBLEM, Engine(set(), [pair]), trials=10_000)

    assert {max(pair, key=sources.index)} == found.refused.keys()
    assert count - 1 == len(found.sound)


@pytest.mark.parametrize("count", [1, 2, 1_000, 10_000])
def test_one_offender_takes_as_many_trials_as_halvings(count: int) -> None:
    """That is what the default allows for the largest batch."""
    sources = [str(number) for number in range(count)]
    for offender in (sources[0], sources[count // 3], sources[-1]):
        engine = Engine({offender})

        found = isolate(sources, PROBLEM, engine)

        assert ({offender}, []) == (found.refused.keys(), found.untried)
        assert engine.calls <= 2 * max(1, count - 1).bit_length() <= TRIALS


def test_trials_are_bounded() -> None:
    """What is not reached is handed back; what was found until then stands."""
    sources = [str(number) for number in range(1_000)]
    engine = Engine(set(sources[::7]))

    found = isolate(sources, PROBLEM, engine)

    assert TRIALS == engine.calls
    assert sorted(sources) == sorted([*found.sound, *found.refused, *found.untried])
    assert found.untried
    assert not engine.offenders & set(found.sound)
    assert found.refused.keys() <= engine.offenders


def test_the_end_of_time_ends_the_search() -> None:
    """Nothing more is tried after it."""
    calls = []

    def attempt(sources: Sequence[str]) -> LifecycleError | None:
        calls.append(sources)
        if len(calls) == 2:
            raise NoTime("late", hint="")
        return Corrupt("torn", hint="")

    found = isolate(["a", "b", "c", "d"], PROBLEM, attempt)

    assert 2 == len(calls)
    assert ([], {}, ["a", "b", "c", "d"]) == (found.sound, found.refused, found.untried)
