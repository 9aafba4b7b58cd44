"""Recovering a HEAD that was deleted or damaged, or whose version cannot be read: from an older HEAD, the mirror's, or
else the newest manifest; and bringing back from the mirror what the store has lost or damaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, ObjectMissing, StoreUnavailable
from chroma_lifecycle.ports import Store, StoredHead
from chroma_lifecycle.publishing.beside import require_in_one_piece
from chroma_lifecycle.publishing.copying import Mended, damage_in, mend
from chroma_lifecycle.publishing.head import Head, decode_head
from chroma_lifecycle.publishing.remains import GivenUp, Remains
from chroma_lifecycle.publishing.swap import Lost, require_landed, swap
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import ManifestRef

_AGAIN = "see that nobody else deletes files there, and run `chroma-lifecycle recover` again"
_BRING_BACK = (
    "`chroma-lifecycle recover --mirror DIRECTORY` brings back what a mirror has soundly; a backup may have it"
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was recovered, or would be.

    Attributes:
        head: HEAD now: a new one, or the one that is there, where only objects came back.
        taken_from: Where it comes from, for people.
        rivals: Manifests of the same or a newer version that are whole and not in its history.
        given_up: Versions that are newer, and not whole: what they changed is lost.
        lost_pins: Pins whose versions are not whole any more.
        brought: How many objects and manifests came back from the mirror.
        notes: What could not be looked at, or is still damaged.
        done: Whether it was done.
        is_new: Whether HEAD is (or would be) another than the one that was there.
    """

    head: Head
    taken_from: str
    rivals: tuple[str, ...]
    given_up: tuple[GivenUp, ...]
    lost_pins: tuple[str, ...]
    brought: int
    notes: tuple[str, ...]
    done: bool
    is_new: bool = True


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
    """Make HEAD again, where it was deleted, is damaged, or names what is not there or cannot be read.

    It is the HEAD with the highest serial of those that the store still has (older versions of its
    object, ``heads/``) and of the mirror's, whose version is whole; without one it is the newest whole
    manifest. What the store lacks or has damaged and the mirror has soundly is brought back, also where
    HEAD can stay as it is. Serial and sweeps are set above every one found, so that whoever slept meanwhile
    is refused, and the floor to the oldest version found whole.

    Args:
        store: Where HEAD is to be.
        mirror: The mirror, if there is one.
        collection: Whose.
        manifest: Take the version of this name instead: one of the rivals, or an older one. It is read and proven.
        dry_run: Say what would be done.
        deadline: For what is read, and brought back from the mirror.
        writer: Who does it, for people.

    Raises:
        BadInput: HEAD is sound, and its version whole; or the version that was asked for is not; or the collection was
            cut into shards.
        Corrupt: HEAD is sound, and an object of its version is damaged and not to be had from the mirror: which version
            is to be taken instead must be said.
        NotInitialised: There is nothing to recover from.
        HeadMoved: Somebody made a HEAD meanwhile.
        OutcomeUnknown, StoreUnavailable, ObjectMissing: It can be done again.
    """
    stored = store.read_head(collection)
    work = _Work(Remains.of(store, mirror, collection, stored), deadline or Deadline(), dry_run)
    if (head := _sound_head(stored, work.remains)) is not None:
        _require_looked_at(mirror, work.remains, f"HEAD of {collection} is sound")
        found = work.under(head, manifest)
        if isinstance(found, Recovery):
            return found
        work = work.knowing(found)
    while True:
        choice = work.remains.choose(manifest)
        whole = work.remains.history(choice.ref)
        if not whole:
            raise ObjectMissing(f"{choice.ref.name} went while it was looked at", hint=_AGAIN)
        head, lost_pins = work.remains.head_of(choice.ref, whole, writer)
        require_in_one_piece(store, head)
        mended = work.bring(whole | work.remains.those_whole(head.beside), choice.ref if manifest else None)
        if not (gone := {name: why for name, why in mended.left.items() if name not in work.remains.held}):
            break
        work = work.knowing(gone)  # so a version that needs it is not whole
    rivals, given_up = work.remains.newer(choice, whole)
    if given_up:
        _require_looked_at(mirror, work.remains, f"version {given_up[0].version} of {collection} is not whole")
    if not dry_run:
        outcome = swap(store, head, stored, parent_of=None)
        if isinstance(outcome, Lost):
            raise HeadMoved(
                f"somebody else made HEAD of {collection} meanwhile, version {outcome.newest.head.version.number}",
                hint="`chroma-lifecycle log` shows it",
            )
        head = require_landed(outcome).head
    notes = (*work.remains.notes, *mended.left.values())
    brought = len(mended.names)
    return Recovery(head, choice.taken_from, rivals, given_up, lost_pins, brought, notes, not dry_run)


def is_broken(store: Store, mirror: Store | None, collection: str) -> bool:
    """Return whether there is anything to recover.

    Raises:
        BadInput: The collection has moved to another place.
        StoreUnavailable: The store does not answer.
    """
    stored = store.read_head(collection)
    remains = Remains.of(store, mirror, collection, stored)
    head = _sound_head(stored, remains)
    if head is None:
        return True
    _require_looked_at(mirror, remains, f"HEAD of {collection} is sound")
    return bool(damage_in(store, _of_head(head, remains), collection, deadline=Deadline()))


def _require_looked_at(mirror: Store | None, remains: Remains, told: str) -> None:
    """Refuse to go on by the store alone, if a mirror was named and is away: it may have what the store has lost."""
    if mirror is not None and remains.mirror is None:
        raise StoreUnavailable(
            f"{told}, and what is lost or damaged cannot be asked for: {'; '.join(remains.notes)}",
            hint="see to the mirror, and run the same again; or decide without it, and leave --mirror out",
        )


def _sound_head(stored: StoredHead | None, remains: Remains) -> Head | None:
    """Return HEAD, if it can be read and the version that it names is there, whatever its objects hold."""
    try:
        head = None if stored is None else decode_head(stored.body, remains.names.collection)
    except Corrupt:
        return None
    if head is None:
        return None
    head.require_here()
    return head if remains.whole(head.manifest, in_store=True) else None


def _of_head(head: Head, remains: Remains) -> dict[ManifestRef, Manifest]:
    """Return the versions that are looked at where HEAD is sound: all that a mirror could mend, or else its own."""
    kept = remains.history(head.manifest) | remains.those_whole(head.beside)
    if head.manifest not in kept:
        raise ObjectMissing(f"{head.manifest.name} went while it was looked at", hint=_AGAIN)
    return kept if remains.mirror else {head.manifest: kept[head.manifest]}


def _way_out(head: Head, remains: Remains, deadline: Deadline) -> str:
    """Return what can be done about the newest version, which is not whole."""
    for ref, manifest in remains.before(head.manifest):
        if not damage_in(remains.store, {ref: manifest}, head.collection, deadline=deadline):
            return (
                f"{_BRING_BACK}; or give up what was published after version {ref.version.number}: "
                f"`chroma-lifecycle recover --manifest {ref.name}`"
            )
    return _BRING_BACK


@dataclass(frozen=True, slots=True)
class _Work:
    """Reads what versions need, and brings back what can be had from the mirror."""

    remains: Remains
    deadline: Deadline
    dry_run: bool

    def knowing(self, damage: Mapping[str, str]) -> _Work:
        """Return the same, where it is known what neither the store nor the mirror has as it was published."""
        return replace(self, remains=self.remains.knowing({**self.remains.damage, **damage}))

    def under(self, head: Head, asked_for: str | None) -> Recovery | Mapping[str, str]:
        """Bring back what *head*, which is sound, needs; return what is damaged, if that ends in another version.

        Raises:
            BadInput: Nothing is missing or damaged; or not after this, and another version was *asked_for*.
            Corrupt: Its version is not whole, and no other was *asked_for*.
        """
        number, name = head.version.number, head.collection
        versions = _of_head(head, self.remains)
        mended = self.mend(versions)
        if broken := sorted(versions[head.manifest].reached() & mended.left.keys()):
            if asked_for is not None:
                return mended.left
            more = f", and {len(broken) - 1} more" if broken[1:] else ""
            raise Corrupt(
                f"HEAD of {name} is sound, and its version {number} is not whole: {mended.left[broken[0]]}{more}",
                hint=_way_out(head, self.remains, self.deadline),
            )
        if not mended.names or asked_for is not None:
            way = (
                "`chroma-lifecycle rollback N` publishes an older one"
                if asked_for
                else "`chroma-lifecycle log` lists it"
            )
            raise BadInput(
                f"HEAD of {name} is sound, and version {number} is whole: there is nothing to recover",
                hint=f"`chroma-lifecycle verify --all` reads the whole history; {way}",
            )
        notes = (*self.remains.notes, *mended.left.values())
        return Recovery(head, "HEAD", (), (), (), len(mended.names), notes, not self.dry_run, is_new=False)

    def mend(self, versions: Mapping[ManifestRef, Manifest]) -> Mended:
        """Bring back what the store lacks of *versions* or has damaged, as far as the mirror has it."""
        collection, store, mirror = self.remains.names.collection, self.remains.store, self.remains.mirror
        damage = damage_in(store, versions, collection, deadline=self.deadline)
        if mirror is None or not damage:
            return Mended((), damage)
        found = mend(mirror, store, versions, damage, collection, deadline=self.deadline, dry_run=self.dry_run)
        return Mended(found.names, {name: f"{damage[name]}; {why}" for name, why in found.left.items()})

    def bring(self, versions: Mapping[ManifestRef, Manifest], asked_for: ManifestRef | None) -> Mended:
        """Do so for the versions that HEAD is to keep; what was *asked_for* by its name must be whole."""
        if self.remains.mirror is None:
            read = {asked_for: versions[asked_for]} if asked_for else {}
        else:
            read = dict(versions)
        mended = self.mend(read) if read else Mended((), {})
        if asked_for and (broken := sorted(read[asked_for].reached() & mended.left.keys())):
            raise BadInput(
                f"version {asked_for.version.number} is not whole: {mended.left[broken[0]]}",
                hint="take another one; `chroma-lifecycle recover --dry-run` names those that can be chosen",
            )
        return mended
