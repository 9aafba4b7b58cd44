"""Records written to a file, as Parquet or JSON Lines: one form of delta made from another, or an export."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.deltas.disk import sync, writing
from chroma_lifecycle.deltas.marks import encode_marks
from chroma_lifecycle.deltas.model import Delta, Rows
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput


def convert(delta: Delta, to: Path, tell: Callable[[int], None] = lambda _: None) -> None:
    """Write the records of *delta* to the new file *to*, in the form that its name says.

    The file appears under its name whole and synced, and never after an error. Of an export it
    says what the export said.

    Args:
        tell: Is told how many records are written so far.

    Raises:
        BadInput: The name says no form, the file exists, its directory does not, or the delta is empty.
        NoRoom: The disk is full.
    """
    require_target(to)
    if delta.dimension is None:
        raise BadInput(f"delta {delta.address!r} is empty", hint="announce no run when there is nothing to merge")
    batches = _told(delta, tell)
    if to.suffix.lower() == ".jsonl":
        _write_jsonl(delta, batches, to)
        return
    with DeltaWriter(to, dimension=delta.dimension, origin=delta.origin) as writer:
        for rows in batches:
            writer.add(rows.ids, rows.embeddings, rows.documents, rows.metadatas)


def _told(delta: Delta, tell: Callable[[int], None]) -> Iterator[Rows]:
    done = 0
    for rows in delta.batches():
        yield rows
        done += len(rows.ids)
        tell(done)


def require_target(to: Path) -> None:
    """Raise unless *to* can become a delta.

    Raises:
        BadInput: The name says no form that is written, the file exists, or its directory does not.
    """
    if to.suffix.lower() not in (".parquet", ".jsonl"):
        raise BadInput(f"{str(to)!r} says no form that is written", hint="end the name with .parquet or .jsonl")
    if to.exists():
        raise BadInput(f"{to} is there already", hint="an address holds one content for ever: take a new name")
    if not to.parent.is_dir():
        raise BadInput(f"there is no directory {str(to.parent)!r}", hint="create it first")


def _write_jsonl(delta: Delta, batches: Iterator[Rows], to: Path) -> None:
    # Readers of a directory of parts ignore names that begin with a dot.
    partial = to.with_name(f".{to.name}.{new_id()}.partial")
    with writing(to), ExitStack() as closing:
        closing.callback(partial.unlink, missing_ok=True)
        with partial.open("x", encoding="utf-8", newline="\n") as file:
            if delta.origin is not None:
                file.write(json.dumps(encode_marks(len(delta.ids), delta.digest, delta.origin)) + "\n")
            _write_lines(batches, file)
        sync(partial)
        require_target(to)
        partial.rename(to)
        sync(to.parent)


def _write_lines(batches: Iterator[Rows], file: TextIO) -> None:
    for rows in batches:
        vectors = rows.embeddings.tolist()
        for id_, vector, document, metadata in zip(rows.ids, vectors, rows.documents, rows.metadatas, strict=True):
            record = {"id": id_, "embedding": vector, "document": document, "metadata": metadata}
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
