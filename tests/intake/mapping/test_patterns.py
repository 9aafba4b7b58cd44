"""Patterns: what fits, what formatting writes, and that one undoes the other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.patterns import Pattern, Segment

WORD = Pattern.parse("IMAGE#{image_id}#RECEIPT#{receipt_id:05d}")

TEXT = st.text(st.characters(exclude_characters="#{}", exclude_categories=("Cs",)), max_size=4)
SEGMENTS = st.one_of(
    st.builds(Segment, TEXT),
    st.builds(Segment, TEXT, st.sampled_from(["a", "b"]), st.none(), TEXT),
    st.builds(Segment, TEXT, st.sampled_from(["n", "m"]), st.sampled_from([0, 1, 2, 5]), TEXT),
)
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=5).map(tuple).map(Pattern)
VALUES = st.fixed_dictionaries(
    {
        "a": TEXT.filter(bool),
        "b": TEXT.filter(bool),
        "n": st.integers(0, 10**7).map(str),
        "m": st.integers(0, 10**30).map(str),
    }
)


def plain(values: dict[str, str], pattern: Pattern) -> dict[str, str]:
    """The values of *pattern* alone, numbers without padding."""
    return {name: (values[name].lstrip("0") or "0") if name in "nm" else values[name] for name in pattern.names}


@given(PATTERNS, VALUES)
@settings(deadline=None)
def test_matching_undoes_formatting(pattern: Pattern, values: dict[str, str]) -> None:
    """What was formatted has one reading: the values that were put in."""
    read = pattern.match(pattern.format(values))

    assert read is not None
    assert plain(values, pattern) == plain(read, pattern)


@given(PATTERNS, VALUES)
@settings(deadline=None)
def test_formatting_undoes_matching(pattern: Pattern, values: dict[str, str]) -> None:
    """A text that fits is written again as it was, character by character."""
    text = pattern.format(values)
    read = pattern.match(text)

    assert read is not None
    assert text == pattern.format(read)


@given(PATTERNS)
@settings(deadline=None)
def test_a_pattern_is_written_as_it_is_parsed(pattern: Pattern) -> None:
    """The text of a pattern makes the same pattern."""
    if str(pattern):
        assert str(Pattern.parse(str(pattern))) == str(pattern)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("IMAGE#x#RECEIPT#00042", {"image_id": "x", "receipt_id": "00042"}),
        ("IMAGE#x#RECEIPT#123456", {"image_id": "x", "receipt_id": "123456"}),
        ("IMAGE#ü \n#RECEIPT#00000", {"image_id": "ü \n", "receipt_id": "00000"}),
    ],
)
def test_a_text_that_fits_gives_its_values(text: str, values: dict[str, str]) -> None:
    """Values are given as the key spells them."""
    assert values == WORD.match(text)


@pytest.mark.parametrize(
    "text",
    [
        "IMAGE#x#RECEIPT#42",  # not padded
        "IMAGE#x#RECEIPT#000042",  # padded too far
        "IMAGE#x#RECEIPT#+0042",
        "IMAGE#x#RECEIPT#-0042",
        "IMAGE#x#RECEIPT#4_200",
        "IMAGE#x#RECEIPT# 0042",
        "IMAGE#x#RECEIPT#00042\n",
        "IMAGE#x#RECEIPT#٠٠٠٤٢",  # digits, but not ASCII
        "IMAGE##RECEIPT#00042",  # a placeholder is never empty
        "IMAGE#x#y#RECEIPT#00042",  # and never holds '#'
        "image#x#RECEIPT#00042",
        "IMAGE#x#RECEIPT#00042#LINE#00001",
        "IMAGE#x",
    ],
)
def test_a_text_that_does_not_fit_is_told_apart(text: str) -> None:
    """Nothing but what formatting writes fits."""
    assert WORD.match(text) is None


def test_a_name_that_occurs_twice_has_one_value() -> None:
    """The same placeholder means the same, as a number also where it is padded differently."""
    assert {"a": "x"} == Pattern.parse("{a}#{a}").match("x#x")
    assert Pattern.parse("{a}#{a}").match("x#y") is None
    assert {"n": "7"} == Pattern.parse("{n:d}#{n:03d}").match("7#007")
    assert Pattern.parse("{n:d}#{n:03d}").match("7#008") is None


@pytest.mark.parametrize("given_as", ["7", "007", "00007", "0000000007"])
def test_a_number_may_come_padded_or_not(given_as: str) -> None:
    """Formatting pads a number as the pattern says, however it was given."""
    assert "N#00007" == Pattern.parse("N#{n:05d}").format({"n": given_as})


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("{a}", ""),
        ("{a}", "x#y"),
        ("{n:d}", "x"),
        ("{n:d}", ""),
        ("{n:d}", "-1"),
        ("{n:d}", "1.0"),
        ("{n:d}", "\u0667"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(pattern: str, value: str) -> None:
    """Formatting writes nothing that could not be read again."""
    with pytest.raises(BadInput, match="does not fit"):
        Pattern.parse(pattern).format({"a": value, "n": value})


def test_a_number_of_thousands_of_digits_is_a_number() -> None:
    """Numbers are compared as text, without Python's limit on their digits."""
    digits = "9" * 10_000

    assert {"n": digits} == Pattern.parse("{n:d}#{n:05d}").match(f"{digits}#{digits}")


@pytest.mark.parametrize(
    ("known", "beginning"),
    [
        (("image", "line", "word"), "I#{image}#L#{line:05d}#W#{word:05d}"),
        (("image", "line"), "I#{image}#L#{line:05d}"),
        (("image", "word"), "I#{image}"),
        (("line", "word"), None),
        ((), None),
    ],
)
def test_the_beginning_ends_with_the_last_known_placeholder(known: tuple[str, ...], beginning: str | None) -> None:
    """What a key can fill of an id is the id, a prefix of it, or nothing."""
    found = Pattern.parse("I#{image}#L#{line:05d}#W#{word:05d}").beginning(known)

    assert beginning == (None if found is None else str(found))


def test_texts_after_the_last_placeholder_belong_to_the_whole() -> None:
    """Where every placeholder is known, the beginning is all of it."""
    assert "D#{d}#v1" == str(Pattern.parse("D#{d}#v1").beginning(["d"]))
    assert "ROOT" == str(Pattern.parse("ROOT").beginning([]))


@pytest.mark.parametrize(
    "text", ["{a", "a}", "{}", "{a:}", "{a:5d}", "{a:0d}", "{a:05x}", "{a b}", "{1a}", "{{a}}", "{a!r}", "{a:0100d}"]
)
def test_what_is_no_placeholder_is_refused(text: str) -> None:
    """Braces mean placeholders and nothing else."""
    with pytest.raises(BadInput, match="brace that belongs to no placeholder"):
        Pattern.parse(text)
