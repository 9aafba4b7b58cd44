"""L5: those who lost a swap together wait for different times."""

from __future__ import annotations

from chroma_lifecycle.clock import jitter


def test_a_pause_is_drawn_anew_between_nothing_and_the_most() -> None:
    """L5: a hundred draws differ, lie within the bounds, and reach both halves of them."""
    drawn = [jitter(2.0) for _ in range(100)]

    assert 100 == len(set(drawn))
    assert 0.0 <= min(drawn) < 1.0 < max(drawn) <= 2.0
    assert 0.0 == jitter(0.0)
