"""The example events: each is opened, and what it says is what its name says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.envelopes import decode_event
from tests.support.intake import RECEIPTS, outcomes

EVENTS = Path("events")

IMAGE = "IMAGE#7f2a"
LINE = f"{IMAGE}#RECEIPT#00001#LINE#00002"
WORD = f"{LINE}#WORD#00003"
PLACE_READS = "merchant_category,merchant_name,place_id"
RUN = "rule 'run', item PK=IMAGE#7f2a, SK=RECEIPT#00001#COMPACTION_RUN#0001"
LABEL = "rule 'label', item PK=IMAGE#7f2a, SK=RECEIPT#00001#LINE#00002#WORD#00003#LABEL#MERCHANT_NAME"

UNDECIDED = "the MODIFY of a pending run has no old image, so it does not tell whether it begins the run"

begun = {name: f"{name}: merge receipts/7f2a-1/{name}.parquet below {IMAGE}" for name in ("words", "lines")}
placed = [f"{name}: set {PLACE_READS} at {IMAGE}#RECEIPT#00001" for name in ("words", "lines")]
labelled = [f"words: set validation_status at {WORD}", f"lines: set validation_status at {LINE}"]
unlabelled = [f"words: withdraw at {WORD}", f"lines: withdraw at {LINE}"]
gone = [f"words: delete {IMAGE}#RECEIPT#00001", f"lines: delete {IMAGE}#RECEIPT#00001"]


def refused(*names: str, why: str) -> list[str]:
    return [f"{name}: refuse: {why}" for name in names]


EXPECTED: dict[str, list[list[str] | str]] = {
    "ok-sqs-run": [[begun["words"], begun["lines"]]],
    "ok-sqs-run-status": [[], []],
    "ok-sqs-place": [placed, placed],
    "ok-sqs-label": [labelled, labelled, unlabelled],
    "ok-sqs-removal": [[f"words: delete {WORD}"], gone],
    "ok-sqs-ttl-removal": [gone],
    "ok-sqs-no-rule": [[]],
    "ok-sqs-global-table": [placed],
    "ok-stream": [placed, labelled, [f"words: delete {WORD}"]],
    "ok-direct": [placed, labelled],
    "ok-direct-get-records": [labelled],
    "ok-sqs-flat": [
        [begun["words"]],
        [f"words: move merchant_name,phone_number at {IMAGE}#RECEIPT#00001"],
        [f"lines: move merchant_name at {IMAGE}#RECEIPT#00001"],
        [f"words: set validation_status at {WORD}"],
        [f"words: move validation_status at {WORD}"],
        [f"words: delete {WORD}"],
        [f"lines: delete {LINE}"],
        [f"lines: delete {IMAGE}#RECEIPT#00001"],
    ],
    "bad-sqs-unparsable": [
        placed,
        "the message's body is refused: not JSON: Expecting property name enclosed in double quotes at character 1",
        labelled,
    ],
    "bad-sqs-unknown-form": [
        placed,
        "unknown form of record: with 'detail-type', 'detail'",
        "unknown form of record: a list",
        labelled,
    ],
    "bad-sqs-wrong-types": [
        placed,
        "the stream record is malformed: its SequenceNumber is 7; expected decimal digits",
        "the stream record is malformed: 'NewImage' is no object",
        "the stream record is malformed: its event name is 'UPSERT'; allowed: INSERT, MODIFY, REMOVE",
        "the stream record has no 'eventSourceARN', without which nothing tells which stream numbered it",
    ],
    "bad-stream-no-arn": [
        placed,
        "the stream record has no 'eventSourceARN', without which nothing tells which stream numbered it",
    ],
    "bad-sqs-binary-attribute": [
        refused(
            "words",
            "lines",
            why="rule 'place', item PK=IMAGE#7f2a, SK=RECEIPT#00001#PLACE: attribute 'merchant_name' is binary, "
            "which no record can hold",
        ),
        labelled,
    ],
    # Whether an address may be read is known to those who fetch deltas.
    "bad-sqs-delta-outside": [
        ["words: merge s3://somebody-elses-bucket/words.parquet below IMAGE#7f2a", begun["lines"]]
    ],
    "bad-sqs-delta-missing": [
        ["words: merge receipts/7f2a-9/words.parquet below IMAGE#7f2a", begun["lines"]],
        placed,
    ],
    "bad-sqs-run-without-address": [
        [
            f"words: refuse: {RUN}: 'words_state' is PENDING, but 'words_delta_prefix' holds no address",
            begun["lines"],
        ]
    ],
    "bad-stream-new-image-only": [refused("words", "lines", why=f"{RUN}: {UNDECIDED}"), placed],
    "bad-stream-keys-only": [
        refused("words", "lines", why=f"{RUN}: the INSERT has no new image"),
        refused("words", "lines", why=f"{LABEL}: the INSERT has no new image"),
        unlabelled,
        gone,
    ],
    "bad-sqs-flat": [
        [f"{name}: move merchant_name at {IMAGE}#RECEIPT#00001" for name in ("words", "lines")],
        "the flat message is refused: entity_type 'RECEIPT_PLAICE' is not in the mapping's 'flat_messages'; did you",
        "the flat message is refused: its timestamp is 'yesterday'; expected ISO 8601",
        "the key of an item of rule 'word' needs {word_id}, which is missing",
        "the flat message is refused: it names no collection; allowed: words, lines",
        "the message is for collection 'word', which the mapping lacks; did you mean 'words'? allowed: words, lines",
    ],
}

WHOLE = {
    "bad-sqs-no-message-id": "record 2 of the event has no messageId, so it cannot fail alone",
    "bad-stream-no-sequence": "record 2 of the event has no SequenceNumber, so it cannot fail alone",
    "bad-no-event": "this is no event that can be compacted: an object with 'version', 'routeKey', 'requestContext'",
    "bad-no-record": "this is no event that can be compacted: without a record",
}


def event_of(name: str) -> object:
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_every_record_of_an_example_does_what_is_expected(name: str) -> None:
    """L15, D1a, S9: one outcome for each record; a bad one fails alone, with the identifier that AWS wants back."""
    event = event_of(name)
    batch = decode_event(event, RECEIPTS)

    found = [
        text if isinstance(text, list) else text[: len(expected)]
        for text, expected in zip(outcomes(batch), EXPECTED[name], strict=True)
    ]
    assert EXPECTED[name] == found
    records = event if isinstance(event, list) else event["Records"]  # type: ignore[index]
    assert name.split("-")[1] == str(batch.kind)
    assert [_identifier(record) for record in records] == [received.source for received in batch.received]


def _identifier(record: dict[str, dict[str, str]]) -> object:
    return record.get("messageId") or (record.get("dynamodb") or record["Dynamodb"])["SequenceNumber"]


@pytest.mark.parametrize("name", WHOLE)
def test_an_event_that_cannot_be_answered_record_by_record_fails_whole(name: str) -> None:
    """An identifier that is missing cannot be handed back; an answer without it would delete the message."""
    with pytest.raises(BadInput) as refused:
        decode_event(event_of(name), RECEIPTS)

    assert refused.value.message.startswith(WHOLE[name])


def test_every_example_is_tested() -> None:
    """No example without a known outcome."""
    assert {path.stem for path in EVENTS.glob("*.json")} == EXPECTED.keys() | WHOLE.keys()
