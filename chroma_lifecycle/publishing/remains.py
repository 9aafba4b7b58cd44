"""What is left of a collection whose HEAD is gone, or whose newest version cannot be read: what HEAD could name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NotInitialised, ObjectMissing
from chroma_lifecycle.ports import Store, StoredHead, StoredObject
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.past_damage import heads_in
from chroma_lifecycle.publishing.published import read_manifest
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, Manifest
from chroma_lifecycle.snapshot.manifest_object import said_by
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Version, digest_of

_READINGS = 2
"""Before a version is passed over: what was damaged on the way is read well the next time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The version that HEAD is to name.

    Attributes:
        serial: Of the HEAD that is known to have named it: others of its number lost a swap to it. 0 if none is.
    """

    ref: ManifestRef
    taken_from: str
    serial: int


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A version that is newer than the one that HEAD is to name, and cannot be taken."""

    version: int
    manifest: str
    why: str


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a collection.

    Attributes:
        heads: Every HEAD that could be read, the store's first, each from the newest.
        own: How many of them are the store's.
        rows: The store's listing.
        held: Every name that the store has.
        second: Every name that the mirror has.
        damage: What is known to be had nowhere as it was published, and what is wrong with it.
    """

    store: Store
    mirror: Store | None
    names: Names
    heads: tuple[tuple[Head, str], ...]
    own: int
    rows: tuple[StoredObject, ...]
    held: frozenset[str]
    second: frozenset[str]
    notes: list[str]
    damage: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, mirror: Store | None, collection: str, stored: StoredHead | None) -> Remains:
        names, notes = Names(collection), list[str]()
        rows = tuple(store.list(names.everything))
        heads = [*heads_in(store, collection, [stored.body] if stored else [], "an older HEAD", notes)]
        own, second = len(heads), frozenset[str]()
        if mirror is not None:
            try:
                second = frozenset(row.name for row in mirror.list(names.everything))
                heads += heads_in(mirror, collection, [], "the mirror's HEAD", notes)
            except LifecycleError as problem:
                notes.append(f"the mirror could not be looked at: {problem.message}")
                mirror = None
        return cls(store, mirror, names, tuple(heads), own, rows, frozenset(row.name for row in rows), second, notes)

    def knowing(self, damage: Mapping[str, str]) -> Remains:
        """Return the same, where it is known what of it is damaged."""
        return replace(self, damage=damage)

    def choose(self, manifest: str | None) -> Choice:
        """Return the version that HEAD is to name."""
        if manifest is not None:
            return Choice(self._named(manifest), "the manifest that was asked for", serial=0)
        if living := [(head, place) for head, place in self.heads if self._lives(head.manifest)]:
            # Of several lineages, that of the store's own newest HEAD: a store that was emptied counts anew.
            lineage = living[0][0].lineage
            head, place = max(living, key=lambda found: (found[0].lineage == lineage, found[0].serial))
            return Choice(head.manifest, f"{place}, serial {head.serial}", head.serial)
        for ref in self._newest_manifests():
            if self._lives(ref):
                return Choice(ref, "the newest manifest that is whole", serial=0)
        raise NotInitialised(
            f"there is nothing of {self.names.collection} to recover from in {self.store.address}: no version is whole",
            hint="name the mirror with --mirror, bring objects back from a backup, or begin anew with "
            "`chroma-lifecycle init`",
        )

    def _named(self, name: str) -> ManifestRef:
        for ref in self._newest_manifests():
            if ref.name == name and self._lives(ref):
                return ref
        raise BadInput(
            f"{name!r} is no manifest of a version of {self.names.collection} that is whole and was not swept",
            hint="`chroma-lifecycle recover --dry-run` names the manifests that can be chosen",
        )

    def _newest_manifests(self) -> Iterator[ManifestRef]:
        """Yield the manifests of the listing that can be read, the newest version first."""
        found = [(parts.version, row) for row in self.rows if (parts := self.names.parse_manifest_name(row.name))]
        for _, row in sorted(found, key=lambda each: (each[0], each[1].modified), reverse=True):
            yield from self._refs(row.name)

    def _refs(self, name: str) -> Iterator[ManifestRef]:
        """Yield what a manifest is; after it what another reading says, if that is something else."""
        seen = set[ManifestRef]()
        for place in self._places * _READINGS:
            try:
                said = said_by(place.read(name, limit_bytes=LARGEST_BYTES), name)
            except (ObjectMissing, Corrupt):
                continue
            if (ref := ManifestRef(name, digest_of(said))) not in seen:
                seen.add(ref)
                yield ref

    def _lives(self, ref: ManifestRef) -> bool:
        """Return whether a version is whole and was never condemned, as far as the HEADs that are left tell."""
        return ref.version >= self._floor(ref) and self.whole(ref) is not None

    def _floor(self, ref: ManifestRef) -> Version:
        """Return the oldest version of the lineage that was not condemned, as far as the HEADs that are left tell.

        The floor of the mirror's HEAD may say no more than since when it follows. It counts if there was a fence that
        no HEAD of the store knows of.
        """
        heads = [head for head, _ in self.heads[: self.own] if ref.era.lineage in {head.lineage, *head.came_from}]
        fences = {head.lineage: max(each.sweeps for each in heads if each.lineage == head.lineage) for head in heads}
        for head, _ in self.heads[self.own :]:
            if ref.era.lineage in {head.lineage, *head.came_from} and head.sweeps > fences.get(head.lineage, -1):
                heads.append(head)
        return max((head.floor for head in heads), default=Version(1))

    def whole(self, ref: ManifestRef, *, in_store: bool = False) -> Manifest | None:
        """Return a version's manifest if all that it needs is there, in the store or in the mirror."""
        manifest = self._manifest(ref, in_store)
        return manifest if manifest and not self._missing(manifest, in_store) else None

    def _missing(self, manifest: Manifest, in_store: bool = False) -> frozenset[str]:
        held = self.held if in_store else self.held | self.second
        return manifest.reached() - (held - self.damage.keys())

    @property
    def _places(self) -> tuple[Store, ...]:
        return (self.store,) if self.mirror is None else (self.store, self.mirror)

    def _manifest(self, ref: ManifestRef, in_store: bool) -> Manifest | None:
        for place in (self._places[:1] if in_store else self._places) * _READINGS:
            try:
                return read_manifest(place, ref)
            except (ObjectMissing, Corrupt):
                continue
        return None

    def history(self, chosen: ManifestRef) -> dict[ManifestRef, Manifest]:
        """Return the versions from *chosen* back to the oldest that is whole, never past a floor that was raised."""
        found: dict[ManifestRef, Manifest] = {}
        floor, ref = self._floor(chosen), chosen
        while manifest := self.whole(ref):
            found[ref] = manifest
            if manifest.parent is None or manifest.parent.version < floor:
                break
            ref = manifest.parent
        return found

    def those_whole(self, refs: Iterable[ManifestRef]) -> dict[ManifestRef, Manifest]:
        """Return which of these versions are whole."""
        return {ref: manifest for ref in refs if (manifest := self.whole(ref))}

    def before(self, ref: ManifestRef) -> Iterator[tuple[ManifestRef, Manifest]]:
        """Yield what is whole of the history before a version, the newest first, as far as manifests can be read."""
        floor, seen = self._floor(ref), self._manifest(ref, in_store=False)
        while seen and seen.parent and seen.parent.version >= floor:
            ref = seen.parent
            seen = self._manifest(ref, in_store=False)
            if manifest := self.whole(ref):
                yield ref, manifest

    def head_of(
        self, chosen: ManifestRef, whole: Mapping[ManifestRef, Manifest], writer: str
    ) -> tuple[Head, tuple[str, ...]]:
        """Return the HEAD to be, and the pins that it cannot keep."""
        basis = self._basis(chosen, whole)
        floor = min(ref.version for ref in whole)
        pins = {name: ref for name, ref in basis.pins.items() if ref in whole or self.whole(ref)}
        head = replace(
            basis.next(swap_id=new_id(), written_at=self.store.now(), writer=writer),
            serial=max(self._serials(), default=0) + 1,
            sweeps=max(self._sweeps(basis.lineage), default=0) + 1,
            manifest=chosen,
            floor=floor,
            expiries=tuple(each for each in basis.expiries if each.bound > floor),
            pins=pins,
            unpinned=tuple(old for old in basis.unpinned if self.whole(old.manifest)),
        )
        return head, tuple(sorted(basis.pins.keys() - pins.keys()))

    def _basis(self, chosen: ManifestRef, whole: Mapping[ManifestRef, Manifest]) -> Head:
        """Return what decides the rest: the newest HEAD of the lineage, or the least that can be said."""
        lineage = chosen.era.lineage
        if known := [head for head, _ in self.heads if lineage in {head.lineage, *head.came_from}]:
            newest = max(known, key=lambda head: (head.lineage == known[0].lineage, head.serial))
            expiries = tuple(each for each in newest.expiries if each.bound <= chosen.version)
            return replace(newest, manifest=chosen, floor=Version(1), expiries=expiries)
        names = [self.names.parse_object_name(name) or self.names.parse_manifest_name(name)
                 for manifest in whole.values() for name in manifest.reached()]  # fmt: skip
        others = {parts.era.lineage for parts in names if parts} - {lineage}
        return Head(
            collection=self.names.collection,
            lineage=lineage,
            serial=1,
            swap_id=new_id(),
            manifest=chosen,
            sweeps=0,
            floor=Version(1),
            written_at=self.store.now(),
            writer="recover",
            came_from=tuple(sorted(others)),
        )

    def _serials(self) -> Iterator[int]:
        yield from (head.serial for head, _ in self.heads)
        for name in self.held | self.second:
            if (serial := self.names.parse_head_name(name)) is not None:
                yield serial

    def _sweeps(self, lineage: str) -> Iterator[int]:
        yield from (head.sweeps for head, _ in self.heads if head.lineage == lineage)
        for name in self.held | self.second:
            parts = self.names.parse_object_name(name) or self.names.parse_manifest_name(name)
            if parts is not None and parts.era.lineage == lineage:
                yield parts.era.sweeps

    def newer(self, choice: Choice, whole: Collection[ManifestRef]) -> tuple[tuple[str, ...], tuple[GivenUp, ...]]:
        """Return the manifests that could have been the newest as well, and those that could if they were whole."""
        lowest = choice.ref.version.next() if choice.serial else choice.ref.version
        known, rivals, given_up = {ref.name for ref in whole}, list[str](), list[GivenUp]()
        told = {ref.name: ref for ref in self._named_later(choice)}
        listed = {row.name for row in self.rows if self.names.parse_manifest_name(row.name)}
        for name in sorted(listed.union(told) - known):
            parts = self.names.parse_manifest_name(name)
            if parts is None or parts.version < lowest:
                continue
            refs = [*self._refs(name)] if name in listed else []
            if any(self._lives(ref) for ref in refs):
                rivals.append(name)
            else:
                ref = told.get(name) or next(iter(refs), None)
                given_up.append(GivenUp(parts.version.number, name, self._why_not(name, ref)))
        return tuple(rivals), tuple(given_up)

    def _named_later(self, choice: Choice) -> Iterator[ManifestRef]:
        """Yield what newer HEADs of the same lineage name than the one that is taken."""
        for head, _ in self.heads:
            if head.serial > choice.serial and choice.ref.era.lineage in {head.lineage, *head.came_from}:
                yield head.manifest

    def _why_not(self, name: str, ref: ManifestRef | None) -> str:
        """Return what keeps a version from being whole."""
        if ref is not None and (manifest := self._manifest(ref, in_store=False)):
            missing = sorted(self._missing(manifest))
            more = f", and {len(missing) - 1} more" if missing[1:] else ""
            told = [self.damage.get(each, f"{each} is not there") for each in missing]
            return f"{told[0]}{more}" if told else "it was swept"
        try:
            said_by(self.store.read(name, limit_bytes=LARGEST_BYTES), name)
        except (ObjectMissing, Corrupt) as problem:
            return problem.message
        return f"{name} is not the manifest that HEAD named"
