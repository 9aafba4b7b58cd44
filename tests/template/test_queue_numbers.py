"""The numbers of the way from the table to the function, against what AWS promises."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cloudformation import Stack

DAY = 86_400
TIMEOUTS = ["120", "300", "600", "900"]


def test_every_timeout_has_its_visibility(template: dict[str, Any]) -> None:
    """The time-outs that may be chosen are those that the tests below go through."""
    assert TIMEOUTS == template["Parameters"]["TimeoutSeconds"]["AllowedValues"]
    assert TIMEOUTS == list(template["Mappings"]["Timeout"])


@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_visibility_outlasts_six_cycles_and_the_longest_window(template: dict[str, Any], timeout: str) -> None:
    """L7: a message that waits behind a busy compactor is not received a second time meanwhile."""
    stack = Stack(template, {"TimeoutSeconds": timeout})
    longest_window = template["Parameters"]["BatchingWindowSeconds"]["MaxValue"]

    assert stack.properties("Compactor")["Timeout"] == timeout
    assert stack.properties("Queue")["VisibilityTimeout"] >= 6 * int(timeout) + longest_window


def test_nothing_throttles_the_poller(stack: Stack) -> None:
    """L7: reserved concurrency would raise the receive counts of messages that nobody tried; two is the least."""
    assert "ReservedConcurrentExecutions" not in stack.properties("Compactor")
    for each in stack.of_type("AWS::Lambda::EventSourceMapping").values():
        if each["EventSourceArn"] == "Queue.Arn":
            assert {"MaximumConcurrency": 2} == each["ScalingConfig"]


def test_only_failed_messages_come_again(stack: Stack) -> None:
    """L7: a poison message does not take its batch to the dead-letter queue with it."""
    (mapping,) = stack.of_type("AWS::Lambda::EventSourceMapping").values()

    assert ["ReportBatchItemFailures"] == mapping["FunctionResponseTypes"]


@pytest.mark.parametrize("timeout", TIMEOUTS)
@pytest.mark.parametrize("count", ["Default", "MaxValue"])
def test_poison_reaches_the_dead_letters_before_retention_ends(
    template: dict[str, Any], timeout: str, count: str
) -> None:
    """L8: all receives of a message take less than half of what the queue keeps it for."""
    receives = template["Parameters"]["MaxReceiveCount"][count]
    queue = Stack(template, {"TimeoutSeconds": timeout, "MaxReceiveCount": receives}).properties("Queue")

    assert {"deadLetterTargetArn": "DeadLetters.Arn", "maxReceiveCount": receives} == queue["RedrivePolicy"]
    assert queue["MessageRetentionPeriod"] / queue["VisibilityTimeout"] > 2 * receives


def test_by_default_poison_is_set_aside_on_its_first_day(defaults: Stack) -> None:
    """L8: the dead-letter queue, which counts a message's age from its sending, has it for 13 days more."""
    queue, dead = defaults.properties("Queue"), defaults.properties("DeadLetters")

    assert queue["RedrivePolicy"]["maxReceiveCount"] * queue["VisibilityTimeout"] < DAY
    assert 14 * DAY == queue["MessageRetentionPeriod"] == dead["MessageRetentionPeriod"]


def test_an_outage_of_ten_hours_takes_no_sound_message_aside(defaults: Stack) -> None:
    """L7: while every invocation fails, a message is received once in each visibility time-out."""
    queue = defaults.properties("Queue")

    assert queue["RedrivePolicy"]["maxReceiveCount"] * queue["VisibilityTimeout"] > 10 * 3_600


def test_a_trickle_makes_one_cycle_a_window(template: dict[str, Any], stack: Stack) -> None:
    """D3: batches are gathered, within the sizes and windows that Lambda takes."""
    (mapping,) = stack.of_type("AWS::Lambda::EventSourceMapping").values()
    window, size = (template["Parameters"][name] for name in ("BatchingWindowSeconds", "BatchSize"))

    assert 10 == mapping["MaximumBatchingWindowInSeconds"] == window["Default"]
    assert (1, 300) == (window["MinValue"], window["MaxValue"])
    assert 2_000 == mapping["BatchSize"] == size["Default"]
    assert (1, 10_000) == (size["MinValue"], size["MaxValue"])


def test_the_pipe_loses_nothing_while_the_stream_keeps_it(defaults: Stack) -> None:
    """A record that cannot be queued is tried until the stream's last hour, and then named."""
    source = defaults.properties("Pipe")["SourceParameters"]["DynamoDBStreamParameters"]

    assert (10, -1, "TRIM_HORIZON") == tuple(
        source[name] for name in ("BatchSize", "MaximumRetryAttempts", "StartingPosition")
    )
    assert DAY - 3_600 == source["MaximumRecordAgeInSeconds"]
    assert {"Arn": "LostRecords.Arn"} == source["DeadLetterConfig"]
    assert ("Table.StreamArn", "Queue.Arn") == (
        defaults.properties("Pipe")["Source"], defaults.properties("Pipe")["Target"]
    )  # fmt: skip


def test_the_stream_carries_both_images(defaults: Stack) -> None:
    """A run begins by comparing the old image with the new one."""
    assert {"StreamViewType": "NEW_AND_OLD_IMAGES"} == defaults.properties("Table")["StreamSpecification"]


def test_the_direct_path_has_no_queue(template: dict[str, Any]) -> None:
    """Source stream: the function reads the stream, and what it gives up is named in the same place."""
    stack = Stack(template, {"Source": "stream"})
    (mapping,) = stack.of_type("AWS::Lambda::EventSourceMapping").values()

    assert {"LostRecords"} == stack.of_type("AWS::SQS::Queue").keys()
    assert {} == stack.of_type("AWS::Pipes::Pipe")
    assert "Table.StreamArn" == mapping["EventSourceArn"]
    assert (True, -1, 1) == tuple(
        mapping[name] for name in ("BisectBatchOnFunctionError", "MaximumRetryAttempts", "ParallelizationFactor")
    )
    assert mapping["MaximumRecordAgeInSeconds"] < DAY
    assert {"OnFailure": {"Destination": "LostRecords.Arn"}} == mapping["DestinationConfig"]


def test_an_existing_table_is_followed(template: dict[str, Any]) -> None:
    """Of a table that exists only the stream is read and run items are updated."""
    arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/theirs/stream/1"
    stack = Stack(template, {"TableName": "theirs", "StreamArn": arn})

    assert {} == stack.of_type("AWS::DynamoDB::Table")
    assert arn == stack.properties("Pipe")["Source"]


def test_consumption_can_be_paused(template: dict[str, Any]) -> None:
    """Consume false stops the function from taking events; the queue fills meanwhile."""
    for source in ("queue", "stream"):
        (mapping,) = (
            Stack(template, {"Consume": "false", "Source": source}).of_type("AWS::Lambda::EventSourceMapping").values()
        )
        assert "false" == mapping["Enabled"]
