"""A first mapping from a sample: what it guesses, and that it can always be used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import parse_mapping
from chroma_lifecycle.intake.sample import read_sample
from chroma_lifecycle.intake.shapes import guess_keys
from chroma_lifecycle.intake.sketch import sketch_mapping


def receipts() -> list[dict[str, Any]]:
    """A table like that of the shipped mapping."""
    items: list[dict[str, Any]] = []
    for receipt in ("RECEIPT#00001", "RECEIPT#00002"):
        items.append({"PK": "IMAGE#ab-1", "SK": receipt, "total": 12.5})
        items.append({"PK": "IMAGE#ab-1", "SK": f"{receipt}#PLACE", "merchant_name": "Shop"})
        run = {"words_delta_prefix": "deltas/a.parquet", "words_state": "PENDING"}
        items.append({"PK": "IMAGE#ab-1", "SK": f"{receipt}#COMPACTION_RUN#u-1", **run})
        for word in ("WORD#00001", "WORD#00002", "WORD#00003"):
            key = f"{receipt}#LINE#00001#{word}"
            items.append({"PK": "IMAGE#ab-1", "SK": key, "text": "x", "tags": ["b", "a"], "box": {"x": 1}})
            items.append({"PK": "IMAGE#ab-1", "SK": f"{key}#LABEL#TOTAL", "validation_status": "VALID"})
    return items


def sketched(items: list[Any], **how: str) -> tuple[str, TableMapping]:
    sample = read_sample(json.dumps(items), "sample")
    text = sketch_mapping(sample, guess_keys(sample), **how)
    return text, parse_mapping(text, "mapping")


def test_the_parts_of_the_key_become_patterns() -> None:
    """Words stay, values become placeholders; zeros in front make a number of that width."""
    _, mapping = sketched(receipts(), records="word")

    assert {"words": "IMAGE#{image}#RECEIPT#{receipt:05d}#LINE#{line:05d}#WORD#{word:05d}"} == {
        name: str(pattern) for name, pattern in mapping.ids.items()
    }
    assert {"compaction_run", "word", "label", "receipt", "place"} == set(mapping.rules)


def test_a_run_is_known_by_its_state_and_its_delta() -> None:
    """An attribute that says PENDING, and one with an address."""
    text, mapping = sketched(receipts(), records="word")

    assert ["compaction_run"] == [rule.name for rule in mapping.rules.values() if rule.merges]
    assert "words: {delta: words_delta_prefix, state: words_state}" in text


def test_several_items_of_one_record_get_keys_of_their_own() -> None:
    """A word has many labels: the label's name is in the key, so none of them overwrites another."""
    text, _ = sketched(receipts(), records="word")

    assert '"label_{label}": validation_status' in text


def test_only_what_the_id_begins_with_deletes_records() -> None:
    """A receipt takes its words along; a place, which is below no word, does not."""
    text, mapping = sketched(receipts(), records="word")

    deleting = {rule.name for rule in mapping.rules.values() if rule.removal_deletes}
    assert {"receipt", "word"} == deleting
    assert "box: a record can hold text, numbers and booleans only" in text
    assert '"tags_{member}": {from: tags, members: [a, b]}' in text


def test_a_run_of_another_partition_needs_the_other_ordering() -> None:
    """As in a catalogue, whose runs are in no product's partition."""
    product = [{"PK": f"PRODUCT#{number}", "price": number} for number in range(3)]
    run = {"PK": "RUN#r", "delta_address": "s3://bucket/run.parquet", "state": "COMPLETED"}

    text, mapping = sketched([*product, run])

    assert "ordering: to_the_second" in text
    assert ("PRODUCT#{product:d}", ["run"]) == (
        str(mapping.ids["products"]),
        [rule.name for rule in mapping.rules.values() if rule.merges],
    )


def test_without_a_run_its_form_is_shown() -> None:
    """The newcomer sees what an embedding job has to write, and can take the comment marks away."""
    text, _ = sketched([{"PK": f"DOC#{number}", "SK": "META", "title": "t"} for number in range(2)])

    lines = text.splitlines()
    begin = next(at for at, line in enumerate(lines) if line == "#  run:")
    lines[begin : begin + 4] = [line[1:] for line in lines[begin : begin + 4]]
    mapping = parse_mapping("\n".join(lines), "mapping")
    assert ["run"] == [rule.name for rule in mapping.rules.values() if rule.merges]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Items": [{"PK": {"S": "A#1"}, "n": {"N": "3"}}], "Count": 1}),
        json.dumps([{"PK": "A#1", "n": 3}]),
        '{"Item": {"PK": {"S": "A#1"}, "n": {"N": "3"}}}\n{"Item": {"PK": {"S": "A#1"}, "n": {"N": "3"}}}\n',
        '{"PK": "A#1", "n": 3}\n\n{"PK": "A#1", "n": 3}',
        json.dumps({"PK": "A#1", "n": 3}),
    ],
    ids=["a scan", "a list", "an export", "lines", "one item"],
)
def test_items_are_read_in_every_form(text: str) -> None:
    """What a scan prints, what an export to S3 holds, and plain JSON."""
    items = read_sample(text, "sample")

    assert all({"PK": "A#1", "n": 3} == dict(item) for item in items)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "holds no items"),
        ('["x"]', "an item is an object of attributes, got a text"),
        ('{"a": 1}\n{"b"', "cannot be read"),
    ],
)
def test_what_holds_no_items_is_told(text: str, expected: str) -> None:
    """With the name of the file, and the commands that make a sample."""
    with pytest.raises(BadInput, match=expected) as refused:
        read_sample(text, "sample.json")

    assert "sample.json" in refused.value.message
    assert "aws dynamodb scan" in refused.value.hint


def test_a_key_that_cannot_be_told_is_asked_for() -> None:
    """No attribute tells the items apart, or one of them lacks it."""
    with pytest.raises(BadInput, match="key"):
        sketched([{"a": "1"}, {"a": "1"}])
    with pytest.raises(BadInput, match="no text or number in its key attribute 'b'"):
        sketch_mapping(read_sample('[{"a": "1"}]', "sample"), ["b"])
    with pytest.raises(BadInput, match="are called 'x'") as refused:
        sketched(receipts(), records="x")
    assert "word" in refused.value.hint


PARTS = st.sampled_from(
    ["USER", "ORDER", "LINE", "u", "7", "007", "member", "a-b", "ä", "", "x{y}", "{z}", "LONG_WORD"]
)
KEYS = st.lists(PARTS, min_size=1, max_size=5).map("#".join)
NAMES = st.one_of(
    st.sampled_from(["title", "state", "delta", "true", "chroma:x", "{a}", "#", " "]), st.text(max_size=5)
)
VALUES = st.one_of(
    st.text(max_size=5), st.booleans(), st.none(), st.integers(), st.lists(st.text(max_size=3), max_size=3),
    st.sampled_from(["PENDING", "COMPLETED", "a/b.parquet"]), st.just({"x": 1}),
)  # fmt: skip
ITEMS = st.builds(
    lambda pk, sk, rest: {**rest, "PK": pk, "SK": sk}, KEYS, KEYS, st.dictionaries(NAMES, VALUES, max_size=5)
)


def test_keys_without_values_make_no_mapping() -> None:
    """A table of one item of settings has nothing that a record could stand for."""
    with pytest.raises(BadInput, match="could stand for a record"):
        sketched([{"PK": "SETTINGS", "SK": "SETTINGS"}])


@given(st.lists(ITEMS, min_size=1, max_size=12).map(lambda items: [*items, {"PK": "USER#1", "SK": "NOTE#2"}]))
def test_whatever_the_table_is_the_mapping_can_be_used(items: list[dict[str, Any]]) -> None:
    """Odd keys, odd names, rules that would fight: what the language refuses is left in as a comment."""
    text, mapping = sketched(items)

    assert mapping.collections
    assert all(line.isprintable() for line in text.splitlines())
