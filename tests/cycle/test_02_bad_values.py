"""What Chroma would refuse or spoil: it fails alone, before Chroma sees anything of it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.unpack import Stores, files_of
from tests.support import bombs
from tests.support.deltas import write_jsonl
from tests.support.table import Table, in_sqs
from tests.support.world import IMAGE, LINE, RUN, WORD, World, begins, label, vector

SOUND = {"id": WORD, "embedding": vector(1), "document": "text", "metadata": {"n": 1}}
BAD_RECORDS: dict[str, dict[str, Any]] = {
    "too-short": {"embedding": [1.0, 2.0, 3.0]},
    "no-vector": {"embedding": None},
    "nan": {"embedding": [math.nan, 1.0, 0.0, 0.5]},
    "infinite": {"embedding": [math.inf, 1.0, 0.0, 0.5]},
    "past-32-bits": {"embedding": [1e39, 1.0, 0.0, 0.5]},
    "no-id": {"id": ""},
    "surrogate-id": {"id": f"{LINE}#WORD#\ud800"},
    "surrogate-document": {"document": "\udc00"},
    "document-of-another-type": {"document": 7},
    "surrogate-value": {"metadata": {"x": "\ud800"}},
    "integer-past-64-bits": {"metadata": {"x": 2**63}},
    "nan-value": {"metadata": {"x": math.nan}},
    "list-value": {"metadata": {"x": [1]}},
    "object-value": {"metadata": {"x": {"y": 1}}},
    "empty-key": {"metadata": {"": 1}},
    "chromas-own-key": {"metadata": {"chroma:document": "x"}},
    "metadata-too-large": {"metadata": {"x": "x" * 300_000}},
}
BAD_VALUES: dict[str, Any] = {
    "binary": {"B": "AAAA"},
    "set": {"SS": ["a"]},
    "map": {"M": {}},
    "integer-past-64-bits": {"N": str(2**63)},
    "surrogate": {"S": "\ud800"},
    "malformed": {"N": "NaN"},
    "unknown-type": {"X": "x"},
}


def test_each_bad_delta_of_a_batch_fails_alone(world: World) -> None:
    """L16, L1: one bad record of every kind, each beside a sound one in its delta; the other deltas land whole."""
    table = Table()
    good = {f"{LINE}#WORD#{number:05d}": (number, None, {"n": number}) for number in range(10, 20)}
    records = []
    for number, (id_, record) in enumerate(good.items()):
        world.write_delta(f"good-{number}", {id_: record})
        records.append(table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#good-{number}", **begins(f"good-{number}")))
    for name, change in BAD_RECORDS.items():
        beside = {**SOUND, "id": f"{LINE}#WORD#00002"}
        write_jsonl(world.home / "deltas" / f"{name}.jsonl", [beside, SOUND | change])
        run = {"words_delta_prefix": f"{name}.jsonl", "words_state": "PENDING"}
        records.append(table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}", **run))

    report = world.compact(records)

    told = {failure.source: failure.error for failure in report.failures}
    assert {f"message-{len(good) + number}" for number in range(len(BAD_RECORDS))} == told.keys()
    for number, name in enumerate(BAD_RECORDS, len(good)):
        assert isinstance(told[f"message-{number}"], BadInput)
        assert f"{name}.jsonl" in told[f"message-{number}"].message
    assert good == world.records()


def test_a_bomb_of_a_batch_fails_alone(world: World) -> None:
    """L16, C11: a file of a few kB that would unpack to 1.3 GB beside a sound delta, which is published."""
    table = Table()
    world.write_delta("good", {WORD: (1, "text", {})})
    bombs.vectors(world.home / "deltas/bomb.parquet", groups=100)
    records = [table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}", **begins(name)) for name in ("bomb", "good")]

    [failure] = world.compact(records).failures

    assert "message-0" == failure.source
    assert isinstance(failure.error, BadInput)
    assert "unpack to 1,310,834,900 or more; allowed: 268,435,456" in failure.error.message
    assert {WORD: (1, "text", {})} == world.records()


LENGTHS = {"longest": 1.79e19, "shortest": 1.11e-19, "too-long": 1.81e19, "far-too-long": 1e38, "too-short": 1.0e-19}


def test_a_vector_without_a_direction_fails_alone_in_a_cosine_space(tmp_path: Path) -> None:
    """L16: Chroma would give one that is too long back as NaN, and find one that is too short before all others."""
    world, table = World(tmp_path / "world", dimension=64, space="cosine").begin(), Table()
    world.write_delta("sound", {WORD: (1, None, {})})
    vectors = {f"{LINE}#WORD#{number:05d}": [length / 8] * 64 for number, length in enumerate(LENGTHS.values(), 10)}
    vectors[f"{LINE}#WORD#00020"] = [0.0] * 64
    names = [*LENGTHS, "zeros"]
    for name, (id_, numbers) in zip(names, vectors.items(), strict=True):
        write_jsonl(world.home / "deltas" / f"{name}.jsonl", [{**SOUND, "id": id_, "embedding": numbers}])
    runs = {"sound": begins("sound")}
    runs |= {name: {"words_delta_prefix": f"{name}.jsonl", "words_state": "PENDING"} for name in names}

    report = world.compact(
        [table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}", **run) for name, run in runs.items()]
    )

    refused = {failure.error.message.split("'")[1] for failure in report.failures}
    assert {"too-long.jsonl", "far-too-long.jsonl", "too-short.jsonl"} == refused
    assert all("a vector too long or too short" in failure.error.message for failure in report.failures)
    manifest, ids = world.published().manifest, list(vectors)
    with files_of(manifest, Stores(world.store)) as files, ManagedClient.open(files / "chroma", "words") as client:
        found = client.collection.get(ids=[WORD, ids[0], ids[1], ids[-1]], include=["embeddings"])
        asked = client.collection.query(query_embeddings=[[1.0] * 64], n_results=4)
    assert np.isfinite(found["embeddings"]).all()
    assert asked["distances"][0] == pytest.approx([0, 0, 1 - 2.5 / (1.5 * 8), 1], abs=1e-4)


def test_each_bad_value_of_a_batch_fails_alone(world: World) -> None:
    """L16: a value of every kind that metadata cannot hold; the places and labels around them land."""
    table = Table()
    world.write_delta("r1", {WORD: (1, None, {})})
    records = [table.put(*RUN, **begins("r1")), label(table, "total")]
    for number, value in enumerate(BAD_VALUES.values(), 2):
        records.append(table.put(IMAGE, f"RECEIPT#{number:05d}#PLACE", merchant_name="x"))
        records[-1]["dynamodb"]["NewImage"]["merchant_name"] = value
    records.append(table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="sound"))

    report = world.compact(records)

    assert tuple(f"message-{number}" for number in range(2, 2 + len(BAD_VALUES))) == report.failed_sources()
    owned = {"merchant_name": "sound", "label_total": True, "label_status": "validated"}
    assert {WORD: (1, None, owned)} == world.records()


def test_a_bad_value_that_was_superseded_is_a_straggler(world: World) -> None:
    """L16: when a newer image of its item has been applied, the redelivery of a failed change does nothing."""
    table = Table()
    world.write_delta("r1", {WORD: (1, None, {})})
    bad = table.put(IMAGE, "RECEIPT#00001#PLACE", place_id="x")
    bad["dynamodb"]["NewImage"]["place_id"] = {"N": str(2**63)}
    good = table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="sound")
    assert ("message-1",) == world.compact([table.put(*RUN, **begins("r1")), bad]).failed_sources()

    report = world.compact([good, bad])

    assert (1, 1, 0) == (report.applied, report.no_op, report.failed)
    assert {"merchant_name": "sound"} == world.records()[WORD][2]


def test_the_errors_hold_no_content(world: World) -> None:
    """D7: what is told of a bad record names it and its key, never a document or a value."""
    secret = "a secret text"
    table = Table()
    record = SOUND | {"document": secret, "metadata": {"x": secret, "y": [secret]}}
    write_jsonl(world.home / "deltas" / "bad.jsonl", [record])
    place = table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="x")
    place["dynamodb"]["NewImage"]["merchant_name"] = {"SS": [secret]}
    run = table.put(*RUN, words_delta_prefix="bad.jsonl", words_state="PENDING")

    report = world.compact([place, run])

    assert 2 == report.failed
    assert secret not in json.dumps(report.as_json())


def test_an_empty_delta_is_never_written(world: World) -> None:
    """L23: a job that has nothing to write gets an error, and no file is there to be announced."""
    place = world.home / "deltas" / "empty.parquet"

    with pytest.raises(BadInput, match="would be empty"), DeltaWriter(place, dimension=4):
        pass

    assert [] == list((world.home / "deltas").iterdir())


def test_an_announced_delta_without_records_is_done(world: World) -> None:
    """L23, S10: an empty delta of somebody else's making moves its run's fact, and no record."""
    write_jsonl(world.home / "deltas" / "empty.jsonl", [])
    run = Table().put(*RUN, words_delta_prefix="empty.jsonl", words_state="PENDING")

    report = world.compact([run])

    assert (1, 0) == (report.applied, report.failed)
    assert {} == world.records()
    assert 0 == world.compact([run]).applied


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("what", ["chroma", "ledger.sqlite3"])
def test_what_vanished_from_the_local_copy_is_never_published(world: World, what: str, warm: bool) -> None:
    """L23: a local copy that lost its files is restored; no version with nothing in it is published."""
    table = Table()
    world.write_delta("r1", {WORD: (1, "text", {})})
    with world.compactor() as machine:
        machine.compact(in_sqs([table.put(*RUN, **begins("r1"))]))
        if not warm:
            machine.close()
        gone = world.home / "workspace" / "words" / "pristine" / what
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()

        report = machine.compact(in_sqs([label(table, "total")]))

    assert (1, 0) == (report.applied, report.failed)
    assert {WORD: (1, "text", {"label_total": True, "label_status": "validated"})} == world.records()
