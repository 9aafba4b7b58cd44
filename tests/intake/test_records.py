"""Stream records in the spellings of Lambda, Pipes, GetRecords and the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.records import StreamRecord, parse_stream_record
from chroma_lifecycle.values import Position
from tests.support.intake import with_, without
from tests.support.table import Table

TABLE = Table()
INSERT = TABLE.put("IMAGE#a", "RECEIPT#00001#PLACE", merchant_name="x")
MODIFY = TABLE.update("IMAGE#a", "RECEIPT#00001#PLACE", merchant_name="y")
REMOVE = TABLE.remove("IMAGE#a", "RECEIPT#00001#PLACE")


def parsed(record: dict[str, Any]) -> StreamRecord:
    return parse_stream_record(record, "source")


def test_a_record_has_its_keys_images_and_place() -> None:
    """What the stream wrote, and nothing else."""
    body = MODIFY["dynamodb"]

    assert StreamRecord(
        source="source",
        event_name="MODIFY",
        keys={"PK": {"S": "IMAGE#a"}, "SK": {"S": "RECEIPT#00001#PLACE"}},
        new_image=body["NewImage"],
        old_image=body["OldImage"],
        position=Position.of_stream(
            "2026-01-01T00:00:00.000", int(body["SequenceNumber"]), body["ApproximateCreationDateTime"]
        ),
    ) == parsed(MODIFY)
    assert (None, None) == (parsed(INSERT).old_image, parsed(REMOVE).new_image)
    assert parsed(REMOVE) == parsed(with_(REMOVE, MODIFY["dynamodb"]["NewImage"], "dynamodb", "NewImage"))


def test_both_cases_of_a_fields_first_letter_are_the_same() -> None:
    """GetRecords and Lambda spell fields differently."""
    swapped = {
        ("Dynamodb" if name == "dynamodb" else name[0].swapcase() + name[1:]): value for name, value in MODIFY.items()
    }
    swapped["Dynamodb"] = {name[0].lower() + name[1:]: value for name, value in MODIFY["dynamodb"].items()}

    assert parsed(MODIFY) == parsed(swapped)


@pytest.mark.parametrize(
    "created",
    [
        1767225600,
        1767225600.0,
        1767225600.999,
        Decimal("1767225600.5"),
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T01:00:00.250+01:00",
        "2026-01-01 00:00:00+00:00",
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_the_creation_time_is_a_number_or_a_text(created: object) -> None:
    """Streams give seconds; the command line and boto3 give a time."""
    assert (
        1_767_225_600
        == parsed(with_(INSERT, created, "dynamodb", "ApproximateCreationDateTime")).position.created_seconds
    )


@pytest.mark.parametrize(
    "created", [None, "yesterday", "", True, -1, 1 << 50, float("inf"), float("nan"), [], {}, "1960-01-01T00:00:00Z"]
)
def test_a_record_without_a_time_is_refused(created: object) -> None:
    """Where items are compared to the second, a guess would be wrong for ever."""
    with pytest.raises(BadInput, match="its ApproximateCreationDateTime is"):
        parsed(with_(INSERT, created, "dynamodb", "ApproximateCreationDateTime"))


@pytest.mark.parametrize("sequence", ["1", "111", "0" * 21 + "7", "9" * 40, "9" * 1000])
def test_sequences_are_numbers_of_any_length(sequence: str) -> None:
    """They are compared as integers, and written to the ledger and read back as they are."""
    position = parsed(with_(INSERT, sequence, "dynamodb", "SequenceNumber")).position

    assert int(sequence) == position.order[2]
    assert position == Position.parse(str(position))


@pytest.mark.parametrize("sequence", [None, "", "x", "-1", "1.0", "1e9", " 1", "\u0661", "9" * 1001, 7])
def test_what_is_no_sequence_is_refused(sequence: object) -> None:
    """A sequence is decimal digits, as text."""
    with pytest.raises(BadInput, match=r"its SequenceNumber is .* expected decimal digits"):
        parsed(with_(INSERT, sequence, "dynamodb", "SequenceNumber"))


@pytest.mark.parametrize(
    "arn",
    [
        "",
        7,
        "arn:aws:dynamodb:eu-west-1:123456789012:table/receipts",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/receipts/stream/",
        "arn:aws:dynamodb:eu-west-1:123456789012:table/receipts/stream/with space",
        "arn:aws:sqs:eu-west-1:123456789012:changes",
    ],
)
def test_the_arn_of_something_else_is_refused(arn: object) -> None:
    """A sequence counts within its stream alone, so the stream must be known."""
    with pytest.raises(BadInput, match="is not the ARN of a DynamoDB stream"):
        parsed(with_(INSERT, arn, "eventSourceARN"))


def test_a_record_without_an_arn_is_refused() -> None:
    """GetRecords leaves it out: the hint says what to add."""
    with pytest.raises(BadInput, match="has no 'eventSourceARN'") as refused:
        parsed(without(INSERT, "eventSourceARN"))

    assert "add the stream's ARN to records that GetRecords returned" in refused.value.hint


def test_attributes_of_global_tables_are_not_seen() -> None:
    """What a replica adds to an item is nobody's."""
    replicated = {"aws:rep:deleting": {"BOOL": False}, "aws:rep:updateregion": {"S": "x"}}
    new = with_(MODIFY, MODIFY["dynamodb"]["NewImage"] | replicated, "dynamodb", "NewImage")
    both = with_(new, MODIFY["dynamodb"]["OldImage"] | replicated, "dynamodb", "OldImage")

    assert parsed(MODIFY) == parsed(both)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("eventName",), "UPSERT", "its event name is 'UPSERT'; allowed: INSERT, MODIFY, REMOVE"),
        (("eventName",), "insert", "its event name is 'insert'"),
        (("eventName",), None, "its event name is None"),
        (("dynamodb",), "x", "'dynamodb' is no object"),
        (("dynamodb", "Keys"), None, "it has no 'Keys'"),
        (("dynamodb", "Keys"), {}, "it has no 'Keys'"),
        (("dynamodb", "Keys"), [], "'Keys' is no object"),
        (("dynamodb", "NewImage"), [], "'NewImage' is no object"),
        (("dynamodb", "NewImage"), {1: {"S": "x"}}, "'NewImage' is no object"),
    ],
)
def test_a_malformed_field_is_named(path: tuple[str, ...], value: object, problem: str) -> None:
    """L15: the field, and what would be allowed."""
    with pytest.raises(BadInput) as refused:
        parsed(with_(INSERT, value, *path))

    assert refused.value.message.startswith(f"the stream record is malformed: {problem}")
