"""Putting a finished delta where the compactor looks for it: whole or not at all, and never over another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.deltas.addresses import Place, Root
from chroma_lifecycle.deltas.disk import sync, writing
from chroma_lifecycle.deltas.parquet import parquet_marks
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.deltas.writer import WrittenDelta
from chroma_lifecycle.errors import BadInput


class Delivery(Protocol):
    """Writes files below one kind of root."""

    def put(self, place: Place, file: Path) -> bool:
        """Store *file* at *place*, whole, unless there is something; return whether it was stored.

        Raises:
            BadInput: The root is not there.
            StoreUnavailable: No answer.
        """
        ...


class DirectoryDelivery:
    """A :class:`Delivery` below directories."""

    def put(self, place: Place, file: Path) -> bool:
        root = Path(str(place.root))
        if not root.is_dir():
            raise BadInput(f"there is no directory {root}", hint="create it, or mount it, first")
        target = root / place.path
        # Readers of a directory of parts ignore names that begin with a dot.
        partial = target.with_name(f".{target.name}.{new_id()}.partial")
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(file, partial)
                sync(partial)
                os.link(partial, target)  # never over another one
            except FileExistsError:
                return False
            finally:
                partial.unlink(missing_ok=True)
            sync(target.parent)
        return True


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delta that lies where a run item may say it does.

    Attributes:
        address: As the run item says it.
        is_new: False if the same content lay there already: the job ran before.
    """

    address: str
    count: int
    is_new: bool


def deliver(
    delta: WrittenDelta, address: str, roots: RootedDeltas, deliveries: Mapping[type[Root], Delivery]
) -> Delivered:
    """Put *delta* at *address*; a job that runs again and made the same content finds it there.

    Args:
        delta: A complete one: nothing else has this type.
        address: Below one of the roots.
        roots: Where the compactor looks for deltas.
        deliveries: For each kind of root.

    Raises:
        BadInput: Another content has this address, or it lies outside the roots.
        StoreUnavailable, NoRoom: It can be tried again.
    """
    place, source = roots.locate(address)
    if deliveries[type(place.root)].put(place, delta.path):
        return Delivered(address, delta.count, is_new=True)
    subject, there = f"what is at {address!r}", delta.path.with_name(f"there-{new_id()}")
    files = source.list(place)
    if [file.name for file in files] == [""]:
        source.fetch(place, files[0], there)
        if parquet_marks(there, subject).content == delta.digest:
            return Delivered(address, delta.count, is_new=False)
    raise BadInput(
        f"delta {address!r} exists already, with another content",
        hint="an address holds one content for ever: give a corrected delta a new run or a new address",
    )
