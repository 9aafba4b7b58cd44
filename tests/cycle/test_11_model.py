"""The promise, with everything real: whatever arrives in whatever way, the records are those of the model."""

from __future__ import annotations

import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.report import Report
from tests.model.histories import deltas, histories
from tests.model.reference import Reference, typed
from tests.support.deltas import write_parquet
from tests.support.table import Table, in_sqs, in_stream
from tests.support.world import COLLECTIONS, World, vector

# An example takes a few seconds, most of them in Chroma: a tenth of what other properties get.
EXAMPLES = max(1, settings.default.max_examples // 8)
UNREADABLE = ("", "{", "[]", '{"detail-type": "x"}')


def write_pool(world: World, pool: dict[str, Any]) -> None:
    """Write each delta as a directory of one Parquet file; an empty one is a file without rows."""
    for address, records in pool.items():
        rows = [
            {"id": id_, "embedding": vector(tag), "document": document, "metadata": metadata}
            for id_, (tag, document, metadata) in records.items()
        ]
        write_parquet(world.home / "deltas" / address / "part.parquet", rows)


@st.composite
def batches(draw: st.DrawFn, records: list[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The records in any order, some more than once, in batches of any size and form, junk among them."""
    shuffled = draw(st.permutations([*records, *draw(st.lists(st.sampled_from(records), max_size=6))]))
    cuts = sorted(draw(st.sets(st.integers(1, len(shuffled)), max_size=3)) | {0, len(shuffled)})
    found: list[tuple[str, list[Any]]] = []
    for start, end in pairwise(cuts):
        form, batch = draw(st.sampled_from(["sqs", "stream"])), list(shuffled[start:end])
        if draw(st.booleans()):
            batch.insert(draw(st.integers(0, len(batch))), Table().put("SHOP#1", "ORDER#1"))
        if form == "sqs":
            for junk in draw(st.lists(st.sampled_from(UNREADABLE), max_size=2)):
                batch.insert(draw(st.integers(0, len(batch))), junk)
        found.append((form, batch))
    return found


def name_of(record: Any, number: int) -> str:
    """Return the messageId: a record that is delivered twice keeps it, as a message of a queue does."""
    return record["eventID"] if isinstance(record, dict) else f"junk-{number}"


def compact(machine: Compactor, form: str, batch: list[Any]) -> Report:
    """Compact a batch, and check that every message came to its one end, and only what must fail failed."""
    event = (in_sqs if form == "sqs" else in_stream)(batch)
    names = [name_of(record, number) for number, record in enumerate(batch)]
    if form == "sqs":
        for message, name in zip(event["Records"], names, strict=True):
            message["messageId"] = name
    else:
        names = [record["dynamodb"]["SequenceNumber"] for record in batch]
    report = machine.compact(event)

    assert len(set(names)) == report.received
    assert report.received == report.applied + report.no_op + report.ignored + report.failed
    may_fail = {name for name, record in zip(names, batch, strict=True) if is_junk(record) or names_no_delta(record)}
    must_fail = {name for name, record in zip(names, batch, strict=True) if is_junk(record)}
    assert must_fail <= set(report.failed_sources()) <= may_fail
    return report


def is_junk(record: Any) -> bool:
    return isinstance(record, str)


def names_no_delta(record: dict[str, Any]) -> bool:
    """Return whether a record names an address where no delta lies, or is PENDING and names none at all."""
    image = record["dynamodb"].get("NewImage", {})

    def lacks(name: str) -> bool:
        if (address := image.get(f"{name}_delta_prefix")) is None:
            return bool(image.get(f"{name}_state") == {"S": "PENDING"})
        return "x/" in address["S"]

    return any(map(lacks, COLLECTIONS))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_delivery_ends_in_the_models_records(begun: Path, data: st.DataObject) -> None:
    """L2, L17, L18, L19, L20, L21, L22, C7, D6: through both envelopes, warm and cold, with real deltas and Chroma.

    Published records of both collections equal those of a model that sorts by sequence and replays:
    vectors, documents, metadata with its types.
    """
    pool = data.draw(deltas())
    records = data.draw(histories(max_events=16))
    with tempfile.TemporaryDirectory() as place:
        world = World(Path(shutil.copytree(begun, Path(place) / "world")))
        write_pool(world, pool)
        machine = world.compactor()
        try:
            for form, batch in data.draw(batches(records)):
                if data.draw(st.booleans()):
                    machine.close()
                    machine = world.compactor(data.draw(st.sampled_from(["workspace", "another"])))
                compact(machine, form, batch)
        finally:
            machine.close()

        expected = typed(Reference(pool).replay(records))
        assert expected == typed(world.everything())
