"""The run's status in its table item, on a real table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chroma_lifecycle.aws.dynamodb import DynamoRunStatus
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.intake.rules import MergeTarget
from chroma_lifecycle.publishing.status import RunStatus
from chroma_lifecycle.values import ItemKey
from tests.support.s3 import HASTY, FaultProxy, Step, client, client_at, hangs, loses_the_answer, new_table

WORDS = MergeTarget("words_delta", "words_state", "words_count", "words_error", "words_finished_at")
LINES = MergeTarget("lines_delta", "lines_state", "lines_count", "lines_error", "lines_finished_at")
# Reserved words of DynamoDB, and characters that expressions do not take.
ODD = MergeTarget("data", "state", "count", "a-b.c d", "time")
AT = datetime(2026, 1, 31, 13, 0, 5, 999, tzinfo=timezone(timedelta(hours=1)))
RUN = ItemKey("IMAGE#7", "RUN#1")
PENDING = {
    "words_delta": {"S": "run/1/words"},
    "words_state": {"S": "PENDING"},
    "lines_delta": {"S": "run/1/lines"},
    "lines_state": {"S": "PENDING"},
    "other": {"M": {"kept": {"BOOL": True}}},
}


@pytest.fixture
def table() -> str:
    """A table with texts for keys."""
    return new_table(("PK", "S"), ("SK", "S"))


@pytest.fixture
def status(table: str, proxy: FaultProxy) -> RunStatus:
    return DynamoRunStatus(table, client_at("dynamodb", proxy.url))


def put(table: str, **attributes: Any) -> None:
    item = {"PK": {"S": RUN.partition}, "SK": {"S": RUN.sort}, **attributes}
    client("dynamodb").put_item(TableName=table, Item=item)


def item(table: str) -> dict[str, Any]:
    """Return the attributes of the run beside its key."""
    key = {"PK": {"S": RUN.partition}, "SK": {"S": RUN.sort}}
    found = client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
    return {name: value for name, value in found.items() if name not in key}


def test_a_completed_run_gets_state_count_and_time_and_nothing_else(status: RunStatus, table: str) -> None:
    """L1: the true count and the time in UTC; every other attribute stays as it is."""
    put(table, **PENDING)

    assert status.completed(RUN, WORDS, "run/1/words", 4_711, AT)

    assert {
        **PENDING,
        "words_state": {"S": "COMPLETED"},
        "words_count": {"N": "4711"},
        "words_finished_at": {"S": "2026-01-31T12:00:05Z"},
    } == item(table)


def test_saying_it_again_writes_nothing(status: RunStatus, table: str) -> None:
    """D1a: what is COMPLETED with the same count stays as it is, with its time; so it makes no stream record."""
    put(table, **PENDING)
    status.completed(RUN, WORDS, "run/1/words", 4_711, AT)
    before = item(table)

    assert not status.completed(RUN, WORDS, "run/1/words", 4_711, AT + timedelta(days=1))
    assert before == item(table)

    assert status.completed(RUN, WORDS, "run/1/words", 4_712, AT)
    assert item(table)["words_count"] == {"N": "4712"}


def test_a_mapping_may_leave_attributes_out(status: RunStatus, table: str) -> None:
    """Count, error and time are optional in the mapping."""
    put(table, **PENDING)
    bare = MergeTarget("words_delta", "words_state")

    assert status.completed(RUN, bare, "run/1/words", 1, AT)
    assert not status.completed(RUN, bare, "run/1/words", 2, AT)
    assert not status.failed(RUN, bare, "run/1/words", "why")
    assert {**PENDING, "words_state": {"S": "COMPLETED"}} == item(table)


def test_any_attribute_name_will_do(status: RunStatus, table: str) -> None:
    """Reserved words and odd characters are names like any others."""
    put(table, data={"S": "x"}, state={"S": "PENDING"})

    assert status.failed(RUN, ODD, "x", "why")
    assert item(table)["a-b.c d"] == {"S": "why"}
    assert status.completed(RUN, ODD, "x", 1, AT)
    assert {"data", "state", "count", "time"} == item(table).keys()


def test_a_completed_run_has_no_error_left(status: RunStatus, table: str) -> None:
    """The error of an earlier attempt would contradict the state beside it."""
    put(table, **PENDING)
    status.failed(RUN, WORDS, "run/1/words", "why")

    status.completed(RUN, WORDS, "run/1/words", 1, AT)

    assert "words_error" not in item(table)


def test_a_failed_run_stays_pending_with_its_error(status: RunStatus, table: str) -> None:
    """L1: the text is there, the state is not touched."""
    put(table, **PENDING)

    assert status.failed(RUN, WORDS, "run/1/words", "no delta at 'run/1/words'")

    assert {**PENDING, "words_error": {"S": "no delta at 'run/1/words'"}} == item(table)


def test_the_same_error_is_written_once(status: RunStatus, table: str) -> None:
    """D1a: a poison run makes one stream record, not one for each attempt; another error is written."""
    put(table, **PENDING)

    assert [True, False, False] == [status.failed(RUN, WORDS, "run/1/words", "why") for _ in range(3)]
    assert status.failed(RUN, WORDS, "run/1/words", "something else")
    assert item(table)["words_error"] == {"S": "something else"}


def test_an_error_is_never_written_over_completed(status: RunStatus, table: str) -> None:
    """L9: a straggling attempt that fails does not spoil what another has published."""
    put(table, **PENDING)
    status.completed(RUN, WORDS, "run/1/words", 1, AT)
    before = item(table)

    assert not status.failed(RUN, WORDS, "run/1/words", "why")
    assert before == item(table)


def test_a_very_long_error_is_cut(status: RunStatus, table: str) -> None:
    """An item has 400 KB in all."""
    put(table, **PENDING)

    assert status.failed(RUN, WORDS, "run/1/words", "x" * 1_000_000)
    assert not status.failed(RUN, WORDS, "run/1/words", "x" * 1_000_000)
    assert len(item(table)["words_error"]["S"]) == 2_000


def test_another_address_is_left_alone(status: RunStatus, table: str) -> None:
    """D1b: the run began anew with another delta: its state is not answered for by the old one."""
    put(table, **PENDING | {"words_delta": {"S": "run/2/words"}})
    before = item(table)

    assert not status.completed(RUN, WORDS, "run/1/words", 1, AT)
    assert not status.failed(RUN, WORDS, "run/1/words", "why")
    assert before == item(table)


def test_an_item_that_is_gone_is_not_brought_back(status: RunStatus, table: str) -> None:
    """S9, D1b: a removed run stays removed."""
    assert not status.completed(RUN, WORDS, "run/1/words", 1, AT)
    assert not status.failed(RUN, WORDS, "run/1/words", "why")
    assert {} == item(table)


def test_two_collections_that_complete_at_once_both_do(status: RunStatus, table: str) -> None:
    """L9: each writes its own attributes alone."""
    put(table, **PENDING)
    with ThreadPoolExecutor(2) as threads:
        words = threads.submit(status.completed, RUN, WORDS, "run/1/words", 1, AT)
        lines = threads.submit(status.completed, RUN, LINES, "run/1/lines", 2, AT)
        assert (True, True) == (words.result(), lines.result())

    assert ({"S": "COMPLETED"}, {"S": "COMPLETED"}) == (item(table)["words_state"], item(table)["lines_state"])


@pytest.mark.parametrize(
    ("keys", "key", "stored"),
    [
        ((("id", "N"),), ItemKey("42"), {"id": {"N": "42"}}),
        ((("id", "S"),), ItemKey("42"), {"id": {"S": "42"}}),
        ((("id", "S"), ("number", "N")), ItemKey("42", "-7.5"), {"id": {"S": "42"}, "number": {"N": "-7.5"}}),
        ((("zz", "N"), ("aa", "S")), ItemKey("1", "2"), {"zz": {"N": "1"}, "aa": {"S": "2"}}),
    ],
)
def test_keys_have_the_types_that_the_table_says(
    status: RunStatus, keys: tuple[tuple[str, str], ...], key: ItemKey, stored: dict[str, Any]
) -> None:
    """A key is plain text in a change; whether "42" is a number only the table knows."""
    table = new_table(*keys)
    plain = client("dynamodb")
    plain.put_item(TableName=table, Item={**stored, **PENDING})
    there = DynamoRunStatus(table, status._client)  # type: ignore[attr-defined]

    assert there.completed(key, WORDS, "run/1/words", 1, AT)
    assert plain.get_item(TableName=table, Key=stored)["Item"]["words_state"] == {"S": "COMPLETED"}


def test_the_table_is_described_once(status: RunStatus, table: str, proxy: FaultProxy) -> None:
    """S5: a batch of a thousand runs asks for the key types once."""
    put(table, **PENDING)
    for count in range(3):
        status.completed(RUN, WORDS, "run/1/words", count, AT)

    assert proxy.count()["POST"] == 4


def test_a_write_whose_answer_was_lost_is_no_failure(status: RunStatus, table: str, proxy: FaultProxy) -> None:
    """L9: the SDK's retry meets its own write; that it "changed nothing" is an ordinary end."""
    put(table, **PENDING)
    status.failed(RUN, WORDS, "run/1/words", "so that the table has been described")
    proxy.on("POST", "", loses_the_answer)

    assert not status.completed(RUN, WORDS, "run/1/words", 1, AT)
    assert item(table)["words_state"] == {"S": "COMPLETED"}


def refuses(status: int, code: str) -> Step:
    """DynamoDB refuses in JSON, where S3 does in XML."""
    body = f'{{"__type": "com.amazonaws.dynamodb#{code}", "message": "as scripted"}}'.encode()
    return lambda exchange: exchange.answer(status, [("Content-Type", "application/x-amz-json-1.0")], body)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (hangs, "no answer"),
        (refuses(500, "InternalServerError"), "InternalServerError"),
        (refuses(400, "AccessDeniedException"), "dynamodb:UpdateItem"),
    ],
    ids=["hangs", "500", "forbidden"],
)
def test_a_table_that_does_not_answer_is_unavailable(proxy: FaultProxy, step: Step, words: str) -> None:
    """L9: the caller goes on: the vectors are published, and the status is made up for later."""
    proxy.always("POST", "", step)
    hasty = DynamoRunStatus("any", client_at("dynamodb", proxy.url, HASTY))

    with pytest.raises(StoreUnavailable, match=words):
        hasty.completed(RUN, WORDS, "run/1/words", 1, AT)


def test_a_table_that_is_not_there_is_told_with_its_setting(status: RunStatus) -> None:
    """L25: the name of the setting to look at."""
    nowhere = DynamoRunStatus("no-such-table", status._client)  # type: ignore[attr-defined]

    with pytest.raises(StoreUnavailable, match=r"no-such-table.*CHROMA_LIFECYCLE_TABLE"):
        nowhere.completed(RUN, WORDS, "run/1/words", 1, AT)


def test_the_time_is_told_in_utc(status: RunStatus, table: str) -> None:
    """Whatever the clock's zone, people read one."""
    put(table, **PENDING)
    status.completed(RUN, replace(WORDS, count=None), "run/1/words", 1, datetime(2026, 1, 1, tzinfo=UTC))

    assert item(table)["words_finished_at"] == {"S": "2026-01-01T00:00:00Z"}
