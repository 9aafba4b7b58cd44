"""Past damage: the newest version that is sound, when the one that should have been restored is not.

A damaged manifest also hides what came before it, since each names its parent. What was published
before is then told by older HEADs, and by other manifests: whatever became of a writer, the parent that its
manifest names was HEAD when it began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from chroma_lifecycle.errors import BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.published import read_manifest
from chroma_lifecycle.publishing.recover import heads_in
from chroma_lifecycle.publishing.unpack import Stores, restore_directory
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, Manifest, encode_manifest, parse_manifest
from chroma_lifecycle.snapshot.manifest_object import said_by
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Version, digest_of


@dataclass(frozen=True, slots=True)
class Sound:
    """The version that was restored, and what was wrong with newer ones."""

    manifest: Manifest
    damage: tuple[str, ...]


def restore_sound(
    directory: Path, head: Head, stores: Stores, *, number: int | None = None, moment: datetime | None = None
) -> Sound:
    """Make *directory* of the newest version that is sound.

    Args:
        directory: It becomes a plain Chroma directory.
        head: Of the collection.
        stores: The mirror is asked for manifests too.
        number: Not newer than this version.
        moment: Not newer than this time.

    Raises:
        Corrupt: None that lives is; the damage of each is named.
        BadInput: There is something at *directory* already, or no version has that number yet.
    """
    if number is not None and number > head.version.number:
        raise BadInput(
            f"version {number} of {head.collection} is not there: the newest is {head.version.number}",
            hint="`chroma-lifecycle log` lists them",
        )
    search = _Search(head, stores)
    for manifest in search.versions():
        if (number and manifest.version.number > number) or (moment and manifest.written_at > moment):
            continue
        try:
            restore_directory(directory, manifest, stores)
        except (Corrupt, ObjectMissing) as problem:
            search.damage.append(f"version {manifest.version.number}: {problem.message}")
        else:
            return Sound(manifest, tuple(search.damage))
    raise Corrupt(
        f"no version of {head.collection} could be restored: {'; '.join(search.damage) or 'none is as old'}",
        hint="name the mirror with --mirror, or bring back what is damaged from a backup; "
        "`chroma-lifecycle verify --all` lists all damage",
    )


@dataclass(frozen=True)
class _Search:
    head: Head
    stores: Stores
    damage: list[str] = field(default_factory=list)

    def versions(self) -> Iterator[Manifest]:
        """Yield what lives, the newest first, as far as it can be read; then what is pinned below the floor."""
        ref: ManifestRef | None = self.head.manifest
        while ref is not None and ref.version >= self.head.floor:
            manifest = self._read(ref)
            if manifest is not None:
                yield manifest
            ref = manifest.parent if manifest else self._before(ref)
        for pinned in sorted(self.head.beside, key=lambda each: each.version, reverse=True):
            if pinned.version < self.head.floor and (manifest := self._read(pinned)):
                yield manifest

    def _read(self, ref: ManifestRef) -> Manifest | None:
        """Return a manifest from the store or the mirror, or note why there is none."""
        problems = []
        for place in filter(None, (self.stores.store, self.stores.mirror)):
            try:
                return read_manifest(place, ref)
            except (Corrupt, ObjectMissing) as problem:
                problems.append(problem.message)
        self.damage.append(f"version {ref.version.number}: {problems[0]}")
        return None

    def _before(self, damaged: ManifestRef) -> ManifestRef | None:
        """Return the newest version before *damaged* that is known to have been published."""
        for number in range(damaged.version.number - 1, self.head.floor.number - 1, -1):
            if ref := self._published(Version(number)):
                return ref
            self.damage.append(f"version {number}: nothing that is left says which of its manifests was published")
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
        places = filter(None, (self.stores.store, self.stores.mirror))
        return [head for place in places for head, _ in heads_in(place, self.head.collection, [], "", [])]

    @cached_property
    def _names(self) -> dict[Version, list[str]]:
        """The names of the manifests that the store has, of the lineages that this one owns."""
        names, found = Names(self.head.collection), dict[Version, list[str]]()
        for row in self.stores.store.list(names.all_manifests):
            parts = names.parse_manifest_name(row.name)
            if parts is not None and parts.era.lineage in {self.head.lineage, *self.head.came_from}:
                found.setdefault(parts.version, []).append(row.name)
        return found

    def _listed(self, version: Version) -> Iterator[Manifest]:
        """Yield the manifests of a version that can be read, those that lost a race too."""
        for name in self._names.get(version, ()):
            try:
                manifest = parse_manifest(said_by(self.stores.store.read(name, limit_bytes=LARGEST_BYTES), name))
            except (Corrupt, ObjectMissing):
                continue
            if manifest.name == name:
                yield manifest


def _ref(manifest: Manifest) -> ManifestRef:
    return ManifestRef(manifest.name, digest_of(encode_manifest(manifest)))
