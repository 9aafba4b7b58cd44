"""Items: which rule takes one, what its key is, and which records it reaches."""

from __future__ import annotations

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.mapping_file import parse_mapping
from chroma_lifecycle.intake.rules import MergeTarget
from chroma_lifecycle.values import ItemKey
from tests.support.mappings import CHUNK, DOC, HEAD, mapping_of

RULES = f"""
doc:
  {DOC}
  set: {{chunks: [title], docs: [title]}}
  removal_deletes: [docs, chunks]
chunk:
  {CHUNK}
  removal_deletes: [chunks]
run:
  item: {{PK: "TENANT#{{tenant}}", SK: "RUN#{{run}}"}}
  merge: {{chunks: {{delta: delta, state: state}}}}
"""
MAPPING = mapping_of(RULES)
NUMBERED = parse_mapping(
    """
mapping: 1
table: {partition_key: shop, sort_key: product}
collections: {products: "{shop:d}#{product:d}"}
rules:
  product:
    item: {shop: "{shop:d}", product: "{product:d}"}
    set: {products: [price]}
""",
    "test.yaml",
)


@pytest.mark.parametrize(
    ("partition", "sort", "rule"),
    [
        ("TENANT#t", "DOC#d", "doc"),
        ("TENANT#t", "DOC#d#CHUNK#000007", "chunk"),
        ("TENANT#t", "RUN#r", "run"),
        ("TENANT#t", "DOC#d#CHUNK#7", None),
        ("TENANT#t", "DOC", None),
        ("TENANT#t#DOC", "d", None),  # where one key ends is part of the key
        ("TENANT", "t#DOC#d", None),
        ("TENANT#", "DOC#d", None),
        ("tenant#t", "DOC#d", None),
    ],
)
def test_an_item_is_taken_by_the_rule_that_its_key_fits(partition: str, sort: str, rule: str | None) -> None:
    """At most one rule takes an item; an item that fits none is ignored."""
    match = MAPPING.match(ItemKey(partition, sort))

    assert rule == (None if match is None else match.rule.name)


def test_a_match_gives_the_values_as_the_key_spells_them() -> None:
    """Placeholders have their text, numbers with their padding."""
    match = MAPPING.match(ItemKey("TENANT#t", "DOC#d#CHUNK#000007"))

    assert match is not None
    assert {"tenant": "t", "doc": "d", "n": "000007"} == match.values


@pytest.mark.parametrize(
    ("sort", "collection", "reach"),
    [
        ("DOC#d#CHUNK#000007", "chunks", "TENANT#t#DOC#d#CHUNK#000007"),
        ("DOC#d", "docs", "TENANT#t#DOC#d"),
        ("DOC#d", "chunks", "TENANT#t#DOC#d"),
    ],
)
def test_an_item_reaches_one_id_or_all_below_a_prefix(sort: str, collection: str, reach: str) -> None:
    """The ids reached carry the values of the item's key."""
    match = MAPPING.match(ItemKey("TENANT#t", sort))

    assert match is not None
    assert reach == MAPPING.reach(match, collection)


def test_numbers_are_written_in_ids_as_the_ids_say() -> None:
    """A key may write a number in another width than the ids do; it is the same number."""
    mapping = mapping_of(
        """
        chunk:
          item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#CHUNK#{n:d}"}
          removal_deletes: [chunks]
        """
    )
    match = mapping.match(ItemKey("TENANT#t", "DOC#d#CHUNK#7"))

    assert match is not None
    assert "TENANT#t#DOC#d#CHUNK#000007" == mapping.reach(match, "chunks")


def test_in_exact_ordering_a_run_writes_below_its_partition_key() -> None:
    """Where sequences are compared between items, every id of a run begins with its partition key."""
    item = ItemKey("TENANT#t", "RUN#r")
    anywhere = mapping_of(RULES, head=HEAD + "ordering: to_the_second\n")
    exact, loose = MAPPING.match(item), anywhere.match(item)

    assert exact is not None
    assert loose is not None
    assert "TENANT#t" == MAPPING.below(exact)
    assert anywhere.below(loose) is None


@pytest.mark.parametrize(
    ("record_id", "fits"),
    [
        ("TENANT#t#DOC#d#CHUNK#000007", True),
        ("TENANT#t#DOC#d#CHUNK#7", False),
        ("TENANT#t#DOC#d", False),
        ("", False),
    ],
)
def test_ids_fit_the_pattern_of_their_collection(record_id: str, fits: bool) -> None:
    """A delta may hold ids of the collection's pattern and no others."""
    assert fits is MAPPING.fits("chunks", record_id)


@pytest.mark.parametrize(
    ("keys", "item"),
    [
        ({"PK": {"S": "TENANT#t"}, "SK": {"S": "DOC#d"}}, ItemKey("TENANT#t", "DOC#d")),
        ({"PK": {"S": "TENANT#t"}, "SK": {"N": "7"}}, ItemKey("TENANT#t", "7")),
        ({"PK": {"N": "1E+2"}, "SK": {"N": "-1.50"}}, ItemKey("100", "-1.5")),
        ({"PK": {"B": "AP8="}, "SK": {"S": "DOC#d"}}, None),
        ({"PK": {"S": "TENANT#t"}, "SK": {"B": "AP8="}}, None),
    ],
)
def test_the_key_of_an_item_is_read_from_its_key_attributes(keys: Image, item: ItemKey | None) -> None:
    """Text is taken as it is, a number in plain decimal form; binary fits no rule."""
    assert item == MAPPING.item_key(keys)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "the item's key attributes are missing, but the mapping's table has PK, SK"),
        ({"PK": {"S": "a"}}, "the item's key attributes are PK, but the mapping's table has PK, SK"),
        (
            {"id": {"S": "a"}, "at": {"N": "1"}},
            "the item's key attributes are at, id, but the mapping's table has PK, SK",
        ),
        ({"PK": {"S": "a"}, "SK": {"BOOL": True}}, "key attribute 'SK' is neither text, number nor binary"),
        (
            {"PK": {"S": 1}, "SK": {"S": "a"}},
            "attribute 'PK' is not in DynamoDB's JSON: expected text as the value of 'S'",
        ),
        (
            {"PK": {"S": "a\ud83d"}, "SK": {"S": "a"}},
            "attribute 'PK' is not in DynamoDB's JSON: expected text without lone surrogates",
        ),
    ],
)
def test_another_key_than_the_tables_is_bad_input(keys: Image, told: str) -> None:
    """An event of another table is told from one that the mapping ignores."""
    with pytest.raises(BadInput) as refused:
        MAPPING.item_key(keys)

    assert told == refused.value.message


def test_a_table_without_a_sort_key_has_keys_of_one_part() -> None:
    """An event with a sort key does not belong to such a table: two items would look like one."""
    mapping = parse_mapping(
        "mapping: 1\ntable: {partition_key: id}\ncollections: {products: 'P#{id}'}\n"
        "rules: {product: {item: {id: 'P#{id}'}, set: {products: [price]}}}",
        "test.yaml",
    )

    assert ItemKey("P#7") == mapping.item_key({"id": {"S": "P#7"}})
    assert "id=P#7" == mapping.spell(ItemKey("P#7"))
    assert ItemKey("P#7") == mapping.key_of("product", {"id": "7"})
    assert mapping.match(ItemKey("P#7")) is not None
    with pytest.raises(BadInput, match=r"the mapping's table has id \(hint"):
        mapping.item_key({"id": {"S": "P#7"}, "at": {"N": "1"}})


@pytest.mark.parametrize("number", [7, "7", "000007", "0000000007"])
def test_a_flat_message_names_its_item_by_the_values_of_its_key(number: int | str) -> None:
    """Numbers come as numbers or as text, padded or not; other fields are left alone."""
    values = {"tenant": "t", "doc": "d", "n": number, "word": "else"}

    assert ItemKey("TENANT#t", "DOC#d#CHUNK#000007") == MAPPING.key_of("chunk", values)


def test_a_number_key_is_written_as_the_pattern_says() -> None:
    """A key that is a number is matched, and made, in plain decimal form."""
    assert ItemKey("3", "7") == NUMBERED.key_of("product", {"shop": 3, "product": "007"})
    assert NUMBERED.match(ItemKey("3", "7")) is not None
    assert NUMBERED.match(ItemKey("3", "07")) is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"tenant": "t", "doc": "d"}, "the key of an item of rule 'chunk' needs {n}, which is missing"),
        ({"tenant": "t", "doc": None, "n": 1}, "the key of an item of rule 'chunk' needs {doc}, which is missing"),
        (
            {"tenant": "t", "doc": "d", "n": 1.0},
            "the key of an item of rule 'chunk' needs {n}, which is neither text nor a whole number",
        ),
        (
            {"tenant": "t", "doc": "d", "n": True},
            "the key of an item of rule 'chunk' needs {n}, which is neither text nor a whole number",
        ),
        ({"tenant": "t", "doc": "d", "n": -1}, "the key of an item of rule 'chunk': '-1' does not fit {n:06d}"),
        ({"tenant": "t", "doc": "d#e", "n": 1}, "the key of an item of rule 'chunk': 'd#e' does not fit {doc}"),
        ({"tenant": "", "doc": "d", "n": 1}, "the key of an item of rule 'chunk': '' does not fit {tenant}"),
        (
            {"tenant": "\ud83d", "doc": "d", "n": 1},
            "attribute 'tenant' is not in DynamoDB's JSON: expected text without lone surrogates",
        ),
    ],
)
def test_a_value_that_makes_no_key_is_bad_input(values: dict[str, int | str], told: str) -> None:
    """A flat message that does not tell its item is refused with the placeholder's name."""
    with pytest.raises(BadInput) as refused:
        MAPPING.key_of("chunk", values)

    assert told == refused.value.message


RUN = MergeTarget(delta="delta", state="state")
PENDING: Image = {"state": {"S": "PENDING"}, "delta": {"S": "runs/1"}}
COMPLETED: Image = {"state": {"S": "COMPLETED"}, "delta": {"S": "runs/1"}}
ANOTHER: Image = {"state": {"S": "PENDING"}, "delta": {"S": "runs/2"}}


@pytest.mark.parametrize(
    ("new", "old", "begun"),
    [
        (PENDING, None, "runs/1"),
        (PENDING, {}, "runs/1"),
        (PENDING, COMPLETED, "runs/1"),
        (PENDING, ANOTHER, "runs/1"),
        (PENDING, {"state": {"S": "PENDING"}}, "runs/1"),
        (PENDING, PENDING, None),
        ({**PENDING, "error": {"S": "no such object"}}, PENDING, None),  # D1a: our own error write
        (COMPLETED, PENDING, None),  # and our own status write
        ({"delta": {"S": "runs/1"}}, None, None),
        ({"state": {"NULL": True}}, None, None),
    ],
)
def test_a_run_begins_when_its_item_becomes_pending_with_an_address(
    new: Image, old: Image | None, begun: str | None
) -> None:
    """D1a: every event begins a run at most once, and what we write ourselves begins none."""
    assert begun == RUN.begun(new, old)


@pytest.mark.parametrize("delta", [{}, {"delta": {"S": ""}}, {"delta": {"N": "1"}}, {"delta": {"NULL": True}}])
def test_a_pending_run_without_an_address_is_bad_input(delta: Image) -> None:
    """A run that announces nothing is told, and not ignored."""
    with pytest.raises(BadInput, match="'state' is PENDING, but 'delta' holds no address"):
        RUN.begun({"state": {"S": "PENDING"}, **delta}, None)
