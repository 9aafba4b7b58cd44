"""How AWS reads the answer of a function that reports partial failures."""

from __future__ import annotations

from typing import Any

import pytest

from dev.function import Answer, Context, failed_of

BATCH = ["a", "b", "c"]
CASES = [
    (None, []),
    ({}, []),
    ({"batchItemFailures": []}, []),
    ({"batchItemFailures": None}, []),
    ({"batchItemFailures": [{"itemIdentifier": "b"}]}, ["b"]),
    ({"batchItemFailures": [{"itemIdentifier": ""}]}, BATCH),
    ({"batchItemFailures": [{"itemIdentifier": None}]}, BATCH),
    ({"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "stranger"}]}, BATCH),
    ({"batchItemFailures": [{"messageId": "b"}]}, BATCH),
    ({"batchItemFailures": "b"}, BATCH),
    ("done", BATCH),
]


@pytest.mark.parametrize(("payload", "failed"), CASES)
def test_an_answer_is_read_as_aws_reads_it(payload: Any, failed: list[str]) -> None:
    """Named records fail; with a name that is none of the batch, or another form, all of them do."""
    assert failed == sorted(failed_of(Answer(payload, None, 0), BATCH))


def test_a_function_that_raises_fails_the_whole_batch() -> None:
    """Whatever it may have answered."""
    assert BATCH == sorted(failed_of(Answer({"batchItemFailures": []}, "it raised", 0), BATCH))


def test_time_that_is_over_is_none() -> None:
    """The context never tells less than nothing."""
    assert 0 == Context(ends_at=0, aws_request_id="1").get_remaining_time_in_millis()
