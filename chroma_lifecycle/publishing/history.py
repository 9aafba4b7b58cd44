"""History: the walk of parents from HEAD, and the proof that a store still holds what it names.

A listing of the manifests is no history: those of lost swaps are in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.fetch import Sources, fetch_pack, verify_part
from chroma_lifecycle.publishing.head import Head, SeenHead
from chroma_lifecycle.publishing.past_damage import PastDamage
from chroma_lifecycle.publishing.published import Published, read_manifest
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.snapshot.chain import BasePart, PackRef
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, Manifest, decode_manifest, encode_manifest
from chroma_lifecycle.snapshot.manifest_object import said_by
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.snapshot.pack import decode_pack
from chroma_lifecycle.snapshot.pages import FilePages
from chroma_lifecycle.values import Version, digest_of

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
        objects: How many manifests and objects they need: each was read and proven once, or is in `damage`.
        bytes_read: How long those are that could be read.
        damage: What is wrong, by the name of the object.
        notes: What could not be looked at.
    """

    versions: int
    objects: int
    bytes_read: int
    damage: Mapping[str, str]
    notes: Sequence[str] = ()


def verify_store(
    published: Published | SeenHead, store: Store, *, every_version: bool = False, deadline: Deadline | None = None
) -> Verified:
    """Read every object of the newest version (or of every retained one) and prove its digests.

    What is proven of each: the stored bytes against their name, the raw bytes of a base part
    against the manifest, that a pack can be decoded, and that parts make the files of their base.
    Nothing is written; the first fault does not end it, and neither does a damaged manifest: what was published
    before it is looked for elsewhere.

    Raises:
        StoreUnavailable: The store does not answer.
    """
    head, read = published.head, _Manifests(store)
    past = PastDamage(head, [store])
    if every_version:
        read.history(past)
    else:
        read.one(head.manifest)
    return _verify(read, store, deadline or Deadline(), past.notes)


def verify_version(manifest: Manifest, store: Store, *, deadline: Deadline | None = None) -> Verified:
    """Read every object of one version, as :func:`verify_store` does; its manifest was read already."""
    ref = ManifestRef(manifest.name, digest_of(encode_manifest(manifest)))
    read = _Manifests(store, found={manifest.name: manifest}, asked={ref})
    return _verify(read, store, deadline or Deadline(), ())


@dataclass(frozen=True, slots=True)
class _Manifests:
    """Reads manifests, each once.

    Attributes:
        found: Those that could be read, by name.
        asked: How many were asked for.
        sizes: How long the objects are that hold them.
        damage: What is wrong with the others.
    """

    store: Store
    found: dict[str, Manifest] = field(default_factory=dict)
    asked: set[ManifestRef] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)
    damage: dict[str, str] = field(default_factory=dict)

    def one(self, ref: ManifestRef) -> Manifest | None:
        """Read a manifest, or note what is wrong with it."""
        self.asked.add(ref)
        try:
            stored = self.store.read(ref.name, limit_bytes=LARGEST_BYTES)
            self.sizes.append(len(stored))
            self.found[ref.name] = decode_manifest(said_by(stored, ref.name), ref)
        except (Corrupt, ObjectMissing, BadInput) as problem:
            self.damage[ref.name] = problem.message
        return self.found.get(ref.name)

    def history(self, past: PastDamage) -> None:
        """Read every retained version, also past what cannot be read, and the pinned ones."""
        ref: ManifestRef | None = past.head.manifest
        while ref is not None and ref.version >= past.head.floor:
            manifest = self.one(ref)
            ref = manifest.parent if manifest else past.before(ref)
        for pinned in sorted(past.head.beside - self.asked, key=lambda each: each.version):
            self.one(pinned)


def _verify(read: _Manifests, store: Store, deadline: Deadline, notes: Sequence[str]) -> Verified:
    sources, manifests, damage = Sources(store), list(read.found.values()), read.damage
    parts = {part.object: part for manifest in manifests for part in manifest.chain.base.parts}
    # What a manifest carries was read with it.
    packs = {
        pack.carrier: (pack, read.found.get(pack.carrier, manifest))
        for manifest in manifests
        for pack in manifest.chain.packs
        if pack.carrier not in damage
    }
    if manifests:
        look = _Look(Names(manifests[0].collection), sources, deadline, damage)
        digests = dict(zip(parts, in_parallel(look.part, parts.values()), strict=True))
        in_parallel(look.pack, packs.values())
        for manifest in manifests:
            look.base(manifest, digests)
    names = {ref.name for ref in read.asked} | parts.keys() | packs.keys()
    return Verified(len(read.asked), len(names), sum(read.sizes) + sum(sources.from_store), damage, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Look:
    names: Names
    sources: Sources
    deadline: Deadline
    damage: dict[str, str]

    def part(self, part: BasePart) -> bytes | None:
        """Prove one block; return the digests of its leaves."""
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
