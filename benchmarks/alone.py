"""Chroma alone: what a cycle cannot do without, and is measured against."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings

from benchmarks.figures import seconds_of
from benchmarks.function_process import as_the_function
from benchmarks.receipts import COLLECTION
from chroma_lifecycle.chroma.kept_memory import in_kept_memory
from chroma_lifecycle.config import keeps_freed_memory


@dataclass(frozen=True, slots=True)
class Call:
    """One batched call of a collection: the method, and what it is given."""

    method: str
    arguments: Mapping[str, Any]


def cycle_alone(directory: Path, call: Call) -> None:
    """Open, make one batched call, close."""
    client = chromadb.PersistentClient(str(directory), settings=Settings(anonymized_telemetry=False))
    getattr(client.get_collection(COLLECTION, embedding_function=None), call.method)(**call.arguments)
    client.close()


class ChromaAlone:
    """A Chroma directory that gets the same changes as ours, and nothing else is done for it.

    In a process of its own, since the function's takes memory in another way than others do.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cycle(self, call: Call) -> float:
        """Open, make one batched call, close; return the seconds."""
        self._connection.send(call)
        return float(self._connection.recv())


@contextmanager
def chroma_alone(directory: Path, *, keeps_memory: bool = False) -> Iterator[ChromaAlone]:
    """Give a process with Chroma.

    Args:
        directory: Of the Chroma files.
        keeps_memory: Whether it takes memory as the function does, and not as any process does.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, directory))
    with as_the_function() if keeps_memory else nullcontext():
        process.start()
    theirs.close()
    try:
        yield ChromaAlone(ours)
    finally:
        ours.close()
        process.join()


def _serve(connection: Connection, directory: Path) -> None:
    """Do one cycle for each call that comes; say how long it took."""
    with in_kept_memory() if keeps_freed_memory() else nullcontext():
        while True:
            try:
                call = connection.recv()
            except EOFError:
                return
            connection.send(seconds_of(partial(cycle_alone, directory, call)))
