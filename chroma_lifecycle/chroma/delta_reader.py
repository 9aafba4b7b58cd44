"""Reading a delta that is a Chroma directory, in a child process.

Damaged HNSW files end the process that opens them, without an exception; so a child opens them,
spawned and never forked (a forked Chroma hangs at its first query). It writes Parquet, which is
then checked like every other delta.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.deltas.disk import writing
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoRoom, NotClosed, NoTime, Retryable
from chroma_lifecycle.snapshot.soundness import examine

TIMEOUT_SECONDS = 300.0
PAGE_RECORDS = 1_000

_REFUSED = 3
_HINT = "write the delta again from a closed client, under a new address"
# The parent's own search path, because a function's run-time builds it in a way that no child inherits.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from {0} import main; sys.exit(main(sys.argv[1:]))"
)
_SCHEMA = pa.schema(
    {"id": pa.string(), "embedding": pa.list_(pa.float32()), "document": pa.string(), "metadata": pa.string()}
)


def read_chroma_delta(
    directory: Path,
    collection: str,
    to: Path,
    subject: str,
    *,
    ids: Sequence[str] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    deadline: Deadline | None = None,
) -> None:
    """Write the records of one collection of a Chroma directory to the new Parquet file *to*.

    Args:
        directory: A private copy; opening it changes it.
        collection: The name that the collection must have.
        subject: What the directory is, for messages.
        ids: Those of the records that are wanted; by default all.
        timeout_seconds: How long the child may take; it is killed after that.
        deadline: The cycle's, if it may be nearer.

    Raises:
        BadInput: The directory is damaged or was not closed, has no such collection, or the child
            crashed or hung on it.
        NoRoom: The disk of *to* is full.
        NoTime: The deadline came first.
        Retryable: The child cannot be started.
    """
    left = (deadline or Deadline()).remaining_seconds()
    child = [sys.executable, "-c", _CHILD.format(__name__), json.dumps(sys.path), str(directory), collection, str(to)]
    wanted = "" if ids is None else json.dumps(list(ids))
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            child,
            input=wanted.encode("ascii"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a panic may print what it was given
            timeout=min(timeout_seconds, left),
            check=False,
        )
    except subprocess.TimeoutExpired as problem:
        if left < timeout_seconds:
            raise NoTime(f"no time was left to read {subject}", hint="the message comes again by itself") from problem
        raise BadInput(f"{subject}: reading took longer than {timeout_seconds:g} s", hint=_HINT) from problem
    except OSError as problem:
        raise Retryable(
            f"{subject}: the process that reads it cannot be started: {problem.strerror}",
            hint="see that memory and processes are left, then run it again",
        ) from problem
    if done.returncode == _REFUSED:
        raise _told(done.stdout, subject)
    if done.returncode != 0:
        raise BadInput(f"{subject}: Chroma crashed on it ({_how(done.returncode)})", hint=_HINT)


def read_proven(directory: Path, collection: str, to: Path, subject: str, *, ids: Sequence[str]) -> None:
    """Write some records of a directory to the new Parquet file *to*, in this process.

    For a few records of a version whose every byte was proven: a child would take longer to begin than to read them.

    Raises:
        Corrupt: The directory is not whole.
        BadInput: Not all of the records are there.
        NoRoom: The disk of *to* is full.
    """
    # Imports chromadb, which whoever has a child read need not.
    from chroma_lifecycle.chroma.client import ManagedClient

    del subject
    with ManagedClient.open(directory, collection, everywhere=False) as client, writing(to):
        _copy(client.collection, to, ids)


def _told(answer: bytes, subject: str) -> LifecycleError:
    """Return the error that the child wrote as its last line."""
    told = json.loads(answer.splitlines()[-1])
    kind = {kind.__name__: kind for kind in (NoRoom, Retryable)}.get(told["kind"], BadInput)
    return kind(f"{subject}: {told['message']}", hint=told["hint"])


def _how(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"


def main(arguments: Sequence[str]) -> int:
    """Be the child: read what *arguments* name, and return the exit code."""
    directory, collection, to = Path(arguments[0]), arguments[1], Path(arguments[2])
    try:
        _require_sound(directory, collection)
        with writing(to):
            wanted = sys.stdin.read()
            _copy(_open(directory, collection), to, json.loads(wanted) if wanted else None)
    except LifecycleError as problem:
        message = problem.message.replace(str(directory), "the directory")
        print(json.dumps({"kind": type(problem).__name__, "message": message, "hint": problem.hint}), flush=True)  # noqa: T201
        return _REFUSED
    return 0


def _require_sound(directory: Path, collection: str) -> None:
    try:
        soundness = examine(directory, full=True)
    except (Corrupt, NotClosed) as problem:
        raise BadInput(f"it is damaged: {problem.message}", hint=_HINT) from problem
    names = [state.name for state in soundness.collections]
    if collection not in names:
        found = ", ".join(repr(name) for name in names[:5]) or "none"
        raise BadInput(
            f"it has no collection {collection!r}; it has: {found}",
            hint="a delta's collection has the name of the collection that it is for; correct the run item or the job",
        )


def _open(directory: Path, collection: str) -> Any:
    # Here, so that a damaged directory is refused without the two seconds that this import takes.
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(directory), Settings(anonymized_telemetry=False))
    return client.get_collection(collection, embedding_function=None)


def _copy(collection: Any, to: Path, wanted: Sequence[str] | None) -> None:
    ids = collection.get(include=[])["ids"] if wanted is None else wanted
    with pq.ParquetWriter(to, _SCHEMA, use_dictionary=False, write_statistics=False) as file:
        for page in _pages(ids):
            found = collection.get(ids=page, include=["embeddings", "documents", "metadatas"])
            if set(found["ids"]) != set(page) or found["embeddings"] is None:
                raise BadInput(f"it is damaged: {len(page)} records were asked for and not all came", hint=_HINT)
            file.write_batch(_batch(found))
    if wanted is None and len(ids) != (counted := collection.count()):
        raise BadInput(f"it is damaged: it counts {counted} records and has {len(ids)}", hint=_HINT)


def _pages(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), PAGE_RECORDS):
        yield list(ids[start : start + PAGE_RECORDS])


def _batch(found: dict[str, Any]) -> Any:
    vectors = [None if vector is None else vector.astype("float32") for vector in found["embeddings"]]
    columns = (found["ids"], vectors, found["documents"], [_json(metadata) for metadata in found["metadatas"]])
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _json(metadata: object) -> str | None:
    # What JSON does not know (a sparse vector) becomes an object, and is refused with its key.
    unknown: Callable[[object], object] = lambda _: {}  # noqa: E731
    return None if metadata is None else json.dumps(metadata, default=unknown)
