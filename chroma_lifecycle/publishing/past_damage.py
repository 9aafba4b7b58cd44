"""Past a damaged manifest: what was published before it, which it alone named as its parent.

It is told by older HEADs, and by other manifests: whatever became of a writer, the parent that its manifest names was
HEAD when it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head, decode_head
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, Manifest, encode_manifest, parse_manifest
from chroma_lifecycle.snapshot.manifest_object import said_by
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Version, digest_of


@dataclass(frozen=True)
class PastDamage:
    """What else knows the history of a collection.

    Attributes:
        places: The store, and the mirror if there is one.
        notes: What is wrong; to it is added which versions nothing is known of.
    """

    head: Head
    places: Sequence[Store]
    notes: list[str] = field(default_factory=list)

    def before(self, damaged: ManifestRef) -> ManifestRef | None:
        """Return the newest version before *damaged* that is known to have been published."""
        for number in range(damaged.version.number - 1, self.head.floor.number - 1, -1):
            if ref := self._published(Version(number)):
                return ref
            self.notes.append(f"version {number}: nothing that is left says which of its manifests was published")
        return None

    def _published(self, version: Version) -> ManifestRef | None:
        """Return the manifest of *version* that was HEAD's, if anything but its damaged child knows it."""
        heads = (head for head in self._heads if head.lineage == self.head.lineage)
        known = {ref for head in heads for ref in (head.manifest, *head.beside) if ref.version == version}
        known |= {manifest.parent for manifest in self._listed(version.next()) if manifest.parent}
        if not known:
            # With one alone there was no race: it is the parent of what came after it.
            alone = self._names.get(version, ())
            known = {_ref(manifest) for manifest in self._listed(version)} if len(alone) == 1 else set()
        return known.pop() if len(known) == 1 else None

    @cached_property
    def _heads(self) -> list[Head]:
        return [head for place in self.places for head, _ in heads_in(place, self.head.collection, [], "", [])]

    @cached_property
    def _names(self) -> dict[Version, list[str]]:
        """The names of the manifests that the store has, of the lineages that this one owns."""
        names, found = Names(self.head.collection), dict[Version, list[str]]()
        for row in self.places[0].list(names.all_manifests):
            parts = names.parse_manifest_name(row.name)
            if parts is not None and parts.era.lineage in {self.head.lineage, *self.head.came_from}:
                found.setdefault(parts.version, []).append(row.name)
        return found

    def _listed(self, version: Version) -> Iterator[Manifest]:
        """Yield the manifests of a version that can be read, those that lost a race too."""
        for name in self._names.get(version, ()):
            try:
                manifest = parse_manifest(said_by(self.places[0].read(name, limit_bytes=LARGEST_BYTES), name))
            except (Corrupt, ObjectMissing):
                continue
            if manifest.name == name:
                yield manifest


def heads_in(
    store: Store, collection: str, first: list[bytes], what: str, notes: list[str]
) -> Iterator[tuple[Head, str]]:
    """Yield the HEADs that *store* still has and that can be read."""
    bodies = list(first)
    try:
        bodies += store.past_heads(collection)
    except LifecycleError as problem:
        notes.append(f"older HEADs in {store.address} could not be looked at: {problem.message}")
    for body in dict.fromkeys(bodies):
        try:
            yield decode_head(body, collection), f"{what} in {store.address}"
        except (Corrupt, BadInput):
            continue


def _ref(manifest: Manifest) -> ManifestRef:
    return ManifestRef(manifest.name, digest_of(encode_manifest(manifest)))
