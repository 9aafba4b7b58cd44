"""Traces by phase: sent to a real daemon's socket, or to one that is not there, or not made at all."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aws_xray_sdk.core import xray_recorder
from aws_xray_sdk.core.lambda_launcher import LambdaContext

from chroma_lifecycle.batch.phases import untraced
from chroma_lifecycle.errors import NotInitialised
from handler.app import lambda_handler
from handler.tracing import tracer
from tests.support.pipeline import Context, cold
from tests.support.table import Table, in_sqs
from tests.support.world import World, label

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture
def daemon(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """X-Ray's daemon: a UDP socket on this machine, and the variables that lead there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(30)
        in_lambda(monkeypatch, listening.getsockname()[1])
        yield listening


def in_lambda(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Set what Lambda sets where tracing is active."""
    for name, value in {
        "AWS_XRAY_DAEMON_ADDRESS": f"127.0.0.1:{port}",
        "LAMBDA_TASK_ROOT": "/var/task",
        "_X_AMZN_TRACE_ID": TRACE,
    }.items():
        monkeypatch.setenv(name, value)
    # The SDK reads these when it is first imported, which may have been in another test.
    xray_recorder.configure(context=LambdaContext(), daemon_address=f"127.0.0.1:{port}")
    cold()


def call(event: Any) -> Any:
    return lambda_handler(event, Context())  # type: ignore[arg-type]


def segments(daemon: socket.socket, count: int) -> list[dict[str, Any]]:
    """Return the next subsegments; each datagram is a header and a document."""
    return [json.loads(daemon.recv(65_536).split(b"\n", 1)[1]) for _ in range(count)]


def test_every_phase_is_a_subsegment(world: World, daemon: socket.socket) -> None:
    """A trace shows where the time of a cycle went, by phase and collection; requests to S3 are not in it (D5)."""
    call(in_sqs([label(Table(), "total")]))
    found = segments(daemon, 12)

    phases = ["restore", "plan", "apply", "seal", "publish", "mirror"]
    assert [(collection, phase) for collection in ("lines", "words") for phase in phases] == [
        (each["annotations"]["collection"], each["name"]) for each in found
    ]
    assert {TRACE.split("=")[1].split(";")[0]} == {each["trace_id"] for each in found}
    assert not any(each.get("fault") for each in found)


def test_a_phase_that_fails_is_marked_and_its_text_kept_out(world: World, daemon: socket.socket) -> None:
    """An exception's text may quote a record, and a trace is read by more people than the table."""
    for collection in ("lines", "words"):
        shutil.rmtree(world.home / "store" / collection)
    with pytest.raises(NotInitialised):
        call(in_sqs([label(Table(), "total")]))
    restore, other = segments(daemon, 2)

    assert ("restore", True, True) == (restore["name"], restore["fault"], other["fault"])
    assert "cause" not in restore


def test_a_daemon_that_is_not_there_harms_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S6: nobody listens at the address: the batch is published."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    in_lambda(monkeypatch, port)

    assert {"batchItemFailures": []} == call(in_sqs([label(Table(), "total")]))
    assert 2 == world.version()


def test_a_tracer_that_raises_harms_nothing(world: World, daemon: socket.socket) -> None:
    """S6: without a trace id the SDK has no segment to put a subsegment into."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("_X_AMZN_TRACE_ID")
        assert {"batchItemFailures": []} == call(in_sqs([label(Table(), "total")]))


def test_without_x_ray_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop, and where tracing is off, phases are surrounded by nothing."""
    for name in ("AWS_XRAY_DAEMON_ADDRESS", "LAMBDA_TASK_ROOT"):
        monkeypatch.delenv(name, raising=False)

    assert tracer() is untraced
