"""One batch, end to end: what is published, what fails, what is answered for."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, NoTime, NotInitialised
from tests.support.table import Table, in_sqs, in_stream
from tests.support.world import IMAGE, LINE, RUN, WORD, World, begins


def label(table: Table, name: str, status: str = "VALID") -> dict[str, Any]:
    return table.put(IMAGE, f"RECEIPT#00001#LINE#00001#WORD#00001#LABEL#{name}", validation_status=status)


def with_word(world: World, table: Table) -> None:
    """Publish one record."""
    world.write_delta("r1", {WORD: (1, "text", {"x": 1})})
    assert 1 == world.compact([table.put(*RUN, **begins("r1"))]).applied


def test_a_bad_delta_fails_alone(world: World) -> None:
    """L1: of three runs the good one is published; the missing and the foreign one are named, and nothing else."""
    table = Table()
    world.write_delta("r1", {WORD: (1, "text", {})})
    world.write_delta("other", {LINE: (2, None, {})})  # ids of lines, announced for words
    records = [
        table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{run}", **begins(run)) for run in ("r1", "gone", "other")
    ]

    report = world.compact([*records, "{no json", label(table, "total")])

    assert ("message-1", "message-2", "message-3") == report.failed_sources()
    assert (5, 2, 0, 0, 3) == (report.received, report.applied, report.no_op, report.ignored, report.failed)
    told = {failure.source: str(failure.error) for failure in report.failures}
    assert "gone.parquet" in told["message-1"]
    assert LINE in told["message-2"]
    metadata = {"label_total": True, "label_status": "validated"}
    assert {WORD: (1, "text", metadata)} == world.records()


@pytest.mark.parametrize("count", [1, 2, 9])
def test_every_delta_of_a_batch_is_merged(world: World, count: int) -> None:
    """L2, L22: the published ids are the union of the deltas' ids; no cap drops a tail."""
    table = Table()
    ids = [f"{LINE}#WORD#{number:05d}" for number in range(1, count + 1)]
    for number, id_ in enumerate(ids):
        world.write_delta(f"run-{number}/words", {id_: (number, None, {})})
    runs = [(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{number}") for number in range(count)]

    world.compact([table.put(*run, **begins(f"run-{number}/words")) for number, run in enumerate(runs)])

    assert set(ids) == set(world.records())
    assert 2 == world.version()


def test_a_batch_that_moves_no_fact_changes_no_byte(world: World) -> None:
    """D1: duplicates are answered for, and nothing is written: no object, no HEAD."""
    table = Table()
    with_word(world, table)
    records = [label(table, "total")]
    world.compact(records)
    before = world.stored()

    report = world.compact(records)

    assert (0, 1, 0) == (report.applied, report.no_op, report.failed)
    assert before == world.stored()


def test_a_fact_that_changes_no_record_is_published_without_chroma(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L20: a parked label publishes the ledger alone; Chroma is not opened, and its files are not copied."""
    with world.compactor() as machine, monkeypatch.context() as patch:
        patch.setattr(ManagedClient, "open", lambda *_, **__: pytest.fail("Chroma was opened"))
        report = machine.compact(in_sqs([label(Table(), "total")]))

    assert 1 == report.applied
    before, after = (
        {entry.path: entry.digest for entry in manifest.files}
        for manifest in (World(world.home).published().manifest, world.published().manifest)
    )
    assert before == after
    assert 2 == world.version()


def test_every_message_comes_to_one_end(world: World) -> None:
    """D6: applied + no-op + ignored + failed = received, a message that is handed out twice counted once."""
    table = Table()
    good, ignored = label(table, "total"), table.put("USER#1", "PROFILE")
    event = in_sqs([good, good, ignored, "{", label(table, "date"), "[]"])
    event["Records"].append(event["Records"][4])

    with world.compactor() as machine:
        report = machine.compact(event)

    assert (6, 2, 1, 1, 2) == (report.received, report.applied, report.no_op, report.ignored, report.failed)


def test_a_stream_batch_names_its_records_by_sequence_number(world: World) -> None:
    """L15: what a stream wants back is the SequenceNumber as it came."""
    table = Table()
    bad = table.put(*RUN, **begins("gone"))

    with world.compactor() as machine:
        report = machine.compact(in_stream([label(table, "total"), bad]))

    assert (bad["dynamodb"]["SequenceNumber"],) == report.failed_sources()


def test_ten_thousand_label_changes_are_one_publish_and_a_handful_of_calls(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S5, D2: 10,000 changes on 50 receipts, counted where Chroma is called."""
    table, calls = Table(), Counter[str]()
    lines = [f"RECEIPT#{receipt:05d}#LINE#00001" for receipt in range(1, 51)]
    words = [f"{line}#WORD#{word:05d}" for line in lines for word in range(1, 5)]
    world.write_delta("all", {f"{IMAGE}#{word}": (1, None, {}) for word in words})
    world.compact([table.put(*RUN, **begins("all"))])
    names = [f"{word}#LABEL#{number}" for word in words for number in range(50)]
    records = [table.put(IMAGE, name, validation_status="VALID") for name in names]
    opened = ManagedClient.open

    def counted(*args: Any, **kwargs: Any) -> ManagedClient:
        client = opened(*args, **kwargs)
        for name in ("update", "upsert", "add", "delete", "get"):
            real = getattr(client.collection, name)

            def call(*a: Any, _real: Any = real, _name: str = name, **k: Any) -> Any:
                calls[_name] += 1
                return _real(*a, **k)

            monkeypatch.setattr(client.collection, name, call, raising=False)
        return client

    with monkeypatch.context() as patch:
        patch.setattr(ManagedClient, "open", counted)
        report = world.compact(records)

    assert 10_000 == report.applied
    assert 3 == world.version()
    assert sum(calls.values()) <= 3, calls


def test_bad_values_fail_their_message_alone(world: World) -> None:
    """L16: an integer past 64 bits and a number set fail alone; the good place of another receipt lands."""
    table = Table()
    world.write_delta("r1", {WORD: (1, None, {})})
    bad = table.put(IMAGE, "RECEIPT#00001#PLACE", place_id="x")
    bad["dynamodb"]["NewImage"]["place_id"] = {"N": str(2**63)}
    good = table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="sound")

    report = world.compact([table.put(*RUN, **begins("r1")), bad])
    assert ("message-1",) == report.failed_sources()
    report = world.compact([good, bad])

    # A newer image of the item has been applied by now, so the bad one is a straggler.
    assert (1, 1, 0) == (report.applied, report.no_op, report.failed)
    assert {"merchant_name": "sound"} == world.records()[WORD][2]


def test_what_is_published_is_mirrored(world: World) -> None:
    """L24: the mirror equals the store, and lost objects come back with the next cycle."""
    table = Table()
    with_word(world, table)
    mirror = type(world.store)(world.home / "mirror", mirror_only=True)
    assert world.records() == world.records(store=mirror)

    shutil.rmtree(world.home / "mirror" / "words")
    world.compact([label(table, "total")])
    assert world.published().manifest == world.published(store=mirror).manifest
    assert world.records() == world.records(store=mirror)


def test_a_mirror_that_is_away_costs_a_warning(world: World) -> None:
    """S7: the cycle succeeds, and says that the mirror is behind."""
    shutil.rmtree(world.home / "mirror")
    table = Table()
    world.write_delta("r1", {WORD: (1, None, {})})

    report = world.compact([table.put(*RUN, **begins("r1"))])

    assert report.collections[0].mirror.startswith("failed")
    assert {WORD} == set(world.records())


def test_time_that_is_too_short_hands_the_batch_back(world: World) -> None:
    """L14, S1: nothing is begun that could not be ended; the same batch succeeds in the next invocation."""
    table = Table()
    world.write_delta("r1", {WORD: (1, None, {})})
    records = [table.put(*RUN, **begins("r1"))]
    before = world.stored()

    with pytest.raises(NoTime, match="needs about"):
        world.compact(records, deadline=Deadline.after(0.5))

    assert before == world.stored()
    assert 1 == world.compact(records, deadline=Deadline.after(60)).applied


def test_a_missing_head_is_an_error_and_nothing_is_written(world: World) -> None:
    """L13: only `init` creates a HEAD."""
    shutil.rmtree(world.home / "store" / "words")
    before = world.stored()

    with pytest.raises(NotInitialised, match="words has no HEAD"):
        world.compact([Table().put(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001"), *_removal()])

    assert before == world.stored()


def _removal() -> list[dict[str, Any]]:
    table = Table()
    table.put(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001")
    return [table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001")]


def test_a_dangling_head_is_named(world: World) -> None:
    """L13: HEAD names a manifest that is gone: an error that says so, and nothing written."""
    shutil.rmtree(world.home / "store" / "words" / "manifests")

    with pytest.raises(Corrupt, match="names words/manifests"):
        world.compact(_removal())


def test_one_collection_without_a_head_does_not_hold_up_the_other(world: World) -> None:
    """S8: the messages of the other collection are done; those of both come again."""
    table = Table()
    shutil.rmtree(world.home / "store" / "lines")
    world.write_delta("r1", {WORD: (1, None, {})})

    report = world.compact([table.put(*RUN, **begins("r1")), label(table, "total")])

    assert ("message-1",) == report.failed_sources()
    assert {WORD} == set(world.records())


def test_an_event_of_another_kind_is_refused_whole(world: World) -> None:
    """L15: what is no event at all is never answered for."""
    with world.compactor() as machine, pytest.raises(BadInput, match="no event that can be compacted"):
        machine.compact({"Records": [{"eventSource": "aws:s3"}]})


def test_facts_of_another_mapping_are_refused(world: World, tmp_path: Path) -> None:
    """A changed mapping is not joined with what was published under the old one; the difference is told."""
    world.compact(_removal())
    text = Path("chroma_lifecycle/intake/mappings/receipts.yaml").read_text("utf-8")
    changed = tmp_path / "changed.yaml"
    changed.write_text(text.replace("phone_number, ", ""), "utf-8")
    settings = world.settings

    from chroma_lifecycle.wiring import compactor

    with (
        compactor(type(settings)(settings.store, str(changed), workspace=settings.workspace)) as machine,
        pytest.raises(BadInput, match=r"phone_number.*made under two mappings do not join"),
    ):
        machine.compact(in_sqs(_removal()))
