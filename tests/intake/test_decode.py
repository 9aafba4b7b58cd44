"""From stream records to changes, by the design's rules."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_lifecycle.intake.changes import ContributeFields, RefusedFields
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.records import parse_stream_record
from chroma_lifecycle.values import ItemKey
from tests.support.intake import RECEIPTS, of_record, told, with_, without
from tests.support.mappings import CHUNK, DOC, mapping_of
from tests.support.table import Table

RUN = ("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#r1")
PENDING: dict[str, Any] = {"words_delta_prefix": "d/1", "words_state": "PENDING"}
BEGINS = ["words: merge d/1 below IMAGE#a"]


def after(before: dict[str, Any] | None, now: dict[str, Any] | None) -> dict[str, Any]:
    """Return the stream record of a run item that was *before* and is *now*."""
    table = Table()
    if before is not None:
        table.put(*RUN, **before)
    return table.remove(*RUN) if now is None else table.put(*RUN, **now)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, PENDING, BEGINS),
        (None, PENDING | {"words_state": "COMPLETED"}, []),
        (None, {"words_delta_prefix": "d/1"}, []),
        (PENDING | {"words_state": "COMPLETED"}, PENDING, BEGINS),
        (PENDING | {"words_state": "FAILED"}, PENDING, BEGINS),
        ({}, PENDING, BEGINS),
        ({"words_state": "PENDING"}, PENDING, BEGINS),
        (PENDING | {"words_delta_prefix": "d/0"}, PENDING, BEGINS),
        (PENDING | {"words_delta_prefix": 7}, PENDING, BEGINS),
        (PENDING, PENDING, []),
        (PENDING, PENDING | {"words_error": "there is no delta"}, []),
        (PENDING, PENDING | {"words_state": "COMPLETED", "words_merged_vectors": 3}, []),
        (PENDING, PENDING | {"lines_state": "COMPLETED"}, []),
        (PENDING | {"words_state": "COMPLETED"}, PENDING | {"words_state": "COMPLETED", "note": 1}, []),
        (PENDING, None, []),
        (PENDING | {"words_state": "COMPLETED"}, None, []),
    ],
)
def test_a_run_begins_by_becoming_pending_at_an_address_and_by_nothing_else(
    before: dict[str, Any] | None, now: dict[str, Any] | None, expected: list[str]
) -> None:
    """D1a: PENDING and this address, where the old image is absent, has another address, or is not PENDING."""
    assert expected == of_record(after(before, now))


def test_a_run_of_two_collections_begins_in_each() -> None:
    """A message that concerns two collections becomes two changes."""
    lines = {"lines_delta_prefix": "d/2", "lines_state": "PENDING"}

    assert [*BEGINS, "lines: merge d/2 below IMAGE#a"] == of_record(after(None, PENDING | lines))
    assert ["lines: merge d/2 below IMAGE#a"] == of_record(after(PENDING, PENDING | lines))


@pytest.mark.parametrize("address", [None, "", 7, True, ["d/1"]])
def test_a_run_without_an_address_is_bad_input_in_its_collection_alone(address: object) -> None:
    """The other collection's run begins all the same; the message fails."""
    lines = {"lines_delta_prefix": "d/2", "lines_state": "PENDING"}
    refused, merged = of_record(after(None, PENDING | {"words_delta_prefix": address} | lines))

    assert "'words_state' is PENDING, but 'words_delta_prefix' holds no address" in refused
    assert "lines: merge d/2 below IMAGE#a" == merged


def test_a_modify_without_old_image_is_bad_input_only_where_it_matters() -> None:
    """A stream of new images alone: a PENDING run is undecided; our own COMPLETED begins nothing in any case."""
    pending = without(after(PENDING | {"words_state": "FAILED"}, PENDING), "dynamodb", "OldImage")
    completed = without(after(PENDING, PENDING | {"words_state": "COMPLETED"}), "dynamodb", "OldImage")

    [refused] = of_record(pending)
    assert "the MODIFY of a pending run has no old image" in refused
    assert [] == of_record(completed)
    assert BEGINS == of_record(without(after(None, PENDING), "dynamodb", "NewImage", "PK"))


LABEL = ("IMAGE#a", "RECEIPT#00001#LINE#00002#WORD#00003#LABEL#total")
WORD = "IMAGE#a#RECEIPT#00001#LINE#00002#WORD#00003"


def test_an_image_holds_only_what_the_rule_reads() -> None:
    """The ledger keeps no attribute that nobody asked for."""
    record = Table().put(*LABEL, validation_status="VALID", reasoning="secret", embedding=[1, 2])

    changes = changes_of(parse_stream_record(record, "m-1"), RECEIPTS)

    assert [{"validation_status": {"S": "VALID"}}] * 2 == [
        change.image for change in changes if isinstance(change, ContributeFields)
    ]
    origin = changes[0].origin
    assert ("m-1", "words", "label", ItemKey(*LABEL)) == (origin.source, origin.collection, origin.rule, origin.item)


def test_removals_withdraw_fields_and_delete_records() -> None:
    """L19, L21: by hand or by TTL; nobody looks at the old image."""
    table = Table()
    table.put(*LABEL, validation_status="VALID")
    removed = table.remove(*LABEL)

    for record in (removed, without(removed, "dynamodb", "OldImage")):
        assert [f"words: withdraw at {WORD}", f"lines: withdraw at {WORD[: -len('#WORD#00003')]}"] == of_record(record)
    table.put("IMAGE#a", "RECEIPT#00001", text="x")
    expired = table.remove("IMAGE#a", "RECEIPT#00001") | {
        "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    }
    assert [f"{name}: delete IMAGE#a#RECEIPT#00001" for name in ("words", "lines")] == of_record(expired)


@pytest.mark.parametrize("name", ["put", "update"])
def test_a_delete_rule_ignores_all_but_removals(name: str) -> None:
    """INSERT and MODIFY of the item neither lift a tombstone nor make one; they need no image either."""
    table = Table()
    table.put("IMAGE#a", "RECEIPT#00001", text="x")
    record = getattr(table, name)("IMAGE#a", "RECEIPT#00001", text="y")

    assert [] == of_record(record) == of_record(without(record, "dynamodb", "NewImage"))


BOTH = mapping_of(
    f"""
    chunk:
      {CHUNK}
      set:
        chunks: {{title: title, "tag_{{member}}": {{from: tags, members: [new]}}}}
      removal_deletes: [chunks]
    """
)


def test_one_item_can_set_fields_and_delete_its_records() -> None:
    """Removing it does both, in one collection."""
    table = Table()
    record = table.put("TENANT#a", "DOC#b#CHUNK#000001", title="x")

    assert ["chunks: set title at TENANT#a#DOC#b#CHUNK#000001"] == of_record(record, BOTH)
    assert [
        "chunks: withdraw at TENANT#a#DOC#b#CHUNK#000001",
        "chunks: delete TENANT#a#DOC#b#CHUNK#000001",
    ] == of_record(table.remove("TENANT#a", "DOC#b#CHUNK#000001"), BOTH)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"B": "AAEC"}, "attribute 'title' is binary, which no record can hold"),
        ({"SS": ["a"]}, "attribute 'title' is a set of text, which no record can hold"),
        ({"L": []}, "attribute 'title' is a list, which no record can hold"),
        ({"M": {}}, "attribute 'title' is a map, which no record can hold"),
        ({"N": str(2**63)}, "attribute 'title' is a whole number beyond 64 bits"),
        ({"S": 7}, "attribute 'title' is not in DynamoDB's JSON"),
        ({"S": "\ud800"}, "attribute 'title' is not in DynamoDB's JSON"),
        ("SECRET", "attribute 'title' is not in DynamoDB's JSON"),
    ],
)
def test_a_value_that_no_record_takes_is_refused_in_its_place(value: object, problem: str) -> None:
    """L16: a change all the same, so that a newer one of its item makes it a no-op; the value is not shown."""
    record = Table().put("TENANT#a", "DOC#b#CHUNK#000001", title="x")

    [change] = changes_of(parse_stream_record(with_(record, value, "dynamodb", "NewImage", "title"), "m-1"), BOTH)

    assert isinstance(change, RefusedFields)
    assert "TENANT#a#DOC#b#CHUNK#000001" == change.reach
    assert change.problem.message.startswith("rule 'chunk', item PK=TENANT#a, SK=DOC#b#CHUNK#000001: " + problem)
    assert "SECRET" not in str(change.problem)


def test_sets_are_read_by_members_and_numbers_as_they_are() -> None:
    """Sets have one use; whole numbers, decimals and NULL have their defined outcome when facts are folded."""
    record = Table().put("TENANT#a", "DOC#b#CHUNK#000001", title=None, tags={"new", "old"})

    assert ["chunks: set tags,title at TENANT#a#DOC#b#CHUNK#000001"] == of_record(record, BOTH)


A_MAP = "rule 'doc', item PK=TENANT#a, SK=DOC#b: attribute 'title' is a map, which no record can hold"
CONDITIONAL = mapping_of(
    f"""
    doc:
      {DOC}
      when: {{kind: book}}
      set:
        docs: [title]
    """
)


@pytest.mark.parametrize(
    ("kind", "title", "expected"),
    [
        ("book", {"S": "x"}, "docs: set kind,title at TENANT#a#DOC#b"),
        ("film", {"S": "x"}, "docs: set kind,title at TENANT#a#DOC#b"),
        (
            "book",
            {"M": {}},
            f"docs: refuse: {A_MAP}",
        ),
        ("film", {"M": {}}, "docs: withdraw at TENANT#a#DOC#b"),
    ],
)
def test_an_item_outside_the_conditions_may_hold_anything(kind: str, title: object, expected: str) -> None:
    """What it holds is kept for the day when they hold, unless it could then fail somebody else's message."""
    record = with_(Table().put("TENANT#a", "DOC#b", kind=kind, title="x"), title, "dynamodb", "NewImage", "title")

    assert [expected] == of_record(record, CONDITIONAL)


def test_a_stream_of_keys_alone_serves_removals_alone() -> None:
    """KEYS_ONLY: what needs an image is bad input and names the view type; REMOVE needs none."""
    table = Table()
    inserted = without(table.put(*LABEL, validation_status="VALID"), "dynamodb", "NewImage")
    begun = without(after(None, PENDING), "dynamodb", "NewImage")

    for record in (inserted, begun):
        found = of_record(record)
        assert ["words", "lines"] == [text.partition(":")[0] for text in found]
        assert all("the INSERT has no new image" in text for text in found)
    [change, _] = changes_of(parse_stream_record(inserted, "m-1"), RECEIPTS)
    assert isinstance(change, RefusedFields)
    assert "give the stream the view type NEW_AND_OLD_IMAGES" == change.problem.hint


@pytest.mark.parametrize(
    "keys",
    [
        {"PK": {"S": "USER#1"}, "SK": {"S": "PROFILE"}},
        {"PK": {"S": "IMAGE#a"}, "SK": {"S": "RECEIPT#1"}},
        {"PK": {"S": "IMAGE#a"}, "SK": {"B": "UkVDRUlQVCMwMDAwMQ=="}},
        {"PK": {"S": ""}, "SK": {"S": ""}},
    ],
)
def test_an_item_that_no_rule_takes_is_ignored(keys: dict[str, Any]) -> None:
    """S9: nothing is asked for, and nothing fails."""
    assert [] == of_record(with_(Table().put("a", "b"), keys, "dynamodb", "Keys"))


@pytest.mark.parametrize(
    "keys", [{"PK": {"S": "IMAGE#a"}}, {"id": {"S": "x"}}, {"PK": {"BOOL": True}, "SK": {"S": "x"}}]
)
def test_an_item_of_another_table_is_bad_input(keys: dict[str, Any]) -> None:
    """An event from a table that the mapping does not describe is no reason to do nothing quietly."""
    found = of_record(with_(Table().put("a", "b"), keys, "dynamodb", "Keys"))

    assert "key attribute" in found


def test_a_message_for_one_collection_acts_on_that_one() -> None:
    """Where the rule does not touch that collection, nothing is asked for."""
    record = parse_stream_record(Table().put(*LABEL, validation_status="VALID"), "m-1", "lines")

    assert ["lines: set validation_status at IMAGE#a#RECEIPT#00001#LINE#00002"] == [
        told(change) for change in changes_of(record, RECEIPTS)
    ]
    table = Table()
    table.put("IMAGE#a", "RECEIPT#00001#LINE#00002#WORD#00003")
    removed = table.remove("IMAGE#a", "RECEIPT#00001#LINE#00002#WORD#00003")
    assert () == changes_of(parse_stream_record(removed, "m-1", "lines"), RECEIPTS)
