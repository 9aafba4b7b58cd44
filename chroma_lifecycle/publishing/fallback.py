"""Past damage: the newest version that is sound, when the one that should have been restored is not.

A damaged manifest also hides what came before it, since each names its parent: see :mod:`.past_damage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chroma_lifecycle.errors import BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.past_damage import PastDamage
from chroma_lifecycle.publishing.published import read_manifest
from chroma_lifecycle.publishing.unpack import Stores, restore_directory
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import ManifestRef


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
    past = PastDamage(head, [place for place in (stores.store, stores.mirror) if place is not None])
    damage = past.notes
    for manifest in _versions(past):
        if (number and manifest.version.number > number) or (moment and manifest.written_at > moment):
            continue
        try:
            restore_directory(directory, manifest, stores)
        except (Corrupt, ObjectMissing) as problem:
            damage.append(f"version {manifest.version.number}: {problem.message}")
        else:
            return Sound(manifest, tuple(damage))
    raise Corrupt(
        f"no version of {head.collection} could be restored: {'; '.join(damage) or 'none is as old'}",
        hint="name the mirror with --mirror, or bring back what is damaged from a backup; "
        "`chroma-lifecycle verify --all` lists all damage",
    )


def _versions(past: PastDamage) -> Iterator[Manifest]:
    """Yield what lives, the newest first, as far as it can be read; then what is pinned below the floor."""
    ref: ManifestRef | None = past.head.manifest
    while ref is not None and ref.version >= past.head.floor:
        manifest = _read(ref, past)
        if manifest is not None:
            yield manifest
        ref = manifest.parent if manifest else past.before(ref)
    for pinned in sorted(past.head.beside, key=lambda each: each.version, reverse=True):
        if pinned.version < past.head.floor and (manifest := _read(pinned, past)):
            yield manifest


def _read(ref: ManifestRef, past: PastDamage) -> Manifest | None:
    """Return a manifest from the store or the mirror, or note why there is none."""
    problems = []
    for place in past.places:
        try:
            return read_manifest(place, ref)
        except (Corrupt, ObjectMissing) as problem:
            problems.append(problem.message)
    past.notes.append(f"version {ref.version.number}: {problems[0]}")
    return None
