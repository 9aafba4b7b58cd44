"""What the function tells: one line for each cycle and one for the batch, which are its metrics too."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog

from chroma_lifecycle.errors import NotInitialised
from handler import sink
from handler.app import lambda_handler
from tests.support.pipeline import Context
from tests.support.table import Table, in_sqs
from tests.support.world import IMAGE, LINE, RUN, WORD, World, begins, label

COUNTS = ("received", "applied", "no_op", "ignored", "failed")
SECRET = "a text that only documents, metadata and deltas hold"


def call(event: Any) -> Any:
    return lambda_handler(event, Context())  # type: ignore[arg-type]


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the lines since the last time, by event."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for text in capsys.readouterr().out.splitlines():
        line = json.loads(text)
        lines.setdefault(line["event"], []).append(line)
    return lines


def metrics(line: dict[str, Any]) -> dict[str, float]:
    """Return what CloudWatch makes of a line, by its own rules: each metric is a number at the root."""
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert isinstance(line["_aws"]["Timestamp"], int)
    assert len(directive["Metrics"]) <= 100
    assert all(isinstance(line[name], str) for dimensions in directive["Dimensions"] for name in dimensions)
    return {metric["Name"]: float(line[metric["Name"]]) for metric in directive["Metrics"]}


def test_a_cycle_is_one_line_that_is_its_metrics_too(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads the line sees what CloudWatch counts: messages, records, bytes, phases, lag, mirror, tail."""
    world.write_delta("r1", {WORD: (1, "text", {})})
    call(in_sqs([Table().put(*RUN, **begins("r1"))]))
    [line] = told(capsys)["cycle"]

    assert ["timestamp", "level", "event", "collection", "version"] == list(line)[:5]
    assert "_aws" == list(line)[-1]
    assert [["collection", "service"]] == line["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    assert ("words", "compactor", "info") == (line["collection"], line["service"], line["level"])
    found = metrics(line)
    expected = {
        "version": 2, "published": 1, "messages_received": 1, "messages_applied": 1, "messages_no_op": 0,
        "messages_failed": 0, "records_added": 1, "records_changed": 0, "records_removed": 0, "swaps_lost": 0,
        "mirror_behind": 0, "withheld": 0, "tail": 1, "bytes_published": world.published().manifest.stored_bytes,
    }  # fmt: skip
    assert expected == {name: found[name] for name in expected}
    phases = {"restore", "plan", "apply", "seal", "publish", "mirror"}
    assert phases == {name.removesuffix("_seconds") for name in found} - expected.keys() - {"lag"}
    assert found["lag_seconds"] > 0


def test_the_sums_hold_in_report_line_and_metrics(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """D6: applied + no-op + failed + ignored = received, by batch and by collection."""
    table = Table()
    good = label(table, "total")
    event = in_sqs([good, good, "{", table.put("USER#1", "x"), table.put(*RUN, **begins("gone"))])

    answer = call(event)
    lines = told(capsys)

    [batch] = lines["batch"]
    counted = metrics(batch)
    assert [5, 1, 1, 1, 2] == [counted[f"messages_{name}"] for name in COUNTS]
    assert 2 == len(answer["batchItemFailures"])
    for line in [batch, *lines["cycle"]]:
        found = {name: metrics(line).get(f"messages_{name}", 0) for name in COUNTS}
        assert found.pop("received") == sum(found.values())
    assert ("warning", ["message-2", "message-4"]) == (batch["level"], [why["first"] for why in batch["failures"]])


def test_lines_do_not_grow_with_the_batch(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """D5: 400 messages, half of them poison for reasons of their own, make as many lines as one, and short ones."""
    table = Table()
    call(in_sqs([label(table, "a")]))
    few = told(capsys)
    bad = [table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{n}", **begins(f"gone-{n}")) for n in range(200)]
    call(in_sqs([*bad, *(label(table, f"label_{n}") for n in range(200))]))
    many = told(capsys)

    assert {name: len(lines) for name, lines in few.items()} == {name: len(lines) for name, lines in many.items()}
    [batch] = many["batch"]
    assert (200, {"more_reasons": 190}) == (batch["messages_failed"], batch["failures"][-1])
    assert len(json.dumps(batch)) < 8_000


def test_a_reason_that_many_messages_share_is_told_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """D5: with how many there are, the first of them, and the way out."""
    call(in_sqs(["{"] * 50))

    [batch] = told(capsys)["batch"]
    [reason] = batch["failures"]
    assert (50, "message-0", "BadInput") == (reason["messages"], reason["first"], reason["kind"])
    assert reason["hint"]


def test_a_cycle_that_fails_is_told_although_the_invocation_raises(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """D8: the log names error and way out, and the metrics count the cycle and its messages, with their age."""
    monkeypatch.setenv("CHROMA_LIFECYCLE_STORE", str(world.home / "deltas"))
    with pytest.raises(NotInitialised):
        call(in_sqs([Table().put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="x")]))
    lines = told(capsys)

    assert {"words", "lines"} == {line["collection"] for line in lines["cycle failed"]}
    assert {("error", "NotInitialised", 1.0, 1.0)} == {
        (line["level"], line["kind"], metrics(line)["cycles_failed"], metrics(line)["messages_failed"])
        for line in lines["cycle failed"]
    }
    assert all("init" in line["hint"] and metrics(line)["lag_seconds"] > 0 for line in lines["cycle failed"])
    assert 2 == metrics(lines["batch"][0])["cycles_failed"]


def test_a_mirror_that_lags_is_counted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """D8: the batch says it without a collection, since an alarm can watch one series only."""
    (world.home / "mirror").rmdir()
    call(in_sqs([label(Table(), "total")]))
    lines = told(capsys)

    assert [1] == [metrics(line)["mirror_behind"] for line in lines["batch"]]
    assert {1} == {metrics(line)["mirror_behind"] for line in lines["cycle"]}
    assert "mirror is behind" in lines


def test_nothing_that_a_record_holds_is_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """D7: documents, metadata and attributes stay out of the lines, in success, refusal and failure."""
    table = Table()
    world.write_delta("r1", {WORD: (1, SECRET, {"note": SECRET}), "OTHER#1": (2, SECRET, {"x": SECRET})})
    world.write_delta("r2", {f"{LINE}#WORD#00002": (1, SECRET, {"note": SECRET})})
    call(
        in_sqs(
            [
                table.put(*RUN, **begins("r1")),
                table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r2")),
                table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name=SECRET),
                table.put(IMAGE, "RECEIPT#00002#PLACE", merchant_name=[SECRET, {"deep": SECRET}]),
                json.dumps({"x": SECRET}),
                f"{SECRET} {{",
            ]
        )
    )
    out = capsys.readouterr().out

    assert '"messages_failed":' in out
    assert [] == [line for line in out.splitlines() if SECRET in line]


def test_an_expected_absence_is_no_error(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """D7: an item that no rule takes, a label before its vector, a duplicate: all of it is information."""
    table = Table()
    early = label(table, "total")
    call(in_sqs([early, table.put("USER#1", "PROFILE")]))
    call(in_sqs([early]))

    assert {"info"} == {line["level"] for lines in told(capsys).values() for line in lines}


# S6: telemetry that hangs or fails.


@contextmanager
def full_pipe() -> Iterator[tuple[TextIO, int]]:
    """Give a stream whose writer waits for ever: a real pipe that is full, and its other end, which nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 65_536)
    os.set_blocking(writing, True)
    os.set_blocking(reading, False)
    stream = os.fdopen(writing, "w")
    try:
        yield stream, reading
    finally:
        os.close(reading)  # what waits is let go, so that no thread outlives the test
        with suppress(OSError):
            stream.close()


def test_a_log_that_hangs_costs_a_fifth_of_a_second_once(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """S6: nobody reads standard output any more: both batches are published, and only the first waits at all."""
    waits: list[float] = []
    real = threading.Condition.wait_for

    def wait_for(self: threading.Condition, predicate: Any, timeout: float | None = None) -> bool:
        if "settle" in predicate.__qualname__:
            assert timeout is not None
            waits.append(timeout)
        return bool(real(self, predicate, timeout))

    monkeypatch.setattr(threading.Condition, "wait_for", wait_for)
    table = Table()
    with full_pipe() as (stream, reading):
        monkeypatch.setattr("sys.stdout", stream)
        answers = [call(in_sqs([label(table, name)])) for name in ("total", "date")]
        assert [{"batchItemFailures": []}] * 2 == answers
        assert 3 == world.version()
        assert ([sink.PATIENCE_SECONDS, 0.0], True) == (waits, sink.PATIENCE_SECONDS < 0.25)
        monkeypatch.undo()
        # When somebody reads again, the lines come.
        os.set_blocking(reading, True)
        late = b""
        while late.count(b'"event":"batch"') < 2:
            late += os.read(reading, 1 << 20)
        os.set_blocking(reading, False)


def test_a_log_that_was_closed_costs_its_lines(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S6: every write to standard output fails; the batch is published and answered for, and the lines counted."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    monkeypatch.setattr("sys.stdout", stream)

    assert {"batchItemFailures": []} == call(in_sqs([label(Table(), "total")]))

    from handler.app import _telemetry

    assert _telemetry("compactor")._sink.dropped > 0
    assert 2 == world.version()
    monkeypatch.undo()
    with suppress(OSError):
        stream.close()


def test_a_logger_that_raises_costs_its_lines(world: World) -> None:
    """S6: whoever embeds the library has a defect in a processor; the cycle does not notice."""

    def broken(*_: object) -> dict[str, object]:
        raise RuntimeError("a defect of the logging")

    structlog.configure(processors=[broken])
    (world.home / "mirror").rmdir()  # one more thing to say

    assert 1 == world.compact([label(Table(), "total")]).applied
    assert 2 == world.version()


def test_a_metric_that_cannot_be_made_costs_its_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S6: a defect in the telemetry itself is no failure of the batch."""

    def broken(*_: object) -> list[Any]:
        raise ValueError("a defect of the telemetry")

    monkeypatch.setattr("handler.telemetry.lines_of", broken)

    assert {"batchItemFailures": []} == call(in_sqs([label(Table(), "total")]))
    assert 2 == world.version()


def test_lines_beyond_the_capacity_are_dropped_and_counted() -> None:
    """S6: a log that hangs does not fill the memory."""
    with full_pipe() as (stream, _):
        writes = sink.Sink(stream)
        for number in range(sink.CAPACITY + 12):
            writes.write(str(number))
        assert writes.dropped in (11, 12)  # the thread may hold one


def test_a_thread_that_cannot_be_started_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3: at the limit of a process the line waits, and the next one that finds a thread brings both."""
    with (tmp_path / "log").open("w") as stream:
        writes = sink.Sink(stream)
        with monkeypatch.context() as limit:
            limit.setattr(threading.Thread, "start", _no_more_threads)
            writes.write("one")
            writes.settle()
        writes.write("two")
        writes.settle()
    assert ["one", "two"] == (tmp_path / "log").read_text().splitlines()


def _no_more_threads(thread: threading.Thread) -> None:
    del thread
    raise RuntimeError("can't start new thread")


def test_lines_arrive_in_order_and_no_thread_stays(tmp_path: Path) -> None:
    """S3: the thread ends with its work."""
    with (tmp_path / "log").open("w") as stream:
        writes = sink.Sink(stream)
        for number in range(500):
            writes.write(str(number))
        writes.settle()
    assert [str(number) for number in range(500)] == (tmp_path / "log").read_text().splitlines()
    for thread in threading.enumerate():
        if thread.name == "telemetry":
            thread.join(30)
            assert not thread.is_alive()
