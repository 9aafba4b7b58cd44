"""Two versions of a collection side by side on the local disk; what they share is fetched once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.publishing.assemble import apply_packs, assemble, local_parts
from chroma_lifecycle.publishing.fetch import Sources
from chroma_lifecycle.publishing.unpack import Stores, scratch_directory
from chroma_lifecycle.snapshot.disk import require_room
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.pages import PageTable
from chroma_lifecycle.snapshot.rewriting import Replace, make_change


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A version's files on the local disk, nobody else's, for as long as the block lasts."""

    manifest: Manifest
    root: Path
    pages: PageTable


@contextmanager
def side_by_side(before: Manifest, after: Manifest, stores: Stores) -> Iterator[tuple[LaidOut, LaidOut]]:
    """Give a directory with the files of each of two versions, every byte proven.

    The later one is made of the earlier one by the packs between them where they are on one chain.

    Raises:
        Corrupt: An object is damaged; it is named.
        ObjectMissing: One of the versions was swept meanwhile.
        NoRoom: The disk for temporary files cannot hold both.
    """
    with scratch_directory() as scratch:
        require_room(scratch, before.size + after.size, "two versions side by side")
        earlier, later = sorted((before, after), key=lambda manifest: manifest.version)
        sources, deadline = Sources(stores.store, stores.mirror), Deadline()
        first = _restored(scratch / "earlier", earlier, sources, deadline)
        second = _continued(scratch / "later", first, later, sources, deadline)
        yield (first, second) if earlier is before else (second, first)


def _restored(root: Path, manifest: Manifest, sources: Sources, deadline: Deadline) -> LaidOut:
    root.mkdir()
    return LaidOut(manifest, root, assemble(root, manifest, sources, deadline))


def _continued(root: Path, from_: LaidOut, manifest: Manifest, sources: Sources, deadline: Deadline) -> LaidOut:
    """Make the files of *manifest*, of which *from_* has some, or nearly all."""
    root.mkdir()
    packs = manifest.chain.after(from_.manifest.content)
    if packs is None:
        held = local_parts(from_.root, from_.pages)
        return LaidOut(manifest, root, assemble(root, manifest, sources, deadline, held))
    for path in from_.pages:
        make_change(root, Replace(path, from_.root / path))
    return LaidOut(manifest, root, apply_packs(root, from_.pages, packs, manifest, sources, deadline))
