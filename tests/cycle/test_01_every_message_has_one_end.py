"""One batch: what is merged, what fails alone, and that every message comes to one end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from chroma_lifecycle.deltas import open as opening
from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.checks import RawRows
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.values import ItemKey
from chroma_lifecycle.wiring import compactor
from tests.support.deltas import write_delta
from tests.support.table import Table, in_sqs, in_stream
from tests.support.world import IMAGE, LINE, RUN, WORD, World, begins, label


def run(table: Table, name: str, address: str | None = None) -> dict[str, Any]:
    return table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}", **begins(address or name))


def run_facts(world: World, *names: str) -> dict[str, int | None]:
    """Return how many records each run's fact says it has merged, by the run's name."""
    keys = {name: ItemKey(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}") for name in names}
    manifest = world.published().manifest
    with files_of(manifest, Stores(world.store)) as files, Ledger.open(files / "ledger.sqlite3") as ledger:
        found = {name: ledger.run(key, f"{name}.parquet") for name, key in keys.items()}
    return {name: fact and fact.records for name, fact in found.items()}


def test_a_bad_delta_fails_alone(world: World) -> None:
    """L1: the good run is published; the missing, the foreign and the wrong-sized one are named, and nothing else."""
    table = Table()
    world.write_delta("good", {WORD: (1, "text", {}), f"{LINE}#WORD#00002": (2, None, {})})
    world.write_delta("foreign", {LINE: (2, None, {})})  # ids of lines, announced for words
    write_delta(world.home / "deltas" / "wide.parquet", [WORD], dimension=5)
    names = ("gone", "good", "foreign", "wide")

    report = world.compact([*(run(table, name) for name in names), "{no json", label(table, "total")])

    assert ("message-0", "message-2", "message-3", "message-4") == report.failed_sources()
    assert (6, 2, 0, 0, 4) == (report.received, report.applied, report.no_op, report.ignored, report.failed)
    told = {failure.source: str(failure.error) for failure in report.failures}
    assert "gone.parquet" in told["message-0"]
    assert LINE in told["message-2"]
    assert "a vector of 5 numbers; collection 'words' has dimension 4" in told["message-3"]
    metadata = {"label_total": True, "label_status": "validated"}
    assert {WORD: (1, "text", metadata), f"{LINE}#WORD#00002": (2, None, {})} == world.records()
    assert {"gone": None, "good": 2, "foreign": None, "wide": None} == run_facts(world, *names)


def test_damaged_deltas_fail_alone_and_their_runs_are_named(world: World) -> None:
    """C2: of ten runs one is cut off and one has a flipped bit: eight are published, two told by rule and item."""
    table, names = Table(), [f"n{number}" for number in range(10)]
    words = {name: f"{LINE}#WORD#{number:05d}" for number, name in enumerate(names, 1)}
    for tag, (name, word) in enumerate(words.items(), 1):
        world.write_delta(name, {word: (tag, "a text of some secrecy", {})})
    cut, flipped = (world.home / "deltas" / f"{name}.parquet" for name in ("n3", "n7"))
    cut.write_bytes(cut.read_bytes()[:-20])
    at = (data := bytearray(flipped.read_bytes())).index(np.array(world.vector(8), np.float32).tobytes())
    data[at] ^= 1
    flipped.write_bytes(data)

    with capture_logs() as lines:
        report = world.compact([run(table, name) for name in names])

    assert ("message-3", "message-7") == report.failed_sources()
    assert {words[name] for name in names if name not in ("n3", "n7")} == world.records().keys()
    assert {name: None if name in ("n3", "n7") else 1 for name in names} == run_facts(world, *names)
    told = {failure.source: (failure.rule, failure.item, failure.error.message) for failure in report.failures}
    assert [f"message-{number}" for number in (3, 7)] == sorted(told)
    [logged_failures] = [line["failures"] for line in lines if line["event"] == "batch"]
    by_source = {each["source"]: each for each in report.as_json()["failures"]}
    in_order = sorted(logged_failures, key=lambda each: str(each["first"]))
    for (source, (rule, item, message)), logged in zip(sorted(told.items()), in_order, strict=True):
        name = f"n{source[-1]}"
        assert ("run", ItemKey(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}")) == (rule, item)
        assert f"delta '{name}.parquet'" in message
        assert (source, rule, " / ".join(item)) == (logged["first"], logged["rule"], logged["item"])
        assert {"source": source, "rule": rule, "item": item._asdict()}.items() <= by_source[source].items()
    assert "secrecy" not in str(lines)


def test_a_delta_that_fails_as_no_check_foresaw_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """C2, C11: whatever reading one delta raises; the kind is told, and not the text, which may hold a secret."""
    table = Table()
    for name in ("good", "odd"):
        world.write_delta(name, {f"{LINE}#WORD#{len(name):05d}": (len(name), None, {})})
    reading = opening.read_parquet

    def read(path: Path, subject: str, allowance: Allowance) -> Iterator[RawRows]:
        if "odd" in subject:
            raise ZeroDivisionError("a text of some secrecy")
        return reading(path, subject, allowance)

    monkeypatch.setattr(opening, "read_parquet", read)
    with capture_logs() as lines:
        report = world.compact([run(table, "odd"), run(table, "good")])

    assert (1, ("message-0",)) == (report.applied, report.failed_sources())
    assert {f"{LINE}#WORD#00004"} == world.records().keys()
    [failure] = report.failures
    assert "delta 'odd.parquet' cannot be read" in failure.error.message
    assert "(ZeroDivisionError)" in failure.error.message
    assert "secrecy" not in f"{lines}{failure.error}"


def test_a_run_that_failed_is_merged_when_its_delta_comes(world: World) -> None:
    """L1: a failed run leaves no trace, so the redelivery of its message succeeds by itself."""
    table = Table()
    late = run(table, "late")
    assert ("message-1",) == world.compact([label(table, "total"), late]).failed_sources()

    world.write_delta("late", {WORD: (1, None, {})})
    report = world.compact([late])

    assert (1, 0) == (report.applied, report.failed)
    assert {WORD} == set(world.records())


@pytest.mark.parametrize("count", [1, 2, 9, 21])
def test_every_delta_of_a_batch_is_merged(world: World, count: int) -> None:
    """L2, L22: the published ids are the union of the deltas' ids; no cap drops a tail, equal file names no file."""
    table = Table()
    ids = [f"{LINE}#WORD#{number:05d}" for number in range(1, count + 1)]
    for number, id_ in enumerate(ids):
        world.write_delta(f"run-{number}/words", {id_: (number, None, {"n": number})})

    report = world.compact([run(table, str(number), f"run-{number}/words") for number in range(count)])

    assert count == report.applied
    assert {id_: (number, None, {"n": number}) for number, id_ in enumerate(ids)} == world.records()
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
    bad = run(table, "gone")

    with world.compactor() as machine:
        report = machine.compact(in_stream([label(table, "total"), bad]))

    assert (bad["dynamodb"]["SequenceNumber"],) == report.failed_sources()


def test_what_cannot_be_read_fails_alone_in_a_batch_of_every_form(world: World) -> None:
    """L15: an unparsable body, an unknown form and wrong types fail; the good messages around them land."""
    table = Table()
    world.write_delta("r1", {WORD: (1, None, {})})
    wrong = label(table, "date")
    wrong["dynamodb"]["NewImage"] = ["no", "image"]
    bad: list[Any] = ["", "{", "[]", '{"detail-type": "x"}', wrong, {**label(table, "due"), "eventName": "UPSERT"}]

    report = world.compact([table.put(*RUN, **begins("r1")), *bad, label(table, "total")])

    assert tuple(f"message-{number}" for number in range(1, 7)) == report.failed_sources()
    assert {WORD: (1, None, {"label_total": True, "label_status": "validated"})} == world.records()


def test_an_event_of_another_kind_is_refused_whole(world: World) -> None:
    """L15: what is no event at all is never answered for."""
    with world.compactor() as machine, pytest.raises(BadInput, match="no event that can be compacted"):
        machine.compact({"Records": [{"eventSource": "aws:s3"}]})


def test_facts_of_another_mapping_are_refused(world: World, tmp_path: Path) -> None:
    """A changed mapping is not joined with what was published under the old one; the difference is told."""
    table = Table()
    world.compact([label(table, "total")])
    text = Path("chroma_lifecycle/intake/mappings/receipts.yaml").read_text("utf-8")
    changed = tmp_path / "changed.yaml"
    changed.write_text(text.replace("phone_number, ", ""), "utf-8")

    with (
        compactor(replace(world.settings, mapping=str(changed))) as machine,
        pytest.raises(BadInput, match=r"phone_number.*made under two mappings do not join"),
    ):
        machine.compact(in_sqs([label(table, "date")]))
