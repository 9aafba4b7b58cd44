"""The ways out: the records of a version as a file, which `init --from` reads back, or in a Chroma server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chroma_lifecycle.chroma.client import SPACES, CollectionSettings
from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
from chroma_lifecycle.chroma.server import ServerAddress, ServerCollection
from chroma_lifecycle.chroma.stored_settings import stored_settings
from chroma_lifecycle.chroma.uploading import Uploaded, upload
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.convert import convert
from chroma_lifecycle.deltas.marks import Origin
from chroma_lifecycle.deltas.model import Delta, Rows
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.snapshot.manifest import Manifest


def read_records(manifest: Manifest, stores: Stores, scratch: Path) -> Delta:
    """Return the records of a version, in a file below *scratch*, with the collection that they come from.

    Every byte is proven; Chroma reads them in a child process.

    Raises:
        BadInput: The version has no records.
        Corrupt: An object is damaged.
        NoRoom: The disk of *scratch* is too small.
    """
    name, details = manifest.collection, manifest.details
    if not details.counts.records:
        raise BadInput(
            f"version {manifest.version.number} of {name} has no records: there is nothing to take out",
            hint="`chroma-lifecycle log` says which versions have some",
        )
    with files_of(manifest, stores) as files:
        settings = stored_settings(files / CHROMA, name, details.dimension)
        expected = Expectation(name, details.dimension, None, bool)
        records = open_delta(CHROMA, directory_deltas(files), scratch, expected, read_chroma_delta)
    origin = Origin(
        collection=name,
        version=manifest.version.number,
        dimension=details.dimension,
        space=settings.space,
        chroma=details.chroma.version,
        metadata=settings.metadata,
        hnsw=settings.hnsw,
    )
    return replace(records, address=name, origin=origin)


def export_records(manifest: Manifest, stores: Stores, to: Path, tell: Callable[[int], None]) -> Delta:
    """Write the records of a version to the new file *to*, in the form that its name says; return what was written.

    Memory does not grow with vectors and documents; the ids are held.

    Args:
        tell: Is told how many records are written so far.

    Raises:
        LifecycleError: As :func:`read_records`, or the file cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        records = read_records(manifest, stores, Path(scratch))
        convert(records, to, tell)
    return records


@dataclass(frozen=True, slots=True)
class _Together:
    """The records of several versions, which have none in common."""

    parts: Sequence[Delta]

    @property
    def ids(self) -> list[str]:
        return [record_id for part in self.parts for record_id in part.ids]

    def batches(self) -> Iterator[Rows]:
        for part in self.parts:
            yield from part.batches()


def upload_records(
    manifests: Sequence[Manifest],
    stores: Stores,
    address: ServerAddress,
    name: str,
    *,
    tell: Callable[[int], None],
    delete_others: bool = False,
) -> Uploaded:
    """Bring the records of a version into collection *name* of a Chroma server, and prove that they are there.

    Args:
        manifests: Of the version; or of a version of each shard of one collection.
        name: Of the collection there; it is made like the one here if it is not there.
        tell: Is told how many records are done so far.
        delete_others: Delete what else the collection there holds.

    Raises:
        LifecycleError: As :func:`read_records`; or the server cannot be reached, refuses, or holds something else.
    """
    with tempfile.TemporaryDirectory(prefix="chroma-lifecycle-") as scratch:
        parts = []
        # One without records is an error where it is the only one.
        for manifest in [each for each in manifests if each.details.counts.records] or manifests[:1]:
            own = Path(scratch) / manifest.collection
            own.mkdir()
            parts.append(read_records(manifest, stores, own))
        origin = parts[0].origin
        assert origin is not None  # the version's own
        settings = CollectionSettings(SPACES[origin.space], origin.dimension, origin.metadata, origin.hnsw)
        with ServerCollection.open(address, name, settings) as target:
            return upload(_Together(parts), target, tell=tell, delete_others=delete_others)
