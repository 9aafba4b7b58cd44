"""What a write-ahead tail costs a reader when it opens, by the length of the tail and the size of the snapshot."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.publish import initialise
from chroma_lifecycle.reader.reader import SnapshotReader
from chroma_lifecycle.snapshot.details import Details
from chroma_lifecycle.snapshot.files import CHROMA, LEDGER
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from scripts.tail_experiment import COLLECTION, TAILS, add_tail, make_base, measure
from tests.support.versions import DETAILS


def measure_tails(sizes: Sequence[int], dimension: int, rounds: int) -> list[dict[str, Any]]:
    """Open directories with tails of several lengths, by Chroma alone and by a reader; and flush them."""
    rows: list[dict[str, Any]] = []
    for records in sizes:
        with TemporaryDirectory() as room:
            base = Path(room) / "chroma"
            make_base(base, records, dimension)
            for tail, metadata_only in [*((tail, False) for tail in TAILS), (TAILS[-1], True)]:
                row = measure(base, tail, rounds, metadata_only=metadata_only)
                details = replace(
                    DETAILS,
                    dimension=dimension,
                    counts=replace(DETAILS.counts, records=records + (0 if metadata_only else tail)),
                )
                times = [_by_a_reader(base, tail, details, metadata_only=metadata_only) for _ in range(rounds)]
                rows.append({"records": records, **row, "reader_ms": round(1000 * median(times))})
    return rows


def _by_a_reader(base: Path, tail: int, details: Details, *, metadata_only: bool) -> float:
    """Return the seconds that a cold reader takes to its first answer: it restores, proves, opens, probes, asks."""
    with TemporaryDirectory() as room:
        store = DirectoryStore(Path(room) / "store")
        store.create_root()
        with Workspace.open(Path(room) / "writer") as workspace, workspace.blank() as directory:
            shutil.copytree(base, directory / CHROMA)
            add_tail(directory / CHROMA, tail, metadata_only=metadata_only)
            Ledger.create(directory / LEDGER).close()
            initialise(
                seal(directory),
                collection=COLLECTION,
                details=details,
                workspace=workspace,
                store=store,
                deadline=Deadline(),
                clock=SYSTEM_CLOCK,
                writer="benchmark",
            )
        began = time.perf_counter()
        with SnapshotReader(store, COLLECTION, workspace=Path(room) / "reader") as reader, reader.collection() as words:
            words.query(query_embeddings=[[0.5] * (details.dimension or 1)], n_results=1)
            return time.perf_counter() - began
