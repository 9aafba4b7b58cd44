"""Two patterns that can meet: a witness is found exactly where there is one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.intake.patterns import Pattern, Segment
from chroma_lifecycle.intake.witness import common_text

LITERALS = st.text("a0", max_size=2)
SEGMENTS = st.one_of(
    st.builds(Segment, LITERALS),
    st.builds(Segment, LITERALS, st.sampled_from("xy"), st.none(), LITERALS),
    st.builds(Segment, LITERALS, st.just("n"), st.sampled_from([0, 2]), LITERALS),
)
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=2).map(tuple).map(Pattern)
WORDS = [text for length in range(4) for text in map("".join, product("a01", repeat=length))]


def fitting(pattern: Pattern) -> set[str]:
    """Every short text over a small alphabet that the pattern matches."""
    texts = map("#".join, product(WORDS, repeat=len(pattern.segments)))
    return {text for text in texts if pattern.match(text) is not None}


@given(PATTERNS, PATTERNS)
@settings(max_examples=150, deadline=None)
def test_patterns_that_meet_have_a_witness(one: Pattern, other: Pattern) -> None:
    """Where any short text fits both, a text that fits both is found; one that is found fits both."""
    witness = common_text(one, other)

    if fitting(one) & fitting(other):
        assert witness is not None
    if witness is not None:
        assert one.match(witness) is not None
        assert other.match(witness) is not None


@pytest.mark.parametrize(
    ("one", "other", "witness"),
    [
        ("DOC#{d}", "DOC#{e}", "DOC#x"),
        ("DOC#{d}", "DOC#PLACE", "DOC#PLACE"),
        ("DOC#{n:05d}", "DOC#{d}", "DOC#11111"),
        ("DOC#{n:05d}", "DOC#{m:02d}", "DOC#11111"),
        ("DOC#{n:05d}", "DOC#{m:d}0", "DOC#11110"),
        ("DOC#{n:05d}", "DOC#0{m:d}", "DOC#01111"),
        ("{a}#{a}", "{b}#EDGE-{c}", "EDGE-x#EDGE-x"),
        ("{a}#x{a}", "{b}#{c}y", "xy#xxy"),
        ("{n:d}#{n:05d}", "{a}#0{b}", "1#00001"),
        ("v{a}", "{b}v", "vxv"),
        ("0#{a}", "{n:d}#{n:02d}", "0#00"),  # one spelling of a number says the other
        ("7#{a}", "{n:d}#{n:03d}", "7#007"),
        ("{a}#1{m:d}", "a{n:d}#{n:02d}", "a11#11"),
        ("{a}#7{m:d}7", "{n:02d}#{n:d}", "717#717"),
        ("{a}0#0{b}", "{n:03d}#{n:02d}", "000#00"),
        ("ab{a}#a", "{b}bc#{b}", "abc#a"),  # what stands around the placeholders overlaps
        ("a{x}#{x}a", "{y}#{y}", "aa#aa"),  # a placeholder that repeats its neighbour
        ("a{x}#{x}a#{x}", "{y}#{y}#aaaa", "aaaaa#aaaaa#aaaa"),
    ],
)
def test_a_witness_is_short(one: str, other: str, witness: str) -> None:
    """The witness can be read: it fills in as little as it can."""
    assert witness == common_text(Pattern.parse(one), Pattern.parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("DOC#{d}", "DOC#{d}#PLACE"),
        ("DOC#{d}", "RUN#{d}"),
        ("DOC#{n:05d}", "DOC#PLACE"),
        ("DOC#{n:05d}", "DOC#0{m:05d}"),
        ("07#{a}", "{n:d}#{n:02d}"),
        ("{a}#8", "7{n:d}#{n:02d}"),
        ("a{x}", "b{y}"),
        ("{x}a", "{y}b"),
        ("ab{x}", "ab"),
        ("{a}#{a}", "{b}#META-{b}"),
        ("{n:d}#{n:05d}", "7#A"),
        ("a{x}#{x}a", "{y}#b{y}"),
    ],
)
def test_patterns_that_cannot_meet_have_none(one: str, other: str) -> None:
    """No witness is invented."""
    assert common_text(Pattern.parse(one), Pattern.parse(other)) is None
    assert common_text(Pattern.parse(other), Pattern.parse(one)) is None
