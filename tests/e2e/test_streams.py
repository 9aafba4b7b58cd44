"""Real streams: DynamoDB Local's table, through the pipe and the queue, to workers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from chroma_lifecycle.clock import SYSTEM_CLOCK
from dev.queue_source import Batching
from dev.stream import StreamReader
from dev.table import items
from tests.e2e.conftest import Followed, item_of, records_of
from tests.e2e.writes import DELTAS, Write, distinct, writes
from tests.model.reference import Reference, typed
from tests.support.world import IMAGE, LINE, RUN, WORD, begins

pytestmark = pytest.mark.e2e

WRITES = int(os.environ.get("WRITES", "10000"))
Follow = Callable[..., Followed]


def test_a_run_ends_completed_and_its_status_write_does_nothing(follow: Follow) -> None:
    """D1a: our own write comes back as a MODIFY and is ignored; one version, two invocations."""
    followed = follow()
    followed.world.write_delta("r1", {WORD: (1, "text", {"x": 1})})
    followed.put(*RUN, **begins("r1"))
    followed.pipeline.consume()
    followed.drain(2)

    item = followed.item(*RUN)
    assert ("COMPLETED", "1") == (item["words_state"], item["words_merged_vectors"])
    assert {WORD: (1, "text", {"x": 1})} == records_of(followed)["words"]
    assert 2 == followed.world.version()
    assert [1, 1] == [each.received for each in followed.pipeline.invocations]


def test_a_poison_run_makes_a_bounded_number_of_invocations(follow: Follow) -> None:
    """D1a: its error is written once and comes back once; then it is a dead letter, and all is quiet."""
    followed = follow(receives=3)
    followed.put(*RUN, **begins("gone"))
    followed.pipeline.consume()
    followed.drain(2)

    item = followed.item(*RUN)
    assert "PENDING" == item["words_state"]
    assert "gone.parquet" in item["words_error"]
    [letter] = followed.pipeline.queue.dead_letters()
    assert "INSERT" == json.loads(letter)["eventName"]
    assert (3, 4) == (sum(each.failed for each in followed.pipeline.invocations), messages(followed))
    assert 1 == followed.world.version()


def test_records_that_were_removed_stay_so_when_the_run_is_told_completed(follow: Follow) -> None:
    """D1b: run at s1, REMOVE at s2, and our own status write at s3, which comes back through the stream."""
    followed = follow()
    followed.world.write_delta("r1", {WORD: (1, "text", {}), f"{LINE}#WORD#00002": (2, "text", {})})
    word = WORD.removeprefix(f"{IMAGE}#")
    followed.put(IMAGE, word, text="x")
    followed.put(*RUN, **begins("r1"))
    followed.remove(IMAGE, word)
    followed.pipeline.consume()
    followed.drain(4)

    assert "COMPLETED" == followed.item(*RUN)["words_state"]
    assert {f"{LINE}#WORD#00002"} == set(records_of(followed)["words"])


def test_an_item_that_expires_takes_its_record_along(follow: Follow) -> None:
    """A removal by DynamoDB itself counts as any other."""
    followed = follow()
    followed.world.write_delta("r1", {WORD: (1, "text", {})})
    followed.put(*RUN, **begins("r1"))
    expired = int(SYSTEM_CLOCK.now().timestamp()) - 3_600
    followed.put(IMAGE, WORD.removeprefix(f"{IMAGE}#"), text="x", expires=expired)
    reader = StreamReader(followed.pipeline.cloud, followed.pipeline.stream)
    followed.pipeline.cloud.client("dynamodb").update_time_to_live(
        TableName=followed.pipeline.plan.table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )
    followed.pipeline.consume()
    followed.drain(4)

    [removal] = [record for record in reader.read() if record["eventName"] == "REMOVE"]
    assert {"type": "Service", "principalId": "dynamodb.amazonaws.com"} == removal["userIdentity"]
    assert {} == records_of(followed)["words"]


def test_only_poison_becomes_a_dead_letter_and_before_it_is_forgotten(follow: Follow) -> None:
    """L8: a message that was kept for too short a time would be in neither queue."""
    followed = follow(receives=3, retention_seconds=60)
    followed.world.write_delta("r1", {WORD: (1, "text", {})})
    followed.put(*RUN, **begins("r1"))
    followed.pipeline.queue.send(["{no json", json.dumps({"x": 1})])
    followed.pipeline.consume()
    followed.drain(2)

    assert ["{no json", '{"x": 1}'] == sorted(followed.pipeline.queue.dead_letters(), reverse=True)
    assert {WORD} == set(records_of(followed)["words"])
    assert 2 + 2 * 3 == messages(followed)


def test_one_busy_compactor_makes_no_dead_letters(follow: Follow) -> None:
    """L7: twelve batches wait for one worker, and each message is received once."""
    followed = follow(workers=1, batching=Batching(most=100, window_seconds=0.2))
    write(followed, (((IMAGE, label(word)), {"validation_status": "VALID"}) for word in range(1_200)))
    followed.pipeline.consume()
    followed.drain(1_200)

    assert (1_200, 1) == (messages(followed), max(each.receives for each in followed.pipeline.invocations))
    assert [] == followed.pipeline.queue.dead_letters()


def test_a_stream_without_a_queue_goes_on_behind_what_is_given_up(follow: Follow) -> None:
    """L1: a run without its delta holds up what comes after it, is given up, and nothing else is lost."""
    followed = follow(source="stream", workers=1, receives=3)
    followed.world.write_delta("r1", {WORD: (1, "text", {})})
    followed.put(IMAGE, RUN[1].replace("r1", "r0"), **begins("gone"))
    followed.put(*RUN, **begins("r1"))
    followed.put(IMAGE, f"{WORD.removeprefix(IMAGE + '#')}#LABEL#total", validation_status="VALID")
    followed.pipeline.consume()
    followed.pipeline.wait_for(lambda: bool(followed.pipeline.given_up), "the first run is given up")

    assert 1 == len(followed.pipeline.given_up)
    assert "COMPLETED" == followed.item(*RUN)["words_state"]
    assert {"label_total": True, "label_status": "validated"} == records_of(followed)["words"][WORD][2]
    assert "gone.parquet" in followed.item(IMAGE, RUN[1].replace("r1", "r0"))["words_error"]


def test_many_writes_end_as_the_table_says(follow: Follow) -> None:
    """L6: two workers, one of them killed on the way; the records are the model's, and what the table says."""
    followed = follow(receives=20, batching=Batching(most=1_000, window_seconds=0.5))
    for address, records in DELTAS.items():
        followed.world.write_delta(address, records)
    every = list(writes(WRITES))
    followed.pipeline.consume()
    write(followed, every[: WRITES // 2])
    followed.pipeline.wait_for(lambda: bool(followed.pipeline.workers[0].pid), "a worker works")
    os.kill(followed.pipeline.workers[0].pid or 0, signal.SIGKILL)
    write(followed, every[WRITES // 2 :])
    history = Whole(followed)
    followed.pipeline.wait_for(history.settled, "all that the stream holds is done", seconds=600)

    published = typed(records_of(followed))
    model = Reference({f"{address}.parquet": records for address, records in DELTAS.items()})
    assert typed(model.replay(history.records)) == published
    table = [inserted(item) for item in items(followed.pipeline.cloud, followed.pipeline.plan.table)]
    assert typed(Reference({}, rows=model.rows).replay(table)) == published
    assert [] == followed.pipeline.queue.dead_letters()
    assert 3 <= sum(worker.starts for worker in followed.pipeline.workers)


class Whole:
    """All that a table's stream holds, read beside the pipeline."""

    def __init__(self, followed: Followed) -> None:
        self.records: list[Any] = []
        self._pipeline = followed.pipeline
        self._reader = StreamReader(followed.pipeline.cloud, followed.pipeline.stream)

    def settled(self) -> bool:
        """Return whether all of it was done, and nothing came of that."""
        self.records += self._reader.read()
        done = self._pipeline.drained(len(self.records))
        later = self._reader.read()
        self.records += later
        return done and not later


def write(followed: Followed, every: Iterable[Write]) -> None:
    """Write items, many in one request; what is without attributes is deleted."""
    client, table = followed.pipeline.cloud.client("dynamodb"), followed.pipeline.plan.table
    written = 0
    for batch in distinct(every):
        requests = [
            {"DeleteRequest": {"Key": item_of(key, {})}}
            if attributes is None
            else {"PutRequest": {"Item": item_of(key, attributes)}}
            for key, attributes in batch
        ]
        assert {} == client.batch_write_item(RequestItems={table: requests})["UnprocessedItems"]
        written += len(batch)
        if written % 1_000 < len(batch):  # moto's queue is slow when it is long
            followed.pipeline.wait_for(lambda: followed.pipeline.queue.waiting() < 2_000, "a short queue", seconds=600)


def inserted(item: dict[str, Any]) -> dict[str, Any]:
    """Return the stream record of an item that was written as it is, for the model."""
    keys = {name: item[name] for name in ("PK", "SK")}
    return {"dynamodb": {"Keys": keys, "NewImage": item, "SequenceNumber": "1"}, "eventName": "INSERT"}


def messages(followed: Followed) -> int:
    """Return how many messages the function was given, those that came again included."""
    return sum(each.received for each in followed.pipeline.invocations)


def label(word: int) -> str:
    return f"RECEIPT#00001#LINE#{word // 20 + 1:05d}#WORD#{word % 20 + 1:05d}#LABEL#total"
