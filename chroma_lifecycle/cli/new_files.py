"""New files of records, named by people: a path, or an object of a bucket; never over another one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chroma_lifecycle.config import Checksums
from chroma_lifecycle.errors import BadInput
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


def _taken(address: str) -> BadInput:
    return BadInput(f"{address} is there already", hint="an address holds one content for ever: take a new name")
