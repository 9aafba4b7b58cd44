"""Events as AWS writes them, and as it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.envelopes import Batch, Kind, decode_event
from chroma_lifecycle.intake.records import StreamRecord
from tests.support.intake import RECEIPTS, as_text, outcomes, with_, without
from tests.support.table import Table, in_sqs, in_stream

RECORD = Table().put("IMAGE#a", "RECEIPT#00001#PLACE", merchant_name="x")
SET = [f"{name}: set merchant_name at IMAGE#a#RECEIPT#00001" for name in ("words", "lines")]


def decoded(event: object) -> Batch:
    return decode_event(event, RECEIPTS)


def only(event: object) -> StreamRecord | BadInput:
    [received] = decoded(event).received
    return received.record


@pytest.mark.parametrize(
    "event", [None, "text", 7, {}, {"Records": "x"}, {"Records": {}}, {"records": []}, {"Records": []}, []]
)
def test_what_is_no_event_is_refused_whole(event: object) -> None:
    """The function is connected to something else; nothing could be answered."""
    with pytest.raises(BadInput, match="this is no event that can be compacted") as refused:
        decoded(event)

    forms = "a queue's event or its messages, a DynamoDB stream's event, or a list of stream records"
    assert f"expected {forms}" in refused.value.message
    assert refused.value.hint


def test_what_a_queue_s_own_api_prints_is_taken() -> None:
    """A dead letter is tried as `aws sqs receive-message` prints it, with the attribute that chooses a collection."""
    [sound] = in_sqs([RECORD])["Records"]
    chosen = {"collection": {"StringValue": "words", "DataType": "String"}}
    printed = [
        {"MessageId": "1", "ReceiptHandle": "h", "MD5OfBody": "0", "Body": sound["body"]},
        {"MessageId": "2", "ReceiptHandle": "h", "MD5OfBody": "0", "Body": sound["body"], "MessageAttributes": chosen},
        {"MessageId": "3", "ReceiptHandle": "h", "MD5OfBody": "0", "Body": "{"},
    ]

    batch = decoded({"Messages": printed})

    assert (Kind.SQS, ["1", "2", "3"]) == (batch.kind, [each.source for each in batch.received])
    assert [SET, SET[:1]] == outcomes(batch)[:2]
    assert isinstance(batch.received[2].record, BadInput)
    with pytest.raises(BadInput, match="record 1 of the event has no messageId"):
        decoded({"Messages": [{"Body": sound["body"]}]})
    with pytest.raises(BadInput, match="without a record"):
        decoded({"Messages": []})


@pytest.mark.parametrize("source", ["aws:kinesis", "aws:s3", None, 7, ["aws:sqs"]])
def test_events_of_other_services_are_refused_whole(source: object) -> None:
    """An event source that nobody knows has identifiers that nobody knows."""
    with pytest.raises(BadInput, match=r"no event that can be compacted: (of|without)"):
        decoded({"Records": [{"eventSource": source, "messageId": "1"}]})


@pytest.mark.parametrize(
    "record", [None, "text", {}, {"eventSource": "aws:sqs"}, {"messageId": ""}, {"messageId": 7}, {"messageId": None}]
)
def test_a_message_without_an_identifier_fails_the_batch(record: object) -> None:
    """Without it the answer could not name the message, and the queue would delete it."""
    event = in_sqs([RECORD])
    event["Records"].append(record)

    with pytest.raises(BadInput, match="record 2 of the event has no messageId"):
        decoded(event)


@pytest.mark.parametrize("sequence", [None, "", 7])
def test_a_stream_record_without_a_sequence_fails_the_batch(sequence: object) -> None:
    """A stream asks for the lowest SequenceNumber that failed; there is none to give."""
    with pytest.raises(BadInput, match="record 1 of the event has no SequenceNumber"):
        decoded(in_stream([with_(RECORD, sequence, "dynamodb", "SequenceNumber")]))


def test_a_stream_gets_the_original_text_of_its_sequence_back() -> None:
    """Zeros in front matter to the stream, and not to the order."""
    padded = with_(RECORD, "000000000000000000042", "dynamodb", "SequenceNumber")
    odd = with_(RECORD, "4x", "dynamodb", "SequenceNumber")

    sound, bad = decoded(in_stream([padded, odd])).received

    assert "000000000000000000042" == sound.source
    assert isinstance(sound.record, StreamRecord)
    assert 42 == sound.record.position.order[2]
    assert ("4x", True) == (bad.source, isinstance(bad.record, BadInput))


def test_a_message_that_comes_twice_in_a_batch_is_decoded_twice() -> None:
    """Queues deliver twice; the ledger sees to it that it counts once."""
    event = in_sqs([RECORD])
    event["Records"] *= 2

    first, second = decoded(event).received
    assert first == second


@pytest.mark.parametrize("body", [None, 7, {}, b"{}"])
def test_a_body_that_is_no_text_fails_alone(body: object) -> None:
    """L15: the message is sound but for its body."""
    event = with_(in_sqs([RECORD, RECORD]), body, "Records", 0, "body")  # type: ignore[arg-type]

    assert ["unknown form of record: without a body", SET] == [
        found if isinstance(found, list) else found.partition(";")[0] for found in outcomes(decoded(event))
    ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "not JSON: Expecting value at character 0"),
        ("{", "not JSON"),
        ("NaN", "NaN is not a JSON number"),
        ('{"n": 1e9999999999999999999}', "a number has an exponent that is too large"),
        ('{"dynamodb": 1, "dynamodb": 2}', "key 'dynamodb' stands twice in one object"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        ("7", "unknown form of record: a number"),
        ("null", "unknown form of record: null"),
        ("{}", "unknown form of record: with nothing in it"),
        ('{"Records": []}', "unknown form of record: with 'Records'"),
        (as_text(with_(RECORD, "aws:kinesis", "eventSource")), "unknown form of record: of event source 'aws:kinesis'"),
        (as_text({"dynamodb": []}), "the stream record is malformed: 'dynamodb' is no object"),
    ],
)
def test_a_body_of_an_unknown_form_fails_alone(body: str, problem: str) -> None:
    """L15: among good messages only it fails, and its content is not shown."""
    good, bad, last = outcomes(decoded(in_sqs([RECORD, body, RECORD])))

    assert SET == good == last
    assert problem in bad


def test_records_of_two_services_in_one_batch_fail_alone() -> None:
    """AWS never mixes them; a message that says otherwise is one that is malformed."""
    event = with_(in_sqs([RECORD, RECORD]), "aws:dynamodb", "Records", 1, "eventSource")  # type: ignore[arg-type]

    good, bad = outcomes(decoded(event))
    assert SET == good
    assert "unknown form of record: of event source 'aws:dynamodb' in a batch of sqs" in bad


def test_a_list_is_a_direct_invocation() -> None:
    """Its records need no identifier: the caller gets the errors themselves."""
    batch = decoded([RECORD, "x", {}, without(RECORD, "dynamodb", "SequenceNumber")])

    assert Kind.DIRECT == batch.kind
    assert [RECORD["dynamodb"]["SequenceNumber"], "record 2", "record 3", "record 4"] == [
        received.source for received in batch.received
    ]
    assert [False, True, True, True] == [isinstance(received.record, BadInput) for received in batch.received]


@pytest.mark.parametrize("spelling", ["stringValue", "StringValue"])
def test_an_attribute_of_the_message_names_its_collection(spelling: str) -> None:
    """A message that names a collection acts on that one only, whoever wrote the attribute."""
    event = in_sqs([RECORD])
    event["Records"][0]["messageAttributes"] = {"collection": {spelling: "lines", "dataType": "String"}}

    assert [SET[1:]] == outcomes(decoded(event))


@pytest.mark.parametrize("attribute", ["lines", {}, {"stringValue": 7}, {"stringValue": ""}, {"binaryValue": "eA=="}])
def test_an_attribute_that_is_no_text_fails_the_message(attribute: object) -> None:
    """Nobody guesses what a malformed attribute meant."""
    event = in_sqs([RECORD])
    event["Records"][0]["messageAttributes"] = {"collection": attribute}

    assert "whose attribute 'collection' is no text" in outcomes(decoded(event))[0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS: list[tuple[Any, ...]] = [
    ("dynamodb",),
    ("eventName",),
    ("eventSource",),
    ("eventSourceARN",),
    *(("dynamodb", name) for name in ("Keys", "NewImage", "OldImage", "SequenceNumber", "ApproximateCreationDateTime")),
    ("dynamodb", "Keys", "PK"),
    ("dynamodb", "Keys", "SK", "S"),
    ("dynamodb", "NewImage", "merchant_name"),
    ("dynamodb", "NewImage", "merchant_name", "S"),
]


@given(st.sampled_from(FIELDS), json_values)
def test_no_value_in_any_field_breaks_more_than_its_message(path: tuple[Any, ...], value: object) -> None:
    """L15: whatever stands in a field, there is one outcome for each message, and the others have theirs."""
    found = outcomes(decoded(in_sqs([RECORD, with_(RECORD, value, *path), RECORD])))

    assert 3 == len(found)
    assert SET == found[0] == found[2]


@given(json_values)
def test_no_body_breaks_more_than_its_message(value: object) -> None:
    """L15: whatever JSON a message holds, the next one is decoded."""
    assert SET == outcomes(decoded(in_sqs([as_text(value), RECORD])))[1]


@given(json_values)
def test_no_event_raises_anything_but_bad_input(event: object) -> None:
    """An event is decoded, or refused whole."""
    for each in (event, [event], {"Records": [event]}):
        try:
            batch = decoded(each)
        except BadInput:
            continue
        assert batch.received


@pytest.mark.parametrize("levels", [70, 400, 800])
def test_values_nested_too_deeply_fail_alone(levels: int) -> None:
    """Python's own limit is no way to end a batch."""
    plain: Any = "x"
    typed: Any = {"S": "x"}
    for level in range(levels):
        plain = [plain]
        typed = {"L": [typed]} if level % 2 else typed  # each is two levels of JSON
    flat = {
        "entity_type": "RECEIPT_PLACE",
        "entity_data": {"image_id": "a", "receipt_id": 1},
        "changes": {"merchant_name": {"old": None, "new": plain}},
        "event_name": "MODIFY",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    record = with_(RECORD, typed, "dynamodb", "NewImage", "merchant_name")

    *bad, good = outcomes(decoded(in_sqs([flat, record, RECORD])))

    assert SET == good
    for found in bad:
        assert "levels of lists and maps" in str(found) or "nested too deeply" in str(found)
