"""Recovering a HEAD that was deleted or damaged: from an older HEAD, the mirror's, or else the newest manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from chroma_lifecycle.clock import Deadline, new_id
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, LifecycleError, NotInitialised, ObjectMissing
from chroma_lifecycle.ports import Store, StoredHead, StoredObject
from chroma_lifecycle.publishing.beside import require_in_one_piece
from chroma_lifecycle.publishing.copying import bring_objects
from chroma_lifecycle.publishing.head import Head, decode_head
from chroma_lifecycle.publishing.published import read_manifest
from chroma_lifecycle.publishing.swap import Lost, require_landed, swap
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, Manifest
from chroma_lifecycle.snapshot.manifest_object import said_by
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Version, digest_of

_READINGS = 2
"""Before a version is passed over: what was damaged on the way is read well the next time."""
_AGAIN = "see that nobody else deletes files there, and run `chroma-lifecycle recover` again"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was recovered, or would be.

    Attributes:
        head: The new HEAD.
        taken_from: Where it comes from, for people.
        rivals: Manifests of the same or a newer version that are not in its history.
        lost_pins: Pins whose versions are not whole any more.
        brought: How many objects came back from the mirror.
        notes: What could not be looked at.
        done: Whether HEAD was made.
    """

    head: Head
    taken_from: str
    rivals: tuple[str, ...]
    lost_pins: tuple[str, ...]
    brought: int
    notes: tuple[str, ...]
    done: bool


def recover(
    store: Store,
    mirror: Store | None,
    collection: str,
    *,
    manifest: str | None = None,
    dry_run: bool = False,
    deadline: Deadline | None = None,
    writer: str,
) -> Recovery:
    """Make HEAD again, where it was deleted, is damaged, or names what is not there.

    It is the HEAD with the highest serial of those that the store still has (older versions of its
    object, ``heads/``) and of the mirror's, whose version is whole; without one it is the newest whole
    manifest. What the mirror has and the store lacks is brought back. Serial and sweeps are set above
    every one found, so that whoever slept meanwhile is refused, and the floor to the oldest version found whole.

    Args:
        store: Where HEAD is to be.
        mirror: The mirror, if there is one.
        collection: Whose.
        manifest: Take the version of this name instead: one of the rivals, or an older one.
        dry_run: Say what would be done.
        deadline: For what is brought back from the mirror.
        writer: Who does it, for people.

    Raises:
        BadInput: HEAD is sound, or the version that was asked for is not whole; or the collection was cut into shards.
        NotInitialised: There is nothing to recover from.
        HeadMoved: Somebody made a HEAD meanwhile.
        OutcomeUnknown, StoreUnavailable, ObjectMissing: It can be done again.
    """
    stored = store.read_head(collection)
    search = _Search.of(store, mirror, collection, stored)
    _require_broken(stored, search)
    choice = search.choose(manifest)
    chosen, whole = choice.ref, search.history(choice.ref)
    if not whole:
        raise ObjectMissing(f"{chosen.name} went while it was looked at", hint=_AGAIN)
    head, lost_pins = search.head_of(chosen, whole, writer)
    require_in_one_piece(store, head)
    kept = whole | {ref: version for ref in head.beside if (version := search.whole(ref))}
    brought, done = 0, False
    if not dry_run:
        if mirror is not None and search.lacking(kept):
            brought = bring_objects(mirror, store, kept, collection, deadline=deadline or Deadline())
        outcome = swap(store, head, stored, parent_of=None)
        if isinstance(outcome, Lost):
            raise HeadMoved(
                f"somebody else made HEAD of {collection} meanwhile, version {outcome.newest.head.version.number}",
                hint="`chroma-lifecycle log` shows it",
            )
        head, done = require_landed(outcome).head, True
    return Recovery(
        head, choice.taken_from, search.rivals(choice, whole), lost_pins, brought, tuple(search.notes), done
    )


def is_broken(store: Store, mirror: Store | None, collection: str) -> bool:
    """Return whether there is anything to recover.

    Raises:
        BadInput: The collection has moved to another place.
        StoreUnavailable: The store does not answer.
    """
    stored = store.read_head(collection)
    return _sound_head(stored, _Search.of(store, mirror, collection, stored)) is None


def _require_broken(stored: StoredHead | None, search: _Search) -> None:
    if (head := _sound_head(stored, search)) is not None:
        raise BadInput(
            f"HEAD of {head.collection} is sound, and version {head.version.number} is there: "
            "there is nothing to recover",
            hint="`chroma-lifecycle verify --all` reads every object; `chroma-lifecycle log` shows the history",
        )


def _sound_head(stored: StoredHead | None, search: _Search) -> Head | None:
    """Return HEAD, if it can be read and the version that it names is there."""
    try:
        head = None if stored is None else decode_head(stored.body, search.names.collection)
    except Corrupt:
        return None
    if head is None:
        return None
    head.require_here()
    return head if search.whole(head.manifest, in_store=True) else None


@dataclass(frozen=True, slots=True)
class _Choice:
    """The version that HEAD is to name.

    Attributes:
        was_head: Whether it is known to have been HEAD's: then others of its number lost a swap to it.
    """

    ref: ManifestRef
    taken_from: str
    was_head: bool


@dataclass(frozen=True, slots=True)
class _Search:
    """What is left of a collection.

    Attributes:
        heads: Every HEAD that could be read, the store's first, each from the newest.
        own: How many of them are the store's.
        rows: The store's listing.
        held: Every name that the store has.
        second: Every name that the mirror has.
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

    @classmethod
    def of(cls, store: Store, mirror: Store | None, collection: str, stored: StoredHead | None) -> _Search:
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
        return cls(store, mirror, names, tuple(heads), own, rows, frozenset(row.name for row in rows), second, notes)

    def choose(self, manifest: str | None) -> _Choice:
        """Return the version that HEAD is to name."""
        if manifest is not None:
            return _Choice(self._named(manifest), "the manifest that was asked for", was_head=False)
        if living := [(head, place) for head, place in self.heads if self._lives(head.manifest)]:
            # Of several lineages, that of the store's own newest HEAD: a store that was emptied counts anew.
            lineage = living[0][0].lineage
            head, place = max(living, key=lambda found: (found[0].lineage == lineage, found[0].serial))
            return _Choice(head.manifest, f"{place}, serial {head.serial}", was_head=True)
        for ref in self._newest_manifests():
            if self._lives(ref):
                return _Choice(ref, "the newest manifest that is whole", was_head=False)
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
        for _ in range(_READINGS):
            try:
                said = said_by(self.store.read(name, limit_bytes=LARGEST_BYTES), name)
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
        held = self.held if in_store else self.held | self.second
        return manifest if manifest and manifest.reached() <= held else None

    def _manifest(self, ref: ManifestRef, in_store: bool) -> Manifest | None:
        for place in (self.store, None if in_store else self.mirror) * _READINGS:
            try:
                if place is not None:
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

    def lacking(self, versions: Mapping[ManifestRef, Manifest]) -> bool:
        """Return whether the store lacks anything that *versions* need."""
        return not all(manifest.reached() <= self.held for manifest in versions.values())

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

    def rivals(self, choice: _Choice, whole: Mapping[ManifestRef, Manifest]) -> tuple[str, ...]:
        """Return the manifests that could have been the newest as well."""
        lowest = choice.ref.version.next() if choice.was_head else choice.ref.version
        found = [(parts, row.name) for row in self.rows if (parts := self.names.parse_manifest_name(row.name))]
        known = {ref.name for ref in whole}
        return tuple(name for parts, name in found if parts.version >= lowest and name not in known)


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
