"""The function where its users run it: a table with a stream, a queue, S3; on the moto server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chroma_lifecycle.chroma.client import CollectionSettings, ManagedClient
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import StoreUnavailable
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import open_store
from tests.support.pipeline import Pipeline, cold
from tests.support.s3 import use_server

IMAGE = "IMAGE#a"
WORD = f"{IMAGE}#RECEIPT#00001#LINE#00001#WORD#00001"
RUN = (IMAGE, "RECEIPT#00001#COMPACTION_RUN#r1")


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A pipeline whose collection `words` is at version 1."""
    use_server(monkeypatch)
    made = Pipeline()
    for name, value in made.settings(tmp_path / "workspace", "receipts").items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{made.name}/snapshots")
    for collection in ("words", "lines"):
        with Workspace.open(tmp_path / "begin" / collection) as workspace:
            beginning = Beginning(collection, load_mapping("receipts").digest, store, workspace, SYSTEM_CLOCK, "test")
            begin(beginning, CollectionSettings("l2", 3))
    cold()
    yield made
    cold()


def write_delta(pipeline: Pipeline, tmp_path: Path, address: str, *ids: str) -> None:
    """Put a delta where its run will look for it."""
    with DeltaWriter(tmp_path / address, dimension=3) as writer:
        writer.add(list(ids), np.ones((len(ids), 3), np.float32), [None] * len(ids), [{} for _ in ids])
    pipeline.s3.upload_file(str(tmp_path / address), pipeline.name, f"deltas/{address}")


def begin_run(pipeline: Pipeline, address: str, run: tuple[str, str] = RUN) -> None:
    pipeline.put(*run, words_delta_prefix=address, words_state="PENDING")


def published_ids(pipeline: Pipeline, collection: str = "words") -> set[str]:
    """Return the ids that a reader of the newest version sees."""
    store = open_store(f"s3://{pipeline.name}/snapshots")
    manifest = read_published(store, collection).manifest
    with files_of(manifest, Stores(store)) as files, ManagedClient.open(files / "chroma", collection) as client:
        return set(client.collection.get(include=[])["ids"])


def test_a_run_ends_completed_with_its_count_and_its_status_write_does_nothing(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """D1a: the write comes back through the stream as a MODIFY; two invocations in all, one version."""
    write_delta(pipeline, tmp_path, "r1.parquet", WORD)
    begin_run(pipeline, "r1.parquet")
    pipeline.drain()

    item = pipeline.item(*RUN)
    assert ("COMPLETED", "1") == (item["words_state"], item["words_merged_vectors"])
    assert "words_finished_at" in item
    assert {WORD} == published_ids(pipeline)
    assert 2 == pipeline.invocations


def test_one_good_run_one_missing_delta_and_one_unparsable_message(pipeline: Pipeline, tmp_path: Path) -> None:
    """L1, L15: the good run is published and COMPLETED; the others alone go back, and end as dead letters."""
    write_delta(pipeline, tmp_path, "r1.parquet", WORD)
    bad = (IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2")
    begin_run(pipeline, "r1.parquet")
    begin_run(pipeline, "gone.parquet", bad)
    pipeline.send("{no json")
    pipeline.drain()

    assert {WORD} == published_ids(pipeline)
    assert "COMPLETED" == pipeline.item(*RUN)["words_state"]
    left = pipeline.item(*bad)
    assert "PENDING" == left["words_state"]
    assert "gone.parquet" in left["words_error"]
    letters = pipeline.dead_letters()
    assert 2 == len(letters)
    assert "{no json" in letters
    # Each receive of the poison ones costs an invocation; the error write is one more record, and no more.
    assert pipeline.invocations <= pipeline.receives + 2


def test_a_status_that_could_not_be_written_is_written_when_the_message_comes_again(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: the vectors are published, the message comes again, and ends the run without a new version."""
    write_delta(pipeline, tmp_path, "r1.parquet", WORD)
    begin_run(pipeline, "r1.parquet")
    pipeline.pipe()
    messages = pipeline.receive()
    monkeypatch.setenv("CHROMA_LIFECYCLE_TABLE", "no-such-table")

    failed = pipeline.invoke(messages)["batchItemFailures"]

    assert [{"itemIdentifier": message["MessageId"]} for message in messages] == failed
    assert {WORD} == published_ids(pipeline)
    version = read_published(open_store(f"s3://{pipeline.name}/snapshots"), "words").manifest.version
    monkeypatch.setenv("CHROMA_LIFECYCLE_TABLE", pipeline.name)
    cold()
    pipeline.drain()
    assert "COMPLETED" == pipeline.item(*RUN)["words_state"]
    assert version == read_published(open_store(f"s3://{pipeline.name}/snapshots"), "words").manifest.version


def test_two_collections_that_complete_in_one_batch_both_end_completed(pipeline: Pipeline, tmp_path: Path) -> None:
    """L9: each collection writes its own attributes alone."""
    line = WORD.rpartition("#WORD")[0]
    write_delta(pipeline, tmp_path, "words.parquet", WORD)
    write_delta(pipeline, tmp_path, "lines.parquet", line)
    pipeline.put(
        *RUN,
        words_delta_prefix="words.parquet",
        words_state="PENDING",
        lines_delta_prefix="lines.parquet",
        lines_state="PENDING",
    )
    pipeline.drain()

    item = pipeline.item(*RUN)
    assert ("COMPLETED", "COMPLETED") == (item["words_state"], item["lines_state"])
    assert ({WORD}, {line}) == (published_ids(pipeline), published_ids(pipeline, "lines"))


def test_a_store_that_is_away_raises_and_nothing_is_deleted(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L3: an infrastructure failure is never a success body; the message is still there afterwards."""
    write_delta(pipeline, tmp_path, "r1.parquet", WORD)
    begin_run(pipeline, "r1.parquet")
    pipeline.pipe()
    messages = pipeline.receive()
    monkeypatch.setenv("CHROMA_LIFECYCLE_STORE", "s3://no-such-bucket/snapshots")

    with pytest.raises(StoreUnavailable, match="no-such-bucket"):
        pipeline.invoke(messages)

    monkeypatch.setenv("CHROMA_LIFECYCLE_STORE", f"s3://{pipeline.name}/snapshots")
    cold()
    pipeline.drain()
    assert {WORD} == published_ids(pipeline)


def test_an_empty_delta_ends_its_run_with_count_zero(pipeline: Pipeline, tmp_path: Path) -> None:
    """S10: a run without records is completed, and merges nothing."""
    pipeline.s3.put_object(Bucket=pipeline.name, Key="deltas/empty.jsonl", Body=b"")
    begin_run(pipeline, "empty.jsonl")
    pipeline.drain()

    item = pipeline.item(*RUN)
    assert ("COMPLETED", "0") == (item["words_state"], item["words_merged_vectors"])


def test_the_answer_names_messages_as_the_queue_does(pipeline: Pipeline) -> None:
    """L15: only the unparsable body is in the failure list, by its messageId."""
    pipeline.send("[]")
    pipeline.send(json.dumps({"x": 1}))
    messages = pipeline.receive()

    answer = pipeline.invoke(messages)

    assert {message["MessageId"] for message in messages} == {
        failure["itemIdentifier"] for failure in answer["batchItemFailures"]
    }
