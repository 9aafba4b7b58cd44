"""Copying versions from one store to another: objects, then manifests, HEAD last.

The same function feeds a mirror and fills a new place. A copy that stops anywhere has added
objects that nobody names yet; the one that comes after it begins again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TypeAlias

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, ObjectMissing
from chroma_lifecycle.ports import Store, StoredHead
from chroma_lifecycle.publishing.fetch import damaged
from chroma_lifecycle.publishing.head import Head, SeenHead, find_head, read_head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.published import read_manifest
from chroma_lifecycle.publishing.swap import Lost, require_landed, swap
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.snapshot.chain import PackRef
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, LARGEST_PACK, Manifest
from chroma_lifecycle.snapshot.manifest_object import pack_inside, said_by
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Digest, Version, digest_of

Proof: TypeAlias = Callable[[bytes], bool]
"""Tells whether the bytes of an object are those that were published."""

_ATTEMPTS = 4
# With less left, another object is not begun.
_SECONDS_FOR_AN_OBJECT = 0.5
_OTHER_BYTES = "it has not the bytes that were published"


class Check(StrEnum):
    """What is looked at in the target before it is believed to hold what its HEAD names."""

    NOTHING = "nothing"
    NAMES = "names"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Copied:
    """The target holds the newest version.

    Attributes:
        head: Its HEAD now.
        objects: How many objects and manifests were written.
        bytes_written: How long they are.
        swapped: Whether HEAD was replaced.
    """

    head: Head
    objects: int
    bytes_written: int
    swapped: bool


@dataclass(frozen=True, slots=True)
class Foreign:
    """What is in the target does not come from the source, so it was left alone."""

    reason: str


def copy_versions(
    source: Store,
    target: Store,
    collection: str,
    *,
    deadline: Deadline,
    check: Check = Check.NOTHING,
    suspects: Collection[str] = (),
    whole_history: bool = False,
    replace_foreign: bool = False,
    arrive: Callable[[Head], Head] | None = None,
) -> Copied | Foreign:
    """Bring *target* to the version that *source* has, with every version between that it lacks.

    Args:
        source: Where the versions are.
        target: Where they go. An empty one gets the newest version and the pinned ones.
        collection: Whose.
        deadline: Checked before each object.
        check: What to look at in the target, beside what its HEAD says.
        suspects: Names that are written again if names are checked: somebody missed them, or found them damaged.
        whole_history: Copy every version from the source's floor on.
        replace_foreign: Replace a HEAD that does not come from the source, or is damaged.
        arrive: Makes the target's HEAD of the source's, where it is to be another one.

    Raises:
        Corrupt: An object is damaged in the source.
        HeadMoved: Others moved the target's HEAD each time.
        OutcomeUnknown: The target's HEAD may or may not have been moved; copying again is harmless.
        ObjectMissing, StoreUnavailable, NoRoom, NoTime: It can be tried again.
    """
    for _ in range(_ATTEMPTS):
        # 1. The target's HEAD before the source's: then the source's can only be the newer one.
        found, seen = _look(target, collection, even_damaged=replace_foreign), read_head(source, collection)
        before = found if isinstance(found, SeenHead) else None
        foreign = why_foreign(before.head, seen.head, source) if before else None
        if foreign and not replace_foreign:
            return Foreign(foreign)
        if foreign and before and before.head.serial >= seen.head.serial:
            break  # serials never go back; who replaces a HEAD that is ahead raises the source's first
        if before and not foreign and before.head.serial > seen.head.serial:
            continue  # the source's was a stale one
        copy = _Copy(
            source, target, Names(collection), deadline, Check.BYTES if foreign else check, frozenset(suspects)
        )
        try:
            wanted = copy.choose(before.head if before and not foreign else None, seen.head, whole_history)
            # 2. Objects. 3. Manifests. Nobody names them yet.
            lengths = copy.bring(wanted)
        except ObjectMissing:
            if read_head(source, collection).token == seen.token:
                raise
            continue  # they were swept meanwhile
        # 4. HEAD.
        if before and not foreign and before.head.serial == seen.head.serial:
            return Copied(before.head, len(lengths), sum(lengths), swapped=False)
        head = replace(seen.head, floor=wanted.floor)
        outcome = swap(target, arrive(head) if arrive else head, found, parent_of=None, deadline=deadline)
        if not isinstance(outcome, Lost):
            return Copied(require_landed(outcome).head, len(lengths), sum(lengths), swapped=True)
    raise HeadMoved(f"HEAD of {collection} in {target.address} was moved by others each time", hint="copy again")


def _look(target: Store, collection: str, *, even_damaged: bool) -> SeenHead | StoredHead | None:
    """Return HEAD, as it is stored if it is damaged and that is no hindrance."""
    try:
        return find_head(target, collection)
    except Corrupt:
        if not even_damaged:
            raise
        return target.read_head(collection)


def why_foreign(before: Head, head: Head, source: Store) -> str | None:
    """Return why the target's HEAD *before* does not come from the source, if it does not."""
    if before.serial > head.serial:
        head = read_head(source, head.collection).head  # the first reading may have been a stale one
    if before.lineage not in {head.lineage, *head.came_from}:
        return f"it holds lineage {before.lineage}, and {source.address} holds {head.lineage}"
    if before.serial > head.serial:
        return f"its HEAD {before.serial} is ahead of HEAD {head.serial} in {source.address}"
    if before.serial == head.serial and before.swap_id != head.swap_id:
        return f"its HEAD {before.serial} is another than that in {source.address}"
    if before.serial == head.serial and (before.manifest, before.pins) != (head.manifest, head.pins):
        return f"its HEAD {before.serial} is damaged: it does not name what that in {source.address} names"
    return None


def damage_in(
    target: Store, versions: Mapping[ManifestRef, Manifest], collection: str, *, deadline: Deadline
) -> Mapping[str, str]:
    """Return what *versions* need and *target* lacks or has damaged, and what is wrong with each; all of it is read."""
    copy = _Copy(target, target, Names(collection), deadline, Check.BYTES, frozenset())
    return copy.damage(_everything(versions))


@dataclass(frozen=True, slots=True)
class Mended:
    """What was brought to where it was missing or damaged.

    Attributes:
        names: Of what was written.
        left: What the source has not soundly either, and what is wrong there.
    """

    names: tuple[str, ...]
    left: Mapping[str, str]


def mend(
    source: Store,
    target: Store,
    versions: Mapping[ManifestRef, Manifest],
    damaged: Collection[str],
    collection: str,
    *,
    deadline: Deadline,
    dry_run: bool = False,
) -> Mended:
    """Write again what is *damaged* of what *versions* need, as far as *source* has it soundly; HEAD is left alone.

    Names say their bytes, so the right ones can be written over whatever is there.
    """
    copy = _Copy(source, target, Names(collection), deadline, Check.NOTHING, frozenset())
    proofs, left = _everything(versions).proofs(copy.names), dict[str, str]()

    def bring(name: str) -> bool:
        try:
            data = copy.fetch(name, proofs[name])
        except (ObjectMissing, Corrupt) as problem:
            left[name] = problem.message
            return False
        if not dry_run:
            target.write(name, data)
        return True

    objects, manifests = copy.in_order(damaged)
    brought = [*in_parallel(bring, objects), *in_parallel(bring, manifests, workers=1)]
    return Mended(tuple(name for name, came in zip(objects + manifests, brought, strict=True) if came), left)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the target is to hold.

    Attributes:
        versions: By reference.
        vouched: Names that the target's HEAD vouches for.
        floor: From this version on, the target is whole then.
    """

    versions: Mapping[ManifestRef, Manifest]
    vouched: frozenset[str]
    floor: Version

    def names(self) -> set[str]:
        """Return the names that the versions need and that nobody vouches for."""
        return {name for version in self.versions.values() for name in version.reached()} - self.vouched

    def proofs(self, names: Names) -> Mapping[str, Proof]:
        """Return for each name how to tell whether bytes are those that were published under it."""
        proofs: dict[str, Proof] = {}
        for version in self.versions.values():
            for pack in version.chain.packs:
                proofs[pack.carrier] = partial(_carries, pack)
        for name in self.names():
            if parts := names.parse_object_name(name):
                proofs[name] = partial(_has_digest, parts.digest)
        return proofs | {ref.name: partial(_says, ref) for ref in self.versions}


def _everything(versions: Mapping[ManifestRef, Manifest]) -> _Wanted:
    return _Wanted(versions, frozenset(), min(ref.version for ref in versions))


@dataclass(frozen=True, slots=True)
class _Copy:
    source: Store
    target: Store
    names: Names
    deadline: Deadline
    check: Check
    suspects: frozenset[str]

    def choose(self, before: Head | None, head: Head, whole_history: bool) -> _Wanted:
        """Return what the target is to hold: its HEAD *before* says what it has."""
        trusted = before if self.check is Check.NOTHING else None
        oldest = head.floor if whole_history else _oldest(before, trusted, head)
        versions = dict(walk(self.source, head, down_to=oldest))
        joined = before is not None and before.manifest in versions
        if whole_history:
            floor = head.floor
        elif before and joined:
            floor = max(before.floor, head.floor)
        else:
            # Nothing that the target has leads to HEAD: it gets HEAD's version and begins there.
            versions, floor = {head.manifest: versions[head.manifest]}, head.version
        vouched = versions[trusted.manifest].reached() if trusted and joined else frozenset()
        beside = head.beside - (trusted.beside if trusted and joined else frozenset()) - versions.keys()
        return _Wanted(versions | {ref: read_manifest(self.source, ref) for ref in beside}, vouched, floor)

    def bring(self, wanted: _Wanted) -> list[int]:
        """Copy what the target lacks; return the length of each object that was written."""
        proofs = wanted.proofs(self.names)
        names = self._lacking(wanted.names(), proofs)
        objects, manifests = self.in_order(names)
        return [
            *in_parallel(lambda name: self._copy(name, proofs[name]), objects),
            *in_parallel(lambda name: self._copy(name, proofs[name]), manifests, workers=1),
        ]

    def in_order(self, names: Collection[str]) -> tuple[list[str], list[str]]:
        """Return the objects of *names*, and the manifests, the oldest first: what they name is there before."""
        objects = sorted(name for name in names if self.names.parse_object_name(name))
        return objects, sorted(set(names).difference(objects))

    def damage(self, wanted: _Wanted) -> dict[str, str]:
        """Return what of it the target has not as it was published, and what is wrong with each."""
        return self._problems(wanted.names(), wanted.proofs(self.names))

    def _problems(self, names: set[str], proofs: Mapping[str, Proof]) -> dict[str, str]:
        ordered = sorted(names)
        problems = in_parallel(lambda name: self._problem(name, proofs[name]), ordered)
        return {name: problem for name, problem in zip(ordered, problems, strict=True) if problem}

    def _lacking(self, names: set[str], proofs: Mapping[str, Proof]) -> set[str]:
        match self.check:
            case Check.NOTHING:
                return names
            case Check.NAMES:
                return names - (self.target.present(names) - self.suspects)
            case Check.BYTES:
                return set(self._problems(names, proofs))

    def _problem(self, name: str, is_right: Proof) -> str | None:
        """Return what is wrong with the target's copy of an object, if anything is."""
        self.deadline.require(_SECONDS_FOR_AN_OBJECT, "checking the copy of an object")
        try:
            sound = is_right(self.target.read(name, limit_bytes=self._limit(name)))
        except (ObjectMissing, Corrupt) as problem:
            return problem.message
        return None if sound else damaged(name, f"in {self.target.address} {_OTHER_BYTES}").message

    def _copy(self, name: str, is_right: Proof) -> int:
        data = self.fetch(name, is_right)
        self.target.write(name, data)
        return len(data)

    def fetch(self, name: str, is_right: Proof) -> bytes:
        """Return an object of the source.

        Raises:
            Corrupt, ObjectMissing: It has it not as it was published.
        """
        self.deadline.require(_SECONDS_FOR_AN_OBJECT, "copying an object")
        data = self.source.read(name, limit_bytes=self._limit(name))
        if not is_right(data):
            raise damaged(name, f"in {self.source.address} {_OTHER_BYTES}")
        return data

    def _limit(self, name: str) -> int:
        return LARGEST_PACK if self.names.parse_object_name(name) else LARGEST_BYTES


def _oldest(before: Head | None, trusted: Head | None, head: Head) -> Version:
    """Return how far back the walk must go to meet what the target has."""
    if before is None:
        return head.version
    return min(head.version, trusted.version if trusted else max(before.floor, head.floor))


def _has_digest(digest: Digest, data: bytes) -> bool:
    return digest_of(data) == digest


def _says(ref: ManifestRef, data: bytes) -> bool:
    try:
        return digest_of(said_by(data, ref.name)) == ref.digest
    except (Corrupt, BadInput):  # what says that it is of a newer format is damaged: the one that was read is not
        return False


def _carries(pack: PackRef, data: bytes) -> bool:
    try:
        return digest_of(pack_inside(data, pack.carrier)) == pack.digest
    except (Corrupt, BadInput):
        return False
