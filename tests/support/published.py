"""A store with a long history that was really published, of every kind of version."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import Settings
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import compactor, create_store
from tests.support.command_line import COLLECTION, MAPPING
from tests.support.deltas import write_delta
from tests.support.table import Table, in_stream

DIMENSION = 16
_NOTES = 12


def publish(home: Path, versions: int) -> Path:
    """Publish this many versions of a collection below *home*, one cycle each; return the store's directory.

    Runs bring records, edits change and removals delete some of them, in an order that is always the same.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "notes.yaml").write_text(MAPPING)
    settings = Settings(
        store=str(home / "store"),
        mapping=str(home / "notes.yaml"),
        workspace=home / "workspace",
        deltas=(str(home / "deltas"),),
    )
    with Workspace.open(settings.workspace / COLLECTION) as workspace:
        digest = load_mapping(settings.mapping).digest
        store = create_store(settings.store)
        beginning = Beginning(COLLECTION, digest, store, workspace, SYSTEM_CLOCK, "a test")
        begin(beginning, CollectionSettings("cosine", DIMENSION))
    with compactor(settings) as machine:
        for records in _batches(home / "deltas", versions - 1):
            [done] = machine.compact(in_stream(list(records))).collections
            assert done.published
    return home / "store"


def _batches(deltas: Path, count: int) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield the records of each batch: every one moves a fact."""
    table, chance, runs = Table(), random.Random(11), 0
    for number in range(count):
        notes = [key for key in table.items if key[1].startswith("NOTE#")]
        if number % 10 == 0 or len(notes) < _NOTES:
            runs += 1
            names = [f"NOTE#{runs}-{at}" for at in range(_NOTES)]
            write_delta(deltas / f"{runs}.parquet", [f"USER#u#{name}" for name in names], DIMENSION)
            yield [
                table.put("USER#u", f"RUN#{runs}", delta=f"{runs}.parquet", state="PENDING"),
                *(table.put("USER#u", name, title=f"Title {number}", folder="in") for name in names),
            ]
        elif number % 10 == 7:
            yield [table.remove(*key) for key in chance.sample(notes, 2)]
        else:
            edited = chance.sample(notes, chance.randint(1, 8))
            yield [table.put(*key, title=f"Title {number}", folder=chance.choice(["in", "out"])) for key in edited]
