"""New files, named by people: of records, a path or an object of a bucket, never over another one; and of text."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.config import Checksums
from chroma_lifecycle.errors import BadInput, NoRoom
from chroma_lifecycle.snapshot.disk import FULL
from chroma_lifecycle.wiring import BUCKET, open_deliveries, open_delta_at, require_place


@contextmanager
def new_file(address: str, checksums: Checksums | None) -> Iterator[Path]:
    """Give the path to write to; what was written is at *address* when the block has ended without an error.

    Raises:
        BadInput: The name says no form that is written, something is there, or its directory is not.
        StoreUnavailable: The bucket did not answer.
    """
    from chroma_lifecycle.deltas.convert import require_target  # imports pyarrow, which takes long

    require_place(address)
    if not address.startswith(BUCKET):
        require_target(Path(address))
        yield Path(address)
        return
    name, source = open_delta_at(address, checksums=checksums)
    place, reads = source.locate(name)
    if reads.list(place):
        raise _taken(address)
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        path = Path(scratch) / place.path.rpartition("/")[2]
        require_target(path)
        yield path
        if not open_deliveries(address, checksums=checksums)[type(place.root)].put(place, path):
            raise _taken(address)


def write_whole(to: Path, text: str) -> None:
    """Write, or replace, a file at once, so that nobody ever sees half of one.

    Raises:
        NoRoom: The disk is full; what was there before stays.
        BadInput: It cannot be written there.
    """
    unfinished = to.with_name(f".{to.name}.{new_id()}")
    try:
        unfinished.write_text(text, "utf-8")
        os.replace(unfinished, to)  # noqa: PTH105  Path.replace hides the target in the error
    except OSError as problem:
        unfinished.unlink(missing_ok=True)
        message = f"{to} cannot be written: {problem.strerror}"
        if problem.errno in FULL:
            raise NoRoom(message, hint="make room there, or name a file on another disk") from problem
        raise BadInput(message, hint="name a file in a directory that can be written") from problem


def _taken(address: str) -> BadInput:
    return BadInput(f"{address} is there already", hint="an address holds one content for ever: take a new name")
