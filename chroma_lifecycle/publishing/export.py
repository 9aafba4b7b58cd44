"""The way back: a version in the layout of systems that know a pointer and whole directories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from chroma_lifecycle.deltas.snapshots import POINTER, SNAPSHOT, TIMESTAMPED
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.snapshot.manifest import Manifest


class ExportTarget(Protocol):
    """Where another system reads from. Names are relative, with ``/``."""

    @property
    def address(self) -> str:
        """Where this is, for messages to people."""
        ...

    def holds(self, below: str) -> bool:
        """Return whether anything lies below this name."""
        ...

    def put(self, name: str, file: Path) -> None:
        """Copy *file* there, whole or not at all.

        Raises:
            StoreUnavailable: No answer.
            NoRoom: The disk is full.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        id: What the pointer says.
        place: Where the directory is.
        files: How many files it has.
    """

    id: str
    place: str
    files: int
    size_bytes: int


def export_version(manifest: Manifest, stores: Stores, target: ExportTarget, at: datetime) -> Exported:
    """Write a version to *target* as a whole Chroma directory, every byte proven, and let the pointer name it.

    A failure before the last step leaves the pointer, and so the other system's readers, as they were.

    Args:
        at: The time that the id says.

    Raises:
        BadInput: There is a snapshot of this id.
        Corrupt: An object is damaged; nothing was written.
    """
    home = f"{manifest.collection}/{SNAPSHOT}"
    id_ = f"{at.astimezone(UTC):%Y%m%d_%H%M%S}"
    place = f"{home}/{TIMESTAMPED}/{id_}"
    if target.holds(place):
        raise BadInput(f"{target.address} has a snapshot {id_} already", hint="run it again: the id is the time")
    # 1. The files, proven, on this machine.
    with files_of(manifest, stores) as scratch:
        files = sorted(path for path in (scratch / CHROMA).rglob("*") if path.is_file())
        # 2. The files, there; nobody looks for them.
        for file in files:
            target.put(f"{place}/{file.relative_to(scratch / CHROMA).as_posix()}", file)
        size = sum(file.stat().st_size for file in files)
        # 3. The pointer: the only visible step.
        pointer = scratch / POINTER
        pointer.write_text(id_, "utf-8")
        target.put(f"{home}/{POINTER}", pointer)
    return Exported(id_, f"{target.address}/{place}", len(files), size)
