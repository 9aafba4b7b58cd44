"""The function's own part: settings once, the answer in the shape that each caller wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.errors import BadInput, NoTime, NotInitialised
from handler.app import lambda_handler
from tests.support.pipeline import Context, cold
from tests.support.table import Table, in_sqs, in_stream
from tests.support.world import IMAGE, RUN, WORD, World, begins


def call(event: Any, milliseconds: int = 60_000) -> Any:
    return lambda_handler(event, Context(milliseconds))  # type: ignore[arg-type]


def test_a_queue_is_told_the_messages_that_failed(world: World) -> None:
    """L15: the messageId of the poison message, and no other."""
    world.write_delta("r1", {WORD: (1, None, {})})

    answer = call(in_sqs([Table().put(*RUN, **begins("r1")), "{"]))

    assert {"batchItemFailures": [{"itemIdentifier": "message-1"}]} == answer
    assert {WORD} == set(world.records())


def test_a_queue_is_told_that_nothing_failed(world: World) -> None:
    """An empty list says that the whole batch is done."""
    assert {"batchItemFailures": []} == call(in_sqs([Table().put("USER#1", "x")]))


def test_a_stream_is_told_the_sequence_number_as_it_came(world: World) -> None:
    """L15: zero-padded numbers go back with their zeros."""
    record = Table().put(*RUN, **begins("gone"))
    record["dynamodb"]["SequenceNumber"] = "000000000000000000042"

    answer = call(in_stream([record]))

    assert {"batchItemFailures": [{"itemIdentifier": "000000000000000000042"}]} == answer


def test_a_direct_call_gets_the_report(world: World) -> None:
    """A list of stream records is answered with what became of them."""
    answer = call([Table().put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="x")])

    assert (1, 1, 0, "direct") == (answer["received"], answer["applied"], answer["failed"], answer["kind"])
    json.dumps(answer)


def test_a_direct_call_raises_if_a_record_failed(world: World) -> None:
    """Nobody redelivers a direct call, so a failure must not look like an answer."""
    with pytest.raises(BadInput, match="1 of 1 records failed"):
        call([Table().put(*RUN, **begins("gone"))])


def test_no_collection_raises(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: a store without the collections is a failure of the infrastructure, and is raised."""
    monkeypatch.setenv("CHROMA_LIFECYCLE_STORE", str(world.home / "deltas"))

    with pytest.raises(NotInitialised):
        call(in_sqs([Table().put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="x")]))


def test_the_deadline_is_that_of_the_invocation(world: World) -> None:
    """S1: each invocation counts its own time, also in a warm container."""
    table = Table()
    with pytest.raises(NoTime):
        call(in_sqs([table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="x")]), milliseconds=200)

    assert {"batchItemFailures": []} == call(in_sqs([table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="y")]))


def test_wrong_settings_are_told_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both missing settings, the misspelled one and the malformed one are in one error."""
    for name, value in {"STROE": "x", "DEADLINE_RESERVE_SECONDS": "soon"}.items():
        monkeypatch.setenv(f"CHROMA_LIFECYCLE_{name}", value)
    for name in ("STORE", "MAPPING"):
        monkeypatch.delenv(f"CHROMA_LIFECYCLE_{name}", raising=False)
    cold()

    with pytest.raises(BadInput) as told:
        call(in_sqs(["x"]))

    for part in ("STROE is not a setting; did you mean", "STORE is not set", "MAPPING is not set", "'soon'"):
        assert part in str(told.value)


def test_the_handler_is_short() -> None:
    """The function holds no logic of its own."""
    assert len(Path("handler/app.py").read_text("utf-8").splitlines()) <= 80


EVENTS = sorted(Path("events").glob("*-s*.json"))


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_example_event_has_the_outcome_that_its_name_says(world: World, path: Path) -> None:
    """`ok-*` fail nowhere; `bad-*` fail in some of their messages, or as a whole."""
    record = (7, None, {})
    for name, ids in {"words": "IMAGE#7f2a#RECEIPT#00001#LINE#00002#WORD#00003", "lines": "IMAGE#7f2a"}.items():
        id_ = ids if name == "words" else f"{ids}#RECEIPT#00001#LINE#00002"
        world.write_delta(f"receipts/7f2a-1/{name}", {id_: record})
    try:
        failures = call(json.loads(path.read_text("utf-8")))["batchItemFailures"]
    except BadInput:
        failures = ["all"]

    assert path.stem.startswith("bad-") == bool(failures)
