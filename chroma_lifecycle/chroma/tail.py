"""The write-ahead tail: vectors that only the queue holds, which every reader replays when it opens.

Chroma writes vectors to the HNSW files every ``sync_threshold`` operations (1,000 by default) and
keeps them in SQLite's queue until then. A short tail is published as it is: it makes small packs.
A long one costs every reader at every opening, so above a budget the queue is forced into the
files. Only operations with vectors count; metadata operations are in SQLite's tables at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot import soundness, sqlite_file
from chroma_lifecycle.snapshot.soundness import Soundness

DEFAULT_BUDGET = 500
"""Vector operations: at 384 dimensions they cost a reader 0.17 s at its first query."""

SMALLEST_BUDGET = 3
"""Chroma does not flush fewer operations than its threshold, which can be set to 3 at least."""

_DEFAULT_SYNC = 1000
_DEFAULT_BATCH = 100

# Before 1.0 the settings were metadata of the collection, and the configuration beside them says
# something else. Changing a threshold makes that configuration count: what is indexed next in a
# collection of cosine distances is indexed for l2, without a word.
_OLD = "the collection was made by a Chroma before 1.0, whose thresholds cannot be changed without its space"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When Chroma indexes what is in the queue (``batch``) and when it writes it to disk (``sync``)."""

    sync: int
    batch: int


_LOWEST = Thresholds(SMALLEST_BUDGET, SMALLEST_BUDGET)


@dataclass(frozen=True, slots=True)
class TailReport:
    """What became of a tail, in vector operations; *note* says why a long one was left."""

    before: int
    after: int
    seconds: float
    note: str = ""

    @property
    def flushed(self) -> bool:
        """Return whether HNSW was forced to disk."""
        return self.after < self.before


def settle_tail(
    directory: Path, collection: str, *, budget: int = DEFAULT_BUDGET, found: Soundness | None = None
) -> TailReport:
    """Force the queue of a closed directory into the HNSW files if it is longer than *budget*.

    It is done with what Chroma offers: the thresholds are lowered, and take effect at the next
    opening, when reading indexes what is pending. They are restored before anything is published:
    such thresholds would write the files again at every third vector.

    A collection from before 1.0 is left as it is; its tail ends at its own threshold (1,000 by default).

    Args:
        found: What the checks at the close found, where nobody has had the directory open since.

    Raises:
        BadInput: The budget is below 3.
        Corrupt: The effect is not there, or the thresholds are not what they were.
    """
    if budget < SMALLEST_BUDGET:
        raise BadInput(
            f"a tail budget of {budget} vector operations cannot be kept",
            hint=f"set it to {SMALLEST_BUDGET} or more; {DEFAULT_BUDGET} is the default",
        )
    began, tail = SYSTEM_CLOCK.monotonic(), (found or soundness.examine(directory)).tail
    if tail <= budget:
        return TailReport(tail, tail, 0.0)
    before = stored_thresholds(directory)
    if before is None:
        return TailReport(tail, tail, 0.0, _OLD)
    with ManagedClient.open(directory, collection) as client:
        set_thresholds(client, _LOWEST)
    with ManagedClient.open(directory, collection) as client:
        with client.errors("flushing the tail"):
            client.collection.count()
        set_thresholds(client, before)
    left = soundness.examine(directory).tail
    _check_effect(directory, left, before)
    return TailReport(tail, left, SYSTEM_CLOCK.monotonic() - began)


def stored_thresholds(directory: Path) -> Thresholds | None:
    """Return the thresholds of the one collection in a closed directory, ``None`` of one from before 1.0.

    They are read from its table: Chroma's own object does not tell the batch size.
    """
    with sqlite_file.reading(directory / soundness.DATABASE) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(collections)")}
        schema, config = ("schema_str" if "schema_str" in columns else "NULL"), "config_json_str"
        row = database.execute(f"SELECT {schema}, {config} FROM collections").fetchone()  # noqa: S608 - own names
    if row[0]:
        hnsw = _at(row[0], "keys", "#embedding", "float_list", "vector_index", "config", "hnsw")
    else:
        hnsw = _at(row[1], "vector_index", "hnsw")
    if hnsw is None:
        return None
    return Thresholds(int(hnsw.get("sync_threshold", _DEFAULT_SYNC)), int(hnsw.get("batch_size", _DEFAULT_BATCH)))


def _at(text: str | None, *path: str) -> Mapping[str, Any] | None:
    found: Any = json.loads(text) if text else None
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def set_thresholds(client: ManagedClient, thresholds: Thresholds) -> None:
    """Set when Chroma writes HNSW to disk; it holds from the next opening on."""
    collection = client.collection
    with client.errors("setting the thresholds"):
        # What collection.modify() does first. What it does then is to rebuild its own copy of the
        # configuration, embedding function included, which fails where the model or key is not here.
        collection._client._modify(  # noqa: SLF001
            id=collection.id,
            new_configuration={"hnsw": {"sync_threshold": thresholds.sync, "batch_size": thresholds.batch}},
            tenant=collection.tenant,
            database=collection.database,
        )


def _check_effect(directory: Path, left: int, before: Thresholds) -> None:
    if left >= SMALLEST_BUDGET:
        raise Corrupt(
            f"{directory}: {left} vector operations are still only in the queue after it was flushed",
            hint="throw this copy away; if it happens again, the installed chromadb flushes in another way: "
            "set the tail budget to 1000 and report it",
        )
    if (now := stored_thresholds(directory)) != before:
        raise Corrupt(
            f"{directory}: the collection has the thresholds {now}, it had {before}",
            hint="throw this copy away and restore",
        )
