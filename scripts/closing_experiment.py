"""Measure ways to close a Chroma client, on the installed chromadb.

For each way: how long it takes, how many descriptors are open at the moment it returns, whether
they go away within two seconds, and whether a copy taken at that moment is whole: alone, and beside
a second holder of the directory that goes on writing. The figures of docs/closing.md are
from here::

    python scripts/closing_experiment.py --rounds 100 >> results.jsonl    # in each environment
    python scripts/closing_experiment.py --table results.jsonl
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import structlog
from chromadb.config import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chroma_lifecycle.chroma import systems
from chroma_lifecycle.chroma.closing import close_client
from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.errors import LifecycleError, NotClosed
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.descriptors import below
from scripts.closing_holder import Holder, writing

COLLECTION = "words"
DIMENSION = 32
_random = np.random.default_rng(7)


# ruff: noqa: SLF001 - the recipe is about private parts
def old_recipe(client: Any) -> None:
    """Do what older advice says: clear references, collect garbage, wait half a second."""
    if hasattr(client, "_collections"):
        client._collections.clear()
    if hasattr(getattr(client, "_admin_client", None), "_db"):
        client._admin_client._db.close()
    if hasattr(client, "_client"):
        client._client = None
    gc.collect()
    gc.collect()
    threading.Event().wait(0.5)


def close_alone(client: Any) -> None:
    """Call Chroma's own ``close()`` (from 1.5.2) and believe it."""
    client.close()


def stop_and_evict(client: Any) -> None:
    """Stop the client's system and take it out of Chroma's cache, without looking what it left open."""
    systems.stop(systems.system_of(client))


def proven(client: Any) -> None:
    """Close as this library does."""
    close_client(client)


WAYS: dict[str, Callable[[Any], None]] = {
    "old recipe": old_recipe,
    "close() alone": close_alone,
    "stop and evict": stop_and_evict,
    "close_client": proven,
}


class Situation(StrEnum):
    """Who else has the directory open."""

    ALONE = "alone"
    CLIENT = "beside a second client of the process, which writes"
    PROCESS = "beside another process, which writes"


@dataclass(frozen=True, slots=True)
class Result:
    """One way of closing, in one situation.

    Attributes:
        refused: Rounds in which it raised, which is the right answer beside a second client.
        open_at_return: Rounds in which it returned while descriptors were open.
        never_released: Rounds in which they were open two seconds later.
        unsound_copies: Copies, of those taken when it returned, that fail the full check, or
            lack a record that was written before.
        others_killed: Rounds in which the second client of the process could not write any more.
    """

    chromadb: str
    way: str
    situation: str
    rounds: int
    median_ms: float
    slowest_ms: float
    refused: int
    open_at_return: int
    most_open: int
    never_released: int
    unsound_copies: int
    others_killed: int


def available_ways() -> dict[str, Callable[[Any], None]]:
    """Return the ways that the installed chromadb has."""
    closes = hasattr(chromadb.api.client.Client, "close")
    return {name: way for name, way in WAYS.items() if closes or way is not close_alone}


def connect(path: Path | str) -> Any:
    """Return a raw client."""
    return chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))


def vectors(count: int) -> Any:
    """Return *count* random vectors."""
    return _random.random((count, DIMENSION), dtype=np.float32)


def make_base(path: Path) -> None:
    """Make a directory with 1,500 records: some in the HNSW files, some in the queue."""
    client = connect(path)
    collection = client.create_collection(COLLECTION, embedding_function=None)
    collection.upsert(ids=[f"base-{i}" for i in range(1500)], embeddings=vectors(1500))
    close_client(client)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed."""

    seconds: float
    refused: bool
    open_at_return: int
    released: bool
    sound: bool
    other_killed: bool = False


def one_round(way: Callable[[Any], None], base: Path, room: Path, situation: Situation, holder: Holder) -> Round:
    """Write to a fresh copy of *base*, close in one way, and look."""
    path, copy = room / "closed", room / "copy"
    shutil.copytree(base, path)
    client = connect(path)
    collection = client.get_collection(COLLECTION, embedding_function=None)
    collection.upsert(ids=[f"new-{i}" for i in range(600)], embeddings=vectors(600))
    try:
        if situation is Situation.CLIENT:
            with writing(path) as writer:
                seen = _close_and_look(way, client, path, copy)
            return replace(seen, other_killed=writer.problem is not None)
        if situation is Situation.PROCESS:
            holder.tell("open", path)
        return _close_and_look(way, client, path, copy)
    finally:
        for system in {*systems.on_directory(path), systems.system_of(client)}:
            systems.stop(system)
        wait_until(lambda: not below(path), timeout_seconds=5.0)
        holder.tell("close")


def _close_and_look(way: Callable[[Any], None], client: Any, path: Path, copy: Path) -> Round:
    began = time.perf_counter()
    try:
        way(client)
    except NotClosed:
        return Round(time.perf_counter() - began, True, 0, True, True)
    seconds = time.perf_counter() - began
    held = below(path)
    sound = _copy_is_sound(path, copy)
    released = wait_until(lambda: not below(path), timeout_seconds=2.0) if held else True
    return Round(seconds, False, len(held), released, sound)


def _copy_is_sound(path: Path, copy: Path) -> bool:
    try:
        shutil.copytree(path, copy)
        found = soundness.examine(copy, full=True)
    except (LifecycleError, shutil.Error):
        return False
    return (found.collections[0].records or 0) >= 2100


def measure(way: str, base: Path, rounds: int, situation: Situation, holder: Holder) -> Result:
    """Measure one way in one situation."""
    seen = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as room:
            seen.append(one_round(WAYS[way], base, Path(room), situation, holder))
    milliseconds = [each.seconds * 1000 for each in seen]
    return Result(
        chromadb=version("chromadb"),
        way=way,
        situation=situation.value,
        rounds=rounds,
        median_ms=round(statistics.median(milliseconds), 1),
        slowest_ms=round(max(milliseconds), 1),
        refused=sum(each.refused for each in seen),
        open_at_return=sum(each.open_at_return > 0 for each in seen),
        most_open=max(each.open_at_return for each in seen),
        never_released=sum(not each.released for each in seen),
        unsound_copies=sum(not each.sound for each in seen),
        others_killed=sum(each.other_killed for each in seen),
    )


def table(path: Path) -> str:
    """Return the results in *path* as tables, one for each situation."""
    results = [Result(**json.loads(line)) for line in path.read_text().splitlines()]
    lines = []
    for situation in Situation:
        lines += [
            f"**{situation.value.capitalize()}**\n",
            (
                "| chromadb | way | refused | open at return (most) | never released | unsound copies | other killed "
                "| median ms | slowest ms |"
            ),
            "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {each.chromadb} | {each.way} | {each.refused} | {each.open_at_return} ({each.most_open}) "
            f"| {each.never_released} | {each.unsound_copies} | {each.others_killed} "
            f"| {each.median_ms} | {each.slowest_ms} |"
            for each in results
            if each.situation == situation.value
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Print the results as JSON lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=50)
    arguments.add_argument("--table", type=Path, help="print the results in this file instead")
    chosen = arguments.parse_args()
    if chosen.table:
        print(table(chosen.table))  # noqa: T201 - this is its output
        return
    with tempfile.TemporaryDirectory() as room, Holder() as holder:
        base = Path(room) / "base"
        make_base(base)
        for situation in Situation:
            for way in available_ways():
                result = measure(way, base, chosen.rounds, situation, holder)
                print(json.dumps(asdict(result)), flush=True)  # noqa: T201 - this is its output


if __name__ == "__main__":
    main()
