"""The alarms and the dashboard: everything that a person must know, by metrics that are really emitted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.envelopes import Kind
from chroma_lifecycle.report import CollectionReport, LostCycle, Report
from chroma_lifecycle.telling import lines_of
from handler.telemetry import NAMESPACE
from tests.support.cloudformation import Stack
from tests.template.conftest import WAYS

PHASES = ("restore", "plan", "apply", "seal", "publish", "mirror", "status")


def emitted() -> tuple[set[str], set[str]]:
    """Return the metrics of a batch and those of a collection, from the code that makes them."""
    cycle = CollectionReport("words", 2, True, 1, {}, mirror_behind=True, seconds=dict.fromkeys(PHASES, 0.1))
    lost = LostCycle("lines", 1, BadInput("x", hint="y"))
    lines = lines_of(Report(Kind.SQS, 2, {}, 0, (), (cycle,), (lost,)))
    batch = {name for line in lines if line.collection is None for name in line.numbers}
    return batch | {"descriptors", "lines_dropped"}, {
        name for line in lines if line.collection for name in line.numbers
    }


def alarms(stack: Stack) -> dict[str, Any]:
    return stack.of_type("AWS::CloudWatch::Alarm")


def series(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every metric that an alarm looks at."""
    if "MetricName" in alarm:
        yield alarm
    yield from (each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each)


def test_alarms_watch_what_a_person_must_know(stack: Stack) -> None:
    """D8: dead letters, oldest change, failed cycles, none while messages wait, conflicts, a mirror that is behind."""
    by_source = (
        {"DeadLettersAlarm", "OldestMessageAlarm", "PipeFailuresAlarm", "NoCycleAlarm"}
        if "Queue" in stack.resources
        else {"StreamAgeAlarm"}
    )
    by_mirror = {"MirrorBehindAlarm"} if "FileSystem" in stack.resources else set()

    assert {"LostRecordsAlarm", "FailedCyclesAlarm", "ConflictsAlarm"} | by_source | by_mirror == alarms(stack).keys()
    assert all(each["TreatMissingData"] == "notBreaching" for each in alarms(stack).values())


def test_alarms_tell_the_topic_that_is_given(template: dict[str, Any]) -> None:
    """D8: without a topic they only change colour."""
    topic = "arn:aws:sns:eu-central-1:123456789012:people"

    assert all([topic] == each["AlarmActions"] for each in alarms(Stack(template, {"AlarmTopicArn": topic})).values())
    assert not any("AlarmActions" in each for each in alarms(Stack(template)).values())


def test_our_alarms_look_at_what_the_function_tells(mirrored: Stack) -> None:
    """D8: each names a metric of the batch and the dimension that it has; a misspelt one would never ring."""
    ours = [
        (name, each)
        for name, alarm in alarms(mirrored).items()
        for each in series(alarm)
        if each["Namespace"] == NAMESPACE
    ]

    assert {"FailedCyclesAlarm", "ConflictsAlarm", "MirrorBehindAlarm"} == {name for name, _ in ours}
    assert {each["MetricName"] for _, each in ours} <= emitted()[0]
    assert all([{"Name": "service", "Value": "Compactor"}] == each["Dimensions"] for _, each in ours)


def evaluate(alarm: dict[str, Any], **sums: float | None) -> float | None:
    """Return what an alarm's expression gives for the sums of five minutes, as CloudWatch does the sum."""
    [expression] = [each["Expression"] for each in alarm["Metrics"] if "Expression" in each]
    filled = re.sub(r"FILL\((\w+), 0\)", r"(\1 or 0)", expression)
    try:
        return float(eval(filled, {}, sums))
    except (TypeError, ZeroDivisionError):
        return None


def test_one_failed_cycle_beside_a_good_one_counts(defaults: Stack) -> None:
    """D8: no invocation fails while one of two collections is published; the metric of cycles tells it."""
    alarm = alarms(defaults)["FailedCyclesAlarm"]

    assert alarm["Threshold"] < evaluate(alarm, cycles=1, invocations=0)  # type: ignore[operator]
    assert alarm["Threshold"] < evaluate(alarm, cycles=None, invocations=1)  # type: ignore[operator]
    assert alarm["Threshold"] == evaluate(alarm, cycles=None, invocations=0)


@pytest.mark.parametrize(("lost", "published", "rings"), [(9, 3, True), (3, 9, False), (0, 5, False), (0, 0, False)])
def test_conflicts_ring_above_one_for_each_version(defaults: Stack, lost: int, published: int, rings: bool) -> None:
    """D8: a rate, not a count: two functions that take turns are ordinary."""
    alarm = alarms(defaults)["ConflictsAlarm"]
    rate = evaluate(alarm, lost=lost, published=published)

    assert rings == (rate is not None and rate > alarm["Threshold"])


def test_a_pipe_that_brings_a_part_of_each_batch_rings(defaults: Stack) -> None:
    """D8: what the queue refuses of a batch waits in a stream that forgets, like the whole of one that failed."""
    alarm = alarms(defaults)["PipeFailuresAlarm"]

    assert {"ExecutionFailed", "ExecutionPartiallyFailed"} == {each["MetricName"] for each in series(alarm)}
    assert alarm["Threshold"] < evaluate(alarm, failed=0, partly=1)  # type: ignore[operator]
    assert alarm["Threshold"] < evaluate(alarm, failed=1, partly=None)  # type: ignore[operator]
    assert alarm["Threshold"] == evaluate(alarm, failed=0, partly=0)


def test_the_dashboard_shows_the_alarms_that_there_are(stack: Stack) -> None:
    """D8: all of them, on one page of valid JSON."""
    body = json.loads(stack.properties("Dashboard")["DashboardBody"])
    shown = [arn for widget in body["widgets"] if widget["type"] == "alarm" for arn in widget["properties"]["alarms"]]

    assert sorted(f"{name}.Arn" for name in alarms(stack)) == sorted(shown)


def test_the_dashboard_shows_what_the_function_tells(template: dict[str, Any]) -> None:
    """D8: the names in its widgets and searches are those of the metrics, and none that alarms watch is left out."""
    body = Stack(template, WAYS["mirror"]).properties("Dashboard")["DashboardBody"]
    batch, collection = emitted()
    ours = set(re.findall(r'"ChromaLifecycle", "(\w+)", "service", "Compactor"', body))
    searched = set(re.findall(r'\\"(\w+)\\"', body)) - {"Compactor"}

    assert ours <= batch
    assert searched <= collection
    assert {f"messages_{name}" for name in ("applied", "no_op", "ignored", "failed")} <= ours
    assert {"cycles_failed", "swaps_lost", "mirror_behind", "published"} <= ours
    assert {f"{phase}_seconds" for phase in PHASES} | {"lag_seconds", "version", "tail", "withheld"} <= searched


def test_widgets_do_not_overlap(defaults: Stack) -> None:
    """The page is 24 columns wide."""
    taken: set[tuple[int, int]] = set()
    for widget in json.loads(defaults.properties("Dashboard")["DashboardBody"])["widgets"]:
        x, y, width, height = (widget[name] for name in ("x", "y", "width", "height"))
        cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
        assert not cells & taken
        assert x + width <= 24
        taken |= cells
