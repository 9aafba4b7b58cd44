"""What an item gives to the keys that its rule owns."""

from __future__ import annotations

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.mapping import Contribution, Fold
from chroma_lifecycle.values import ItemKey, Scalar
from tests.support.mappings import DOC, TAG, mapping_of

ITEM = ItemKey("TENANT#t", "DOC#d")
S, N, BOOL, NULL = "S", "N", "BOOL", "NULL"


def given(key: str, image: Image) -> dict[str, Scalar | None]:
    """What a document with *image* gives to the key that this line of a mapping sets."""
    mapping = mapping_of(f"doc:\n  {DOC}\n  set:\n    docs:\n      {key}\n")
    return {each.key: each.value for each in mapping.contributions("doc", "docs", ITEM, image)}


CHOICE = "kind: {from: kind, values: {a: first, 1: one, true: yes, 0.5: half}}"
CHOICE_OR = "kind: {from: kind, values: {a: first, 1: one, true: yes, 0.5: half}, otherwise: other}"


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({S: "a"}, "first"),
        ({S: "1"}, None),
        ({S: "true"}, None),
        ({N: "1"}, "one"),
        ({N: "1.0"}, "one"),
        ({N: "0.50"}, "half"),
        ({N: "2"}, None),
        ({N: "1E100"}, None),
        ({BOOL: True}, "yes"),
        ({BOOL: False}, None),
        ({NULL: True}, None),
        ({"SS": ["a"]}, None),
        ({"L": [{S: "a"}]}, None),
        ({"B": "AP8="}, None),
        (None, None),
    ],
)
def test_values_compare_type_and_value(attribute: dict[str, object] | None, value: str | None) -> None:
    """A listed value is met by the same type and value alone; `otherwise` is for all others and for none."""
    image = {} if attribute is None else {"kind": attribute}

    assert {"kind": value} == given(CHOICE, image)
    assert {"kind": value or "other"} == given(CHOICE_OR, image)


def test_yes_and_no_are_texts_in_a_mapping() -> None:
    """Only true and false are booleans, as in YAML 1.2; a country called NO stays text."""
    key = "country: {from: code, values: {NO: Norway, on: a switch, 2024-01-01: a day, 0o17: fifteen, 1_000: text}}"

    assert {"country": "Norway"} == given(key, {"code": {S: "NO"}})
    assert {"country": None} == given(key, {"code": {BOOL: False}})
    assert {"country": "a switch"} == given(key, {"code": {S: "on"}})
    assert {"country": "a day"} == given(key, {"code": {S: "2024-01-01"}})
    assert {"country": "fifteen"} == given(key, {"code": {N: "15"}})
    assert {"country": "text"} == given(key, {"code": {S: "1_000"}})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("5.0", 5.0),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("'true'", "true"),
        ("True", "True"),
        ("yes", "yes"),
        ("007", 7),
        ("0x1F", 31),
        ('"5"', "5"),
    ],
)
def test_a_constant_is_what_yaml_says(written: str, value: Scalar) -> None:
    """Every item gives the constant, with its type."""
    found = given(f"kind:\n        value: {written}", {})

    assert ({"kind": value}, type(value)) == (found, type(found["kind"]))


def test_an_attribute_is_copied_with_its_type() -> None:
    """Text, booleans and numbers are copied; NULL and a missing attribute give nothing."""
    keys = "a: a\n      b: b\n      c: c\n      d: d\n      e: e"
    image: Image = {"a": {S: "x"}, "b": {BOOL: False}, "c": {N: "7"}, "d": {NULL: True}, "other": {"M": {}}}

    assert {"a": "x", "b": False, "c": 7, "d": None, "e": None} == given(keys, image)


def test_otherwise_stands_in_for_a_missing_attribute() -> None:
    """A copy may have a default: it is used where the attribute is missing or NULL."""
    key = "language: {from: language, otherwise: unknown}"

    assert {"language": "de"} == given(key, {"language": {S: "de"}})
    assert {"language": "unknown"} == given(key, {})
    assert {"language": "unknown"} == given(key, {"language": {NULL: True}})


@pytest.mark.parametrize("tags", [{"SS": ["new", "red"]}, {"L": [{S: "red"}, {S: "new"}, {N: "5"}]}])
def test_members_make_one_key_for_each(tags: dict[str, object]) -> None:
    """A set or list of text gives true to the keys of its members; the others get `otherwise`."""
    assert {"is_new": True, "is_sale": None} == given("is_{member}: {from: tags, members: [new, sale]}", {"tags": tags})
    assert {"is_new": True, "is_sale": False} == given(
        "is_{member}: {from: tags, members: [new, sale], otherwise: false}", {"tags": tags}
    )


@pytest.mark.parametrize("image", [{}, {"tags": {NULL: True}}, {"tags": {S: "new"}}, {"tags": {"M": {"new": {S: ""}}}}])
def test_what_has_no_members_gives_otherwise(image: Image) -> None:
    """Only sets and lists have members."""
    assert {"is_new": None} == given("is_{member}: {from: tags, members: [new]}", image)
    assert {"is_new": False} == given("is_{member}: {from: tags, members: [new], otherwise: false}", image)


def test_a_value_that_no_record_takes_is_bad_input_of_its_item() -> None:
    """L16: the message names rule, item and attribute, and not the value."""
    with pytest.raises(BadInput) as refused:
        given("tags: tags", {"tags": {"SS": ["secret"]}})

    assert (
        "rule 'doc', item PK=TENANT#t, SK=DOC#d: attribute 'tags' is a set of text, which no record can hold"
        == refused.value.message
    )


CONDITIONS = [
    ("{status: live}", {"status": {S: "live"}}, True),
    ("{status: live}", {"status": {S: "dead"}}, False),
    ("{status: live}", {}, False),
    ("{status: [live, 1]}", {"status": {N: "1"}}, True),
    ("{status: [live, 1]}", {"status": {S: "1"}}, False),
    ("{status: [live, 1]}", {"status": {BOOL: True}}, False),
    ("{status: {not: [dead]}}", {"status": {S: "live"}}, True),
    ("{status: {not: [dead]}}", {"status": {S: "dead"}}, False),
    ("{status: {not: [dead]}}", {}, True),
    ("{status: {not: [dead]}}", {"status": {"SS": ["dead"]}}, True),
    ("{status: {present: true}}", {"status": {"SS": ["dead"]}}, True),
    ("{status: {present: true}}", {"status": {NULL: True}}, False),
    ("{status: {present: true}}", {}, False),
    ("{status: live, kind: {not: [draft]}}", {"status": {S: "live"}, "kind": {S: "final"}}, True),
    ("{status: live, kind: {not: [draft]}}", {"status": {S: "live"}, "kind": {S: "draft"}}, False),
]


@pytest.mark.parametrize(("when", "image", "holds"), CONDITIONS)
def test_conditions_decide_whether_an_item_contributes(when: str, image: Image, holds: bool) -> None:
    """All conditions must hold; otherwise the keys stay owned and get nothing."""
    mapping = mapping_of(f"doc:\n  {DOC}\n  set: {{docs: {{a: {{value: 1}}, b: b}}}}\n  when: {when}\n")
    image = {**image, "b": {S: "x"}}

    expected = {"a": 1, "b": "x"} if holds else {"a": None, "b": None}
    assert expected == {each.key: each.value for each in mapping.contributions("doc", "docs", ITEM, image)}


def test_an_item_that_does_not_contribute_cannot_be_bad_input() -> None:
    """Where the conditions fail, the values are not looked at."""
    mapping = mapping_of(f"doc:\n  {DOC}\n  set: {{docs: [tags]}}\n  when: {{status: live}}\n")

    (given,) = mapping.contributions("doc", "docs", ITEM, {"status": {S: "dead"}, "tags": {"SS": ["a"]}})
    assert Contribution("tags", None, None) == given


TAGS = f"""
tag:
  {TAG}
  set:
    docs:
      tag_{{tag}}: {{from: weight}}
      tags: {{value: true, fold: count}}
doc:
  {DOC}
  set:
    docs: [tag_main]
"""


def test_names_come_from_the_items_key() -> None:
    """A templated name is filled from the key, and owned with or without a value."""
    mapping = mapping_of(TAGS)
    item = ItemKey("TENANT#t", "DOC#d#TAG#red")

    assert {Contribution("tag_red", 5, None), Contribution("tags", True, Fold("count"))} == set(
        mapping.contributions("tag", "docs", item, {"weight": {N: "5"}})
    )
    assert {Contribution("tag_red", None, None), Contribution("tags", None, Fold("count"))} == set(
        mapping.contributions("tag", "docs", item, None)
    )


def test_a_fixed_name_beats_a_templated_one() -> None:
    """A tag called `main` has no key of its own where another rule owns `tag_main`."""
    mapping = mapping_of(TAGS)
    item = ItemKey("TENANT#t", "DOC#d#TAG#main")

    assert ["tags"] == [each.key for each in mapping.contributions("tag", "docs", item, {"weight": {N: "5"}})]
    assert ["tag_main"] == [each.key for each in mapping.contributions("doc", "docs", ITEM, {})]


def test_a_fixed_name_beats_a_templated_one_in_its_own_collection_only() -> None:
    """Collections know nothing of each other's names."""
    mapping = mapping_of(
        f"""
        tag:
          {TAG}
          set: {{docs: {{"tag_{{tag}}": weight}}, chunks: {{"tag_{{tag}}": weight}}}}
        doc:
          {DOC}
          set: {{docs: [tag_main]}}
        """
    )
    item = ItemKey("TENANT#t", "DOC#d#TAG#main")

    assert () == mapping.contributions("tag", "docs", item, {})
    assert ["tag_main"] == [each.key for each in mapping.contributions("tag", "chunks", item, {})]


def test_a_rule_contributes_only_where_it_sets() -> None:
    """In a collection that a rule does not name it owns nothing."""
    assert () == mapping_of(TAGS).contributions("tag", "chunks", ItemKey("TENANT#t", "DOC#d#TAG#red"), {})


def test_what_a_rule_reads_is_what_sets_and_conditions_name() -> None:
    """The attributes that a fact keeps: those of the keys in that collection, and those of the conditions."""
    mapping = mapping_of(
        f"""
        doc:
          {DOC}
          set:
            docs: [title]
            chunks: {{kind: {{value: doc}}, "is_{{member}}": {{from: tags, members: [a, b]}}}}
          when: {{status: live}}
          merge: {{docs: {{delta: address, state: state}}}}
          removal_deletes: [docs]
        """
    )
    rule = mapping.rules["doc"]

    assert {"title", "status"} == mapping.reads(rule, "docs")
    assert {"tags", "status"} == mapping.reads(rule, "chunks")


def test_a_rule_that_sets_nothing_reads_nothing() -> None:
    """Deleting and merging need no attributes to be kept."""
    mapping = mapping_of(f"doc:\n  {DOC}\n  removal_deletes: [docs]\n")

    assert frozenset() == mapping.reads(mapping.rules["doc"], "docs")
