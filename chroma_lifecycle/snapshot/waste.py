"""What a version carries about that no record needs, and whether a rebuild would pay."""

from __future__ import annotations

from dataclasses import dataclass

from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.soundness import DATABASE

_SHARE = 0.25
_SMALLEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Waste:
    """What a rebuild would do away with.

    Attributes:
        dead_elements: Elements in the HNSW files whose records were deleted or written again, at least.
        dead_bytes: About what they take.
        free_bytes: Pages of the database that hold nothing.
        size: Bytes of all files.
    """

    dead_elements: int
    dead_bytes: int
    free_bytes: int
    size: int

    @property
    def pays(self) -> bool:
        """Whether a rebuild is worth it: a quarter of the size, and not next to nothing."""
        return self.dead_bytes + self.free_bytes >= max(_SMALLEST_BYTES, _SHARE * self.size)


def waste_of(manifest: Manifest) -> Waste:
    """Return what of a version no record needs, as its files told when it was published."""
    counts = manifest.details.counts
    # Vectors that are only in the queue yet are records too, so this is what is dead at least.
    dead = max(0, counts.elements - counts.records)
    index = sum(
        file.size
        for file in manifest.files
        if file.path.startswith(f"{CHROMA}/") and file.path != f"{CHROMA}/{DATABASE}"
    )
    dead_bytes = index * dead // counts.elements if counts.elements else 0
    return Waste(dead, dead_bytes, counts.free_bytes, manifest.size)
