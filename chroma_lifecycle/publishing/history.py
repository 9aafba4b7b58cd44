"""History: the walk of parents from HEAD, and the proof that a store still holds what it names.

A listing of the manifests is no history: those of lost swaps are in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.fetch import Sources, fetch_pack, verify_part
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.published import Published, read_manifest
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.snapshot.chain import BasePart, PackRef
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.snapshot.pack import decode_pack
from chroma_lifecycle.snapshot.pages import FilePages
from chroma_lifecycle.values import Version

_SECONDS_FOR_AN_OBJECT = 0.5


def walk(store: Store, head: Head, *, down_to: Version | None = None) -> Iterator[tuple[ManifestRef, Manifest]]:
    """Yield the versions that *head* retains by its floor, the newest first.

    Args:
        store: Where they are.
        head: Where the walk begins.
        down_to: Go no further back than this version; by default to the floor.

    Raises:
        ObjectMissing: A retained version is not there.
        Corrupt: A manifest is not the one that its child names.
    """
    oldest = max(head.floor, down_to or head.floor)
    ref: ManifestRef | None = head.manifest
    while ref is not None and ref.version >= oldest:
        manifest = read_manifest(store, ref)
        yield ref, manifest
        ref = manifest.parent


def find_version(store: Store, head: Head, version: Version) -> tuple[ManifestRef, Manifest]:
    """Return a retained version: one of the walk from HEAD, or one that lives beside it.

    Raises:
        BadInput: It is not retained (any more), or has not been published.
        Corrupt, ObjectMissing: It, or what leads to it from HEAD, is damaged or not there.
    """
    if head.floor <= version <= head.version:
        try:
            for ref, manifest in walk(store, head, down_to=version):
                if ref.version == version:
                    return ref, manifest
        except (Corrupt, ObjectMissing) as problem:
            # What hides it need not be damaged itself, and the restore that goes past damage finds what is whole.
            raise type(problem)(
                f"version {version.number} of {head.collection} cannot be found: {problem.message}",
                hint=f"`chroma-lifecycle restore --version {version.number} --fallback` goes past it; "
                "`chroma-lifecycle verify --all` names all damage",
            ) from problem
    for ref in sorted(head.beside, key=lambda ref: ref.name):
        if ref.version == version:
            return ref, read_manifest(store, ref)
    first, last = head.floor.number, head.version.number
    there = f"version {last} is" if first == last else f"versions {first} to {last} are"
    raise BadInput(
        f"version {version.number} of {head.collection} is not there: {there}, and the pinned ones",
        hint="`chroma-lifecycle log` lists them",
    )


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification looked at, and what it found.

    Attributes:
        versions: How many versions.
        objects: How many objects and packs were read and proven.
        bytes_read: How long they are.
        damage: What is wrong, by the name of the object.
    """

    versions: int
    objects: int
    bytes_read: int
    damage: Mapping[str, str]


def verify_store(
    published: Published, store: Store, *, every_version: bool = False, deadline: Deadline | None = None
) -> Verified:
    """Read every object of the newest version (or of every retained one) and prove its digests.

    What is proven of each: the stored bytes against their name, the raw bytes of a base part
    against the manifest, that a pack can be decoded, and that parts make the files of their base.
    Nothing is written; the first fault does not end it.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    damage = dict[str, str]()
    refs = list(_retained(store, published.head, damage)) if every_version else [published.head.manifest]
    manifests = [manifest for ref in refs if (manifest := _try_manifest(store, ref, damage))]
    return _verify(manifests, len(refs), store, damage, deadline or Deadline())


def verify_version(manifest: Manifest, store: Store, *, deadline: Deadline | None = None) -> Verified:
    """Read every object of one version, as :func:`verify_store` does."""
    return _verify([manifest], 1, store, {}, deadline or Deadline())


def _verify(
    manifests: Sequence[Manifest], versions: int, store: Store, damage: dict[str, str], deadline: Deadline
) -> Verified:
    if not manifests:
        return Verified(versions, 0, 0, damage)
    sources = Sources(store)
    parts = {part.object: part for manifest in manifests for part in manifest.chain.base.parts}
    packs = {pack.carrier: (pack, manifest) for manifest in manifests for pack in manifest.chain.packs}
    look = _Look(Names(manifests[0].collection), sources, deadline, damage)
    digests = dict(zip(parts, in_parallel(look.part, parts.values()), strict=True))
    in_parallel(look.pack, packs.values())
    for manifest in manifests:
        look.base(manifest, digests)
    return Verified(versions, len(parts) + len(packs), sum(sources.from_store), damage)


def _retained(store: Store, head: Head, damage: dict[str, str]) -> Iterator[ManifestRef]:
    """Yield every retained version as far as the walk goes, and the pinned ones."""
    seen = set()
    ref: ManifestRef | None = head.manifest
    while ref is not None and ref.version >= head.floor:
        seen.add(ref)
        yield ref
        manifest = _try_manifest(store, ref, damage)
        ref = manifest.parent if manifest else None
    yield from head.beside - seen


def _try_manifest(store: Store, ref: ManifestRef, damage: dict[str, str]) -> Manifest | None:
    try:
        return read_manifest(store, ref)
    except (Corrupt, ObjectMissing, BadInput) as problem:
        damage[ref.name] = problem.message
        return None


@dataclass(frozen=True, slots=True)
class _Look:
    names: Names
    sources: Sources
    deadline: Deadline
    damage: dict[str, str]

    def part(self, part: BasePart) -> bytes | None:
        """Prove one block; return the digests of its pages."""
        self.deadline.require(_SECONDS_FOR_AN_OBJECT, "verifying an object")
        try:
            return verify_part(part, self.names, self.sources)
        except (Corrupt, ObjectMissing, BadInput) as problem:
            self.damage[part.object] = problem.message
            return None

    def pack(self, carried: tuple[PackRef, Manifest]) -> None:
        """Prove one pack."""
        self.deadline.require(_SECONDS_FOR_AN_OBJECT, "verifying an object")
        pack, manifest = carried
        try:
            decode_pack(fetch_pack(pack, manifest, self.sources))
        except (Corrupt, ObjectMissing, BadInput) as problem:
            self.damage[pack.carrier] = problem.message

    def base(self, manifest: Manifest, digests: Mapping[str, bytes | None]) -> None:
        """Prove that the parts make the files of the base."""
        for file in manifest.chain.base.files:
            pieces = [piece for part in file.parts if (piece := digests[part.object])]
            whole = len(pieces) == len(file.parts)
            if whole and FilePages(file.size, b"".join(pieces)).digest != file.digest:
                self.damage[manifest.name] = f"the parts of {file.path} do not make the file"
