"""Snapshots of the system before this one, to be adopted.

Either a Chroma directory or a .tar.gz of one, or the layout in which a small file names the newest::

    <root>/<collection>/snapshot/latest-pointer.txt     its id
    <root>/<collection>/snapshot/timestamped/<id>/      a Chroma directory, or one .tar.gz of it

What is fetched is untrusted: names, sizes and archives are checked as those of deltas are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.deltas.addresses import BucketRoot, DirectoryRoot, Roots
from chroma_lifecycle.deltas.sources import DeltaSource, RootedDeltas
from chroma_lifecycle.errors import BadInput, Retryable

POINTER, TIMESTAMPED, SNAPSHOT = "latest-pointer.txt", "timestamped", "snapshot"
_LONGEST_POINTER_BYTES = 1_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A private copy of a snapshot.

    Attributes:
        directory: The Chroma directory.
        place: Where it came from, for people.
        id: What the pointer called it; ``None`` where there is no pointer.
    """

    directory: Path
    place: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """A place that holds a snapshot.

    Attributes:
        path: Below the one root of *deltas*; empty for the root itself.
    """

    deltas: RootedDeltas
    path: str

    @classmethod
    def in_bucket(cls, bucket: str, prefix: str, source: DeltaSource) -> SnapshotSource:
        """Return the place ``s3://bucket/prefix``."""
        return cls(RootedDeltas(Roots((BucketRoot(bucket, ""),)), {BucketRoot: source}), prefix)

    @classmethod
    def in_directory(cls, path: Path, source: DeltaSource) -> SnapshotSource:
        """Return the place *path*, a directory or an archive."""
        whole = path.absolute()
        return cls(RootedDeltas(Roots((DirectoryRoot(whole.parent),)), {DirectoryRoot: source}), whole.name)

    def fetch(self, collection: str, scratch: Path) -> Fetched:
        """Copy the newest snapshot of *collection* below *scratch*.

        Raises:
            BadInput: There is none, or what is there is refused.
            Retryable: The pointer was moved meanwhile, or the source did not answer.
        """
        from chroma_lifecycle.deltas.open import fetch_chroma  # imports pyarrow, which takes long

        for below in self._homes(collection):
            if (id_ := self._pointer(f"{below}{POINTER}", scratch)) is not None:
                place = f"{below}{TIMESTAMPED}/{id_}"
                directory = fetch_chroma(place, self.deltas, scratch)
                if self._pointer(f"{below}{POINTER}", scratch) != id_:
                    raise Retryable(
                        f"{below}{POINTER} was moved while {id_} was copied",
                        hint="pause the system that writes there, and run it again",
                    )
                return Fetched(directory, f"{self.deltas.roots}{place}", id_)
        if not self.path:
            raise BadInput(
                f"{self.deltas.roots} has no {collection}/{SNAPSHOT}/{POINTER}",
                hint="name the Chroma directory, the archive, or the directory that has the pointer",
            )
        return Fetched(fetch_chroma(self.path, self.deltas, scratch), f"{self.deltas.roots}{self.path}")

    def _homes(self, collection: str) -> Sequence[str]:
        """Return where the pointer may lie: the nearest first."""
        here = f"{self.path}/" if self.path else ""
        inner = [f"{here}{SNAPSHOT}/", f"{here}{collection}/{SNAPSHOT}/"]
        return [here, *inner] if here else inner[1:]

    def _pointer(self, address: str, scratch: Path) -> str | None:
        """Return the id in a pointer, or ``None`` if there is none."""
        place, source = self.deltas.locate(address)
        files = [file for file in source.list(place) if not file.name]
        if not files:
            return None
        to = scratch / POINTER
        to.unlink(missing_ok=True)
        if files[0].size <= _LONGEST_POINTER_BYTES:
            source.fetch(place, files[0], to)
            text = to.read_bytes()[: _LONGEST_POINTER_BYTES + 1].decode("utf-8", "replace").strip()
            if _ID.fullmatch(text) and ".." not in text:
                return text
        raise BadInput(
            f"{address} does not hold the id of a snapshot",
            hint=f"look at it; or name the directory of the snapshot itself, below {TIMESTAMPED}/",
        )
