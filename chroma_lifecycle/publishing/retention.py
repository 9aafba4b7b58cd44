"""What is kept: expiring old versions and taking it back, pins and their end.

Nothing is deleted here. Each of these is one amendment of HEAD, judged anew on every HEAD that
others made meanwhile; a version is whole until a sweep raises the floor past it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Expiry, Head, Unpinned, parse_pin_name
from chroma_lifecycle.publishing.history import find_version, walk
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.values import Version


@dataclass(frozen=True, slots=True)
class Amended:
    """What HEAD decided before, and what it decides now; the same if there was nothing to change."""

    before: Head
    after: Head

    @property
    def changed(self) -> bool:
        return self.before != self.after


def expire(
    store: Store, collection: str, *, keep: int | None = None, older_than: timedelta | None = None, writer: str
) -> Amended:
    """Let old versions leave the history. They stay whole for the grace period of `sweep`, and can come back.

    Args:
        store: Where the versions are.
        collection: Whose.
        keep: How many of the newest stay, at least 1.
        older_than: A version expires only if it was replaced by the next one longer ago than this, as the
            versions themselves tell the time. With *keep* as well, a version stays if either lets it stay.
        writer: Who does it, for people.

    Raises:
        BadInput: Neither is given, or one of them makes no sense.
        HeadMoved, OutcomeUnknown, StoreUnavailable: It can be done again.
    """
    if keep is None and older_than is None:
        raise BadInput("what is to expire?", hint="say how much stays, by a count, an age, or both")
    if (keep is not None and keep < 1) or (older_than is not None and older_than < timedelta(0)):
        raise BadInput("the newest version never expires", hint="keep at least one version, and give an age from 0 on")

    def change(head: Head) -> Head | None:
        now = store.now()
        bounds = []
        if keep is not None:
            bounds.append(Version(max(1, head.version.number - keep + 1)))
        if older_than is not None:
            bounds.append(_replaced_since(store, head, now - older_than))
        if (bound := min(bounds)) <= head.shown_from:
            return None
        return replace(head, expiries=(*head.expiries, Expiry(bound, now)))

    return _amend(store, collection, change, writer)


def _replaced_since(store: Store, head: Head, moment: datetime) -> Version:
    """Return the oldest version that was still the newest one at *moment*."""
    bound = head.version
    for ref, manifest in walk(store, head, down_to=head.shown_from):
        bound = ref.version
        if manifest.written_at <= moment:  # from then on the ones before it were old
            break
    return bound


def undo_expire(store: Store, collection: str, *, writer: str) -> Amended:
    """Take the last expiry back: the versions that it took out of the history are in it again.

    What a sweep has raised the floor past does not come back; then there is nothing to undo.
    """

    def change(head: Head) -> Head | None:
        return replace(head, expiries=head.expiries[:-1]) if head.expiries else None

    return _amend(store, collection, change, writer)


def pin(store: Store, collection: str, name: str, version: Version | None = None, *, writer: str) -> Amended:
    """Let a version live whatever expires, under *name*; by default the newest.

    Raises:
        BadInput: The name is none, or another version has it; or the version is not there any more.
    """
    try:
        parse_pin_name(name)
    except ValueError as problem:
        raise BadInput(str(problem), hint="choose another name") from problem

    def change(head: Head) -> Head | None:
        # On the HEAD that is replaced: what it does not retain may be condemned, and never lives again.
        ref, _ = find_version(store, head, version or head.version)  # read: what is not there cannot be kept
        known = head.pins.get(name)
        if known == ref:
            return None
        if known is not None:
            raise BadInput(
                f"the pin {name} of {collection} holds version {known.version.number}",
                hint="choose another name, or `chroma-lifecycle unpin` it first",
            )
        unpinned = tuple(old for old in head.unpinned if old.manifest != ref)
        return replace(head, pins={**head.pins, name: ref}, unpinned=unpinned)

    return _amend(store, collection, change, writer)


def unpin(store: Store, collection: str, name: str, *, writer: str) -> Amended:
    """End a pin. Its version stays whole for the grace period, since somebody may be reading it.

    Raises:
        BadInput: There is no such pin.
    """

    def change(head: Head) -> Head | None:
        if (ref := head.pins.get(name)) is None:
            known = ", ".join(sorted(head.pins)) or "none"
            raise BadInput(f"{collection} has no pin {name!r}; it has: {known}", hint="name one of those")
        pins = {other: pinned for other, pinned in head.pins.items() if other != name}
        unpinned = tuple(old for old in head.unpinned if old.manifest != ref)
        if ref not in pins.values():
            unpinned = (*unpinned, Unpinned(ref, store.now()))
        return replace(head, pins=pins, unpinned=unpinned)

    return _amend(store, collection, change, writer)


def _amend(store: Store, collection: str, change: Callable[[Head], Head | None], writer: str) -> Amended:
    judged: list[Head] = []

    def note(head: Head) -> Head | None:
        judged.append(head)
        return change(head)

    after = amend_head(store, collection, note, writer=writer).head
    return Amended(judged[-1], after)
