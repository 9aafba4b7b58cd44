"""The deep check: a child opens a copy of the directory and lets its records find themselves.

It finds what no structure shows: vectors or neighbours that are not what was written. The engine
may die of such files, so it runs in another process, whose death is an answer. That process is
spawned: one that was forked after Chroma wrote vectors hangs at its first query.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chroma_lifecycle.chroma.client import open_engine
from chroma_lifecycle.chroma.closing import end_and_prove
from chroma_lifecycle.chroma.engine_errors import chroma_errors
from chroma_lifecycle.errors import Corrupt, LifecycleError, NoTime
from chroma_lifecycle.snapshot import soundness
from chroma_lifecycle.snapshot.descriptors import require_closed

SOUND_SHARE = 0.9
"""Of the records asked for. HNSW is approximate: of sound files a few may miss themselves."""

_HINT = "restore the last sound version; if none is, embed the records again"
_NEIGHBOURS = 10
_SLACK = 1e-4
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from chroma_lifecycle.chroma import deep; deep.child()"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """How one collection answered.

    Attributes:
        records: How many it holds.
        asked: Of how many of them the nearest neighbour was asked for.
        found: How many of those found themselves, or one as near.
    """

    collection: str
    records: int
    asked: int
    found: int


def verify_deep(
    directory: Path, *, probes: int = 64, timeout_seconds: float = 600.0, closed_within_seconds: float = 5.0
) -> tuple[Probe, ...]:
    """Check a closed directory fully, then let some records of every collection find themselves.

    The directory itself is not opened: that alone would change it.

    Args:
        probes: How many records of each collection are asked for.
        timeout_seconds: How long the child may take.
        closed_within_seconds: How long a client that has just ended may take to let go.

    Raises:
        NotClosed: Somebody has it open.
        Corrupt: A file is not whole, the engine died or failed, or records do not find themselves.
        NoTime: The child did not answer in time.
    """
    require_closed(directory, timeout_seconds=closed_within_seconds)
    soundness.examine(directory, full=True)
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        copy = Path(scratch).resolve() / "copy"
        shutil.copytree(directory, copy)
        answers = _ask_child(directory, copy, probes, timeout_seconds)
    for probe in answers:
        if probe.found < SOUND_SHARE * probe.asked:
            raise Corrupt(
                f"{directory}: {probe.found} of {probe.asked} records of collection {probe.collection} find "
                "themselves: its vectors are not what was written",
                hint=_HINT,
            )
    return answers


def _ask_child(directory: Path, copy: Path, probes: int, timeout_seconds: float) -> tuple[Probe, ...]:
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path)]
    request = json.dumps({"directory": str(copy), "probes": probes})
    try:
        # Nothing from outside is in the command.
        ended = subprocess.run(command, input=request, capture_output=True, text=True, timeout=timeout_seconds)  # noqa: S603
    except subprocess.TimeoutExpired as problem:
        raise NoTime(
            f"the deep check of {directory} gave no answer in {timeout_seconds:.0f} s",
            hint="give it more time, or fewer probes",
        ) from problem
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        raise Corrupt(f"{directory}: Chroma's engine died ({name}) when it read the vectors", hint=_HINT)
    if ended.returncode > 0:
        raise Corrupt(f"{directory}: the deep check failed: {_last_line(ended.stderr)}", hint=_HINT)
    answer = json.loads(_last_line(ended.stdout))
    if "problem" in answer:
        raise Corrupt(f"{directory}: {answer['problem']}", hint=_HINT)
    return tuple(Probe(**probe) for probe in answer["probes"])


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def child() -> None:
    """Answer a request on standard input; runs in the spawned process only."""
    request = json.load(sys.stdin)
    try:
        found = _probe_all(Path(request["directory"]), request["probes"])
        answer: dict[str, object] = {"probes": [asdict(probe) for probe in found]}
    except LifecycleError as problem:
        answer = {"problem": problem.message}
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def _probe_all(directory: Path, probes: int) -> list[Probe]:
    names = [state.name for state in soundness.examine(directory).collections]
    client = open_engine(directory)
    found = []
    for name in names:
        with chroma_errors(f"collection {name}", directory):
            found.append(_probe(client.get_collection(name, embedding_function=None), probes))
    end_and_prove(client, timeout_seconds=5.0)
    return found


def _probe(collection: Any, probes: int) -> Probe:
    ids = collection.get(include=[])["ids"]
    chosen = _spread(sorted(ids), probes)
    if not chosen:
        return Probe(collection.name, 0, 0, 0)
    held = collection.get(ids=chosen, include=["embeddings"])
    vectors = np.asarray(held["embeddings"], dtype=np.float32)
    nearest = collection.query(query_embeddings=vectors, n_results=min(_NEIGHBOURS, len(ids)), include=["distances"])
    space = (collection.configuration_json.get("hnsw") or {}).get("space", "l2")
    own = 1 - (vectors**2).sum(axis=1) if space == "ip" else np.zeros(len(vectors))
    slack = _SLACK * (1 + (vectors**2).sum(axis=1))
    found = sum(
        id_ in neighbours or bool(distances and distances[0] <= own[row] + slack[row])
        for row, (id_, neighbours, distances) in enumerate(
            zip(held["ids"], nearest["ids"], nearest["distances"], strict=True)
        )
    )
    return Probe(collection.name, len(ids), len(chosen), found)


def _spread(ids: Sequence[str], count: int) -> list[str]:
    """Return *count* of *ids*, evenly spread."""
    if len(ids) <= count:
        return list(ids)
    return [ids[place * len(ids) // count] for place in range(count)]
