"""Attribute values: what DynamoDB writes is read exactly, everything else is refused by name."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.attributes import decode, metadata_value, plain_number

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=4)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
LEAVES = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none(), st.binary())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@given(VALUES | st.sets(TEXTS, min_size=1) | st.sets(NUMBERS, min_size=1) | st.sets(st.binary(), min_size=1))
@settings(deadline=None)
def test_what_the_sdk_writes_is_read_back(value: object) -> None:
    """Decoding undoes the encoding of AWS's own library, for every type."""
    assert value == decode("x", TypeSerializer().serialize(value))


def test_binary_comes_as_base64_in_events() -> None:
    """A Lambda event is JSON: binary is base64 there."""
    assert b"\x00\xff" == decode("x", {"B": "AP8="})
    assert frozenset({b"\x00", b"\xff"}) == decode("x", {"BS": ["AA==", "/w=="]})


@pytest.mark.parametrize(
    "attribute",
    [
        None,
        "text",
        [],
        {},
        {"S": "a", "N": "1"},
        {"X": "a"},
        {"s": "a"},
        {"S": 1},
        {"S": None},
        {"S": "\ud83d"},
        {"N": 1},
        {"N": ""},
        {"N": "one"},
        {"N": "NaN"},
        {"N": "Infinity"},
        {"N": "1_000"},
        {"N": "0x10"},
        {"N": "\u0667"},
        {"N": "1E126"},
        {"N": "1E-131"},
        {"N": "1E9999999999"},
        {"BOOL": "true"},
        {"BOOL": 1},
        {"NULL": False},
        {"NULL": None},
        {"B": "no base64!"},
        {"B": 7},
        {"SS": "a"},
        {"SS": [1]},
        {"NS": [1]},
        {"BS": ["?"]},
        {"L": {"S": "a"}},
        {"L": ["a"]},
        {"M": []},
        {"M": {"a": "b"}},
    ],
)
def test_what_dynamodb_does_not_write_is_refused_by_name(attribute: object) -> None:
    """A malformed attribute is bad input that names the attribute."""
    with pytest.raises(BadInput, match="attribute 'title' is not in DynamoDB's JSON: expected"):
        decode("title", attribute)


def test_nesting_is_bounded() -> None:
    """Lists and maps nest as deep as DynamoDB's do, and no deeper."""
    value: object = {"S": "deep"}
    for _ in range(32):
        value = {"L": [value]}
    decode("x", value)

    with pytest.raises(BadInput, match="at most 32 levels"):
        decode("x", {"M": {"a": value}})


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({"S": "a"}, "a"),
        ({"S": ""}, ""),
        ({"BOOL": False}, False),
        ({"N": "7"}, 7),
        ({"N": "-7"}, -7),
        ({"N": "7.0"}, 7),
        ({"N": "1E2"}, 100),
        ({"N": "-0"}, 0),
        ({"N": "7.5"}, 7.5),
        ({"N": "0.1"}, 0.1),
        ({"N": "1E-130"}, 1e-130),
        ({"N": str(2**63 - 1)}, 2**63 - 1),
        ({"N": str(-(2**63))}, -(2**63)),
        ({"NULL": True}, None),
    ],
)
def test_metadata_takes_text_booleans_and_numbers(attribute: dict[str, object], value: object) -> None:
    """A number is an integer if it is whole, else a float; NULL is nothing."""
    taken = metadata_value("x", attribute)

    assert (value, type(value)) == (taken, type(taken))


@given(NUMBERS)
@settings(deadline=None)
def test_a_number_becomes_the_nearest_that_chroma_keeps(number: Decimal) -> None:
    """A whole number is exact or refused; any other is the nearest float, and finite."""
    whole = number == number.to_integral_value()
    if whole and not -(2**63) <= number < 2**63:
        with pytest.raises(BadInput):
            metadata_value("x", {"N": str(number)})
    else:
        taken = metadata_value("x", {"N": str(number)})
        assert taken == (int(number) if whole else float(number))
        assert math.isfinite(taken)


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        ({"B": "AP8="}, "binary"),
        ({"SS": ["a"]}, "a set of text"),
        ({"NS": ["1"]}, "a set of numbers"),
        ({"BS": ["AA=="]}, "a set of binaries"),
        ({"L": []}, "a list"),
        ({"M": {}}, "a map"),
        ({"N": str(2**63)}, "a whole number beyond 64 bits"),
        ({"N": str(-(2**63) - 1)}, "a whole number beyond 64 bits"),
        ({"N": "1E20"}, "a whole number beyond 64 bits"),
    ],
)
def test_what_metadata_cannot_hold_is_refused_without_its_content(attribute: dict[str, object], kind: str) -> None:
    """L16: what Chroma would refuse or change is bad input; the message names the attribute, never the value."""
    with pytest.raises(BadInput) as refused:
        metadata_value("price", attribute)

    assert f"attribute 'price' is {kind}, which" in refused.value.message
    assert "9223372036854775" not in str(refused.value)


@pytest.mark.parametrize(
    ("number", "text"),
    [("100", "100"), ("1E2", "100"), ("1.50", "1.5"), ("0.0", "0"), ("-0", "0"), ("-1.20E-3", "-0.0012"), ("1.0", "1")],
)
def test_number_keys_are_spelt_plainly(number: str, text: str) -> None:
    """A number key is matched in plain decimal form."""
    decoded = decode("x", {"N": number})

    assert isinstance(decoded, Decimal)
    assert text == plain_number(decoded)
