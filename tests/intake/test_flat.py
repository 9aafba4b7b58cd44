"""Flat change messages: each is the stream record that the table would have written."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_lifecycle.intake.changes import ContributeFields
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.flat import parse_flat_message
from chroma_lifecycle.intake.records import StreamRecord, parse_stream_record
from chroma_lifecycle.values import ItemKey, Position
from tests.support.intake import RECEIPTS, of_record
from tests.support.table import Table

PLACE = "IMAGE#a#RECEIPT#00001"


def flat(entity: str, event: str = "MODIFY", **other: Any) -> dict[str, Any]:
    """Return a message about receipt 1 of image a."""
    data = {"image_id": "a", "receipt_id": 1} | other.pop("data", {})
    return {
        "source": "dynamodb_stream",
        "entity_type": entity,
        "entity_data": data,
        "changes": {},
        "event_name": event,
        "timestamp": "2026-01-01T00:00:00.000250+00:00",
        "stream_record_id": "x",
        "record_snapshot": None,
    } | other


def parsed(message: dict[str, Any], collection: str | None = None) -> StreamRecord:
    return parse_flat_message(message, "m-1", RECEIPTS, collection)


def run(event: str = "INSERT", changes: object = None, collection: str | None = "words") -> dict[str, Any]:
    data = {"run_id": "r1", "delta_s3_prefix": "d/1"}
    return flat("COMPACTION_RUN", event, data=data, changes=changes, collection=collection)


BEGINS = ["words: merge d/1 below IMAGE#a"]


def change(old: object, new: object) -> dict[str, object]:
    return {"old": old, "new": new}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (run(), BEGINS),
        (run("MODIFY", {"words_state": change("COMPLETED", "PENDING")}), BEGINS),
        (run("MODIFY", {"words_state": change(None, "PENDING")}), BEGINS),
        (run("MODIFY", {"words_delta_prefix": change("d/0", "d/1")}), BEGINS),
        (run("MODIFY", {"delta_s3_prefix": change("d/0", "d/1")}), BEGINS),
        (run("MODIFY", {"words_state": change("PENDING", "COMPLETED")}), []),
        (run("MODIFY", {"words_state": change("FAILED", "COMPLETED")}), []),
        (run("MODIFY", {"words_delta_prefix": change("d/1", "d/2")}), ["words: merge d/2 below IMAGE#a"]),
        (run("MODIFY", {"words_error": change(None, "x")}), []),
        (run("MODIFY", {"lines_state": change("COMPLETED", "PENDING")}), []),
        (run("MODIFY", {}), []),
        (run("REMOVE"), []),
        (run(collection="lines"), ["lines: merge d/1 below IMAGE#a"]),
    ],
)
def test_a_run_begins_as_the_streams_rule_says(message: dict[str, Any], expected: list[str]) -> None:
    """D1a: `changes` tells what was before; our own status write comes back as a message, and begins nothing."""
    assert expected == of_record(message)


def test_a_run_that_tells_not_enough_is_bad_input() -> None:
    """A MODIFY without `changes`, a collection that is not named, an address that is missing."""
    assert "the MODIFY of a run has no 'changes'" in of_record(run("MODIFY"))
    assert "it names no collection; allowed: words, lines" in of_record(run(collection=None))
    [refused] = of_record(flat("COMPACTION_RUN", "INSERT", data={"run_id": "r1"}, collection="words"))
    assert "'words_state' is PENDING, but 'words_delta_prefix' holds no address" in refused


def test_a_flat_message_is_the_streams_record_but_for_its_position() -> None:
    """Nothing after the adapter can tell the two apart."""
    table = Table()
    word = {"line_id": 2, "word_id": "00003", "label": "total"}
    snapshot = word | {"image_id": "a", "receipt_id": 1, "validation_status": "VALID"}
    message = flat("RECEIPT_WORD_LABEL", "INSERT", data=word, record_snapshot=snapshot)
    record = table.put("IMAGE#a", "RECEIPT#00001#LINE#00002#WORD#00003#LABEL#total", validation_status="VALID")

    from_flat, from_stream = (
        changes_of(parsed(message), RECEIPTS),
        changes_of(parse_stream_record(record, "m-1"), RECEIPTS),
    )

    assert [
        (each.origin.collection, each.origin.rule, each.origin.item, each.reach, each.image, each.partial)
        for each in from_stream
        if isinstance(each, ContributeFields)
    ] == [
        (each.origin.collection, each.origin.rule, each.origin.item, each.reach, each.image, each.partial)
        for each in from_flat
        if isinstance(each, ContributeFields)
    ]
    assert 2 == len(from_flat)
    assert all(one.origin.position < other.origin.position for one in from_flat for other in from_stream)


@pytest.mark.parametrize("entity", ["RECEIPT_PLACE", "RECEIPT_METADATA"])
def test_an_image_of_changes_alone_is_partial(entity: str) -> None:
    """It moves the attributes that it names, one that was taken away too, and lets the others stand."""
    changes = {"merchant_name": change("x", "y"), "phone_number": change("1", None), "other": change(1, 2)}
    record = parsed(flat(entity, changes=changes))

    assert ({"merchant_name": {"S": "y"}, "phone_number": {"NULL": True}}, True) == (record.new_image, record.partial)
    assert [f"{name}: move merchant_name,phone_number at {PLACE}" for name in ("words", "lines")] == of_record(
        flat(entity, changes=changes)
    )


@pytest.mark.parametrize(
    ("snapshot", "changes", "image", "partial"),
    [
        ({"validation_status": "VALID"}, None, {"S": "VALID"}, False),
        ({"validation_status": "VALID"}, {"validation_status": change("x", "INVALID")}, {"S": "VALID"}, False),
        ({}, {"validation_status": change("x", "INVALID")}, {"S": "INVALID"}, False),
        (None, {"validation_status": change("x", "INVALID")}, {"S": "INVALID"}, True),
        ({"validation_status": None}, None, {"NULL": True}, False),
        ({}, None, None, False),
        (None, {}, None, True),
    ],
)
def test_the_first_place_that_has_an_attribute_wins(
    snapshot: object, changes: object, image: object, partial: bool
) -> None:
    """A label's status stands in the snapshot, else in the changes; a snapshot shows the whole item."""
    data = {"line_id": 2, "word_id": 3, "label": "total"}
    record = parsed(flat("RECEIPT_WORD_LABEL", data=data, record_snapshot=snapshot, changes=changes))

    assert ({} if image is None else {"validation_status": image}, partial) == (record.new_image, record.partial)


@pytest.mark.parametrize(
    ("entity", "data", "expected"),
    [
        ("RECEIPT", {}, [f"{name}: delete {PLACE}" for name in ("words", "lines")]),
        ("RECEIPT_LINE", {"line_id": 2}, [f"{name}: delete {PLACE}#LINE#00002" for name in ("words", "lines")]),
        ("RECEIPT_WORD", {"line_id": 2, "word_id": 3}, [f"words: delete {PLACE}#LINE#00002#WORD#00003"]),
        ("RECEIPT_PLACE", {}, [f"{name}: withdraw at {PLACE}" for name in ("words", "lines")]),
    ],
)
def test_removals_need_the_key_alone(entity: str, data: dict[str, int], expected: list[str]) -> None:
    """L21: neither changes nor a snapshot."""
    assert expected == of_record(flat(entity, "REMOVE", data=data, changes=None))


def test_the_collection_stands_in_the_body_or_in_the_attribute() -> None:
    """Two that differ are a mistake, and so is one that nobody knows."""
    removal = flat("RECEIPT", "REMOVE")

    assert "lines" == parsed(removal, "lines").collection == parsed(removal | {"collection": "lines"}).collection
    assert "lines" == parsed(removal | {"collection": "lines"}, "lines").collection
    assert "is for collection 'lines', its attribute for" not in str(of_record(removal))
    assert "'collection' is no text" in of_record(removal | {"collection": 7})
    assert "for collection 'line', which the mapping lacks; did you mean 'lines'?" in of_record(
        removal | {"collection": "line"}
    )
    with pytest.raises(Exception, match="its body is for collection 'lines', its attribute for 'words'"):
        parsed(removal | {"collection": "lines"}, "words")


@pytest.mark.parametrize(
    ("timestamp", "microseconds"),
    [
        ("1970-01-01T00:00:00.000250+00:00", 250),
        ("1970-01-01T00:00:00.000250", 250),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-01-01T00:00:00.123456", 1_767_225_600_123_456),
    ],
)
def test_the_position_is_the_time_and_the_content(timestamp: str, microseconds: int) -> None:
    """Exact to the microsecond, in UTC unless the text has an offset."""
    position = parsed(flat("RECEIPT", "REMOVE", timestamp=timestamp)).position

    assert microseconds == position.order[2]
    assert position == Position.parse(str(position))


def test_the_same_message_has_the_same_position_however_it_is_spelt() -> None:
    """A redelivery is a no-op; another content of the same instant has a place of its own."""
    message = flat("RECEIPT_PLACE", changes={"merchant_name": change("x", "y")})
    reordered = dict(reversed(message.items()))
    other = flat("RECEIPT_PLACE", changes={"merchant_name": change("x", "z")})

    assert parsed(message).position == parsed(reordered).position
    assert parsed(message).position != parsed(other).position


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (
            {"entity_type": "RECEIPT_WORDS"},
            "entity_type 'RECEIPT_WORDS' is not in the mapping's 'flat_messages'; did you mean",
        ),
        ({"entity_type": ["RECEIPT"]}, "entity_type ['RECEIPT'] is not in"),
        ({"entity_type": None}, "entity_type None is not in"),
        ({"event_name": "DELETE"}, "its event name is 'DELETE'; allowed: INSERT, MODIFY, REMOVE"),
        ({"entity_data": None}, "the key of an item of rule 'place' needs {image_id}, which is missing"),
        ({"entity_data": "x"}, "'entity_data' is no object"),
        ({"entity_data": {"image_id": "a", "receipt_id": "x"}}, "the key of an item of rule 'place'"),
        ({"entity_data": {"image_id": "a#b", "receipt_id": 1}}, "the key of an item of rule 'place'"),
        (
            {"entity_data": {"image_id": "a", "receipt_id": 1.5}},
            "{receipt_id}, which is neither text nor a whole number",
        ),
        ({"timestamp": None}, "its timestamp is None; expected ISO 8601"),
        ({"timestamp": 1767225600}, "its timestamp is 1767225600; expected ISO 8601"),
        ({"timestamp": "soon"}, "its timestamp is 'soon'"),
        ({"changes": None}, "it has none of changes, where its values would stand"),
        ({"changes": []}, "'changes' is no object"),
        ({"changes": {"merchant_name": "y"}}, "'changes.merchant_name' is no object with 'old' and 'new'"),
        ({"changes": {"merchant_name": {"old": "y"}}}, "'changes.merchant_name' is no object with 'old' and 'new'"),
    ],
)
def test_a_message_that_cannot_be_understood_fails_alone(edit: dict[str, Any], problem: str) -> None:
    """L15: the field is named, with what is allowed where there is a list."""
    assert problem in of_record(flat("RECEIPT_PLACE") | edit)


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        ("x", {"S": "x"}),
        (True, {"BOOL": True}),
        (7, {"N": "7"}),
        (1.50, {"N": "1.5"}),
        (None, {"NULL": True}),
        ([1, "x"], {"L": [{"N": "1"}, {"S": "x"}]}),
        ({"a": False}, {"M": {"a": {"BOOL": False}}}),
    ],
)
def test_plain_values_become_dynamodbs(value: object, attribute: object) -> None:
    """So that one decoder reads them all; what no record takes is refused there."""
    record = parsed(flat("RECEIPT_PLACE", changes={"merchant_name": change(None, value)}))

    assert {"merchant_name": attribute} == record.new_image


def test_keys_are_formatted_as_the_table_spells_them() -> None:
    """Numbers come as numbers, or as text with or without zeros."""
    for word in (3, "3", "00003"):
        data = {"line_id": 2, "word_id": word}
        record = parsed(flat("RECEIPT_WORD", "REMOVE", data=data))
        assert ItemKey("IMAGE#a", "RECEIPT#00001#LINE#00002#WORD#00003") == RECEIPTS.item_key(record.keys)
