"""Taking a collection to another store: moved, so that the old place refuses, or copied, to live beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chroma_lifecycle.clock import Deadline, new_id
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.copying import Check, Copied, copy_versions
from chroma_lifecycle.publishing.head import Head, find_head, read_head
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.snapshot.manifest_object import manifest_object
from chroma_lifecycle.snapshot.names import Names


def move(
    source: Store, target: Store, collection: str, *, deadline: Deadline, writer: str, checked: bool = False
) -> Copied:
    """Move a collection: from the first step on, every writer is refused at *source* with the new address.

    A move that stops anywhere is finished by the same again. The source keeps its files.

    Args:
        checked: `require_movable` was asked already, which reads every object.

    Raises:
        HeadMoved: HEAD was made anew in the source meanwhile; nobody is sent anywhere.
        BadInput: The target holds something else, or the collection has moved to another place already.
        Corrupt: An object is damaged in the source; it is named, and nobody is refused.
        Retryable, OutcomeUnknown: Move again: what was copied is found.
    """
    head = read_head(source, collection).head
    if there := _arrived(target, head):
        return Copied(there, 0, 0, swapped=False)
    if not checked:
        require_movable(source, target, collection, deadline=deadline)
    if head.moved_to is None:
        # 1. Nobody publishes here any more.
        amend_head(source, collection, lambda seen: _moved(seen, target), writer=writer)

    def arrive(left: Head) -> Head:
        if left.moved_to != target.address:  # somebody made HEAD anew meanwhile, and writers go on here
            raise HeadMoved(
                f"HEAD of {collection} in {source.address} does not say any more that it moves to {target.address}",
                hint="see by `chroma-lifecycle log` what is there now, and move it again",
            )
        return replace(left, moved_to=None).next(swap_id=new_id(), written_at=target.now(), writer=writer)

    # 2. Every version, and HEAD by creation.
    return _copy(source, target, collection, deadline, arrive)


def _moved(head: Head, target: Store) -> Head:
    require_settled(head)
    return replace(head, moved_to=target.address)


def require_settled(head: Head) -> None:
    """Refuse to take a collection elsewhere that is being cut into shards.

    Raises:
        BadInput: It is.
    """
    if head.successors is not None and head.successors.shards:
        raise under_way(head.collection, len(head.successors.shards))


def under_way(collection: str, shards: int) -> BadInput:
    """Return the refusal of what would get in the way of a reshard."""
    return BadInput(
        f"a reshard of {collection} to {shards} shards is under way",
        hint="end it by `chroma-lifecycle bulk reshard`, or give it up by its --undo; then run the same again",
    )


def require_movable(source: Store, target: Store, collection: str, *, deadline: Deadline) -> None:
    """Refuse what would stop a move after its writers were refused; a move that has begun may go on.

    Raises:
        BadInput, Corrupt, StoreUnavailable: As `move`.
    """
    head = read_head(source, collection).head
    if _arrived(target, head):
        return
    _require_free(target, head)
    if head.moved_to is None:
        require_settled(head)
        _require_writable(source, target, collection)
        _require_whole(source, collection, deadline)


def _arrived(target: Store, head: Head) -> Head | None:
    """Return HEAD in the target, if an earlier move to it came to its end.

    Raises:
        BadInput: It has moved to another place.
    """
    if head.moved_to != target.address:
        head.require_here()
        return None
    there = find_head(target, head.collection)
    return there.head if there and there.head.lineage == head.lineage else None


def copy(source: Store, target: Store, collection: str, *, deadline: Deadline, writer: str) -> Copied:
    """Copy a collection with its history, to live beside its source: the copy begins a lineage of its own.

    It records the lineage that it came from, whose names its sweeps own too.

    Raises:
        BadInput: The target holds something else, or the source has moved.
        Corrupt: An object is damaged in the source; it is named.
        Retryable, OutcomeUnknown: Copy again: what was copied is found.
    """
    head = read_head(source, collection).head
    head.require_here()
    require_settled(head)
    _require_free(target, head)

    def arrive(left: Head) -> Head:
        begun = replace(left, lineage=new_id(), came_from=(left.lineage, *left.came_from), sweeps=0)
        begun = replace(begun, closed_for=None, holds=None, successors=None)
        return begun.next(swap_id=new_id(), written_at=target.now(), writer=writer)

    return _copy(source, target, collection, deadline, arrive)


def _copy(source: Store, target: Store, collection: str, deadline: Deadline, arrive: Callable[[Head], Head]) -> Copied:
    copied = copy_versions(
        source, target, collection, deadline=deadline, check=Check.NAMES, whole_history=True, arrive=arrive
    )
    if not isinstance(copied, Copied):
        raise taken(collection, target, copied.reason)
    return copied


def _require_free(target: Store, head: Head) -> None:
    """Refuse a place that holds a collection of this name; what an interrupted copy of ours left is no hindrance."""
    if find_head(target, head.collection):
        raise taken(head.collection, target, "it has a HEAD")
    names = Names(head.collection)
    for row in target.list(names.all_manifests):
        parts = names.parse_manifest_name(row.name)
        if parts is None or parts.era.lineage not in {head.lineage, *head.came_from}:
            raise taken(head.collection, target, f"there is {row.name}")


def taken(collection: str, target: Store, reason: str) -> BadInput:
    """Return the refusal of a place that holds something."""
    return BadInput(
        f"{target.address} is not free for {collection}: {reason}",
        hint="give a place that holds nothing of this collection",
    )


def _require_writable(source: Store, target: Store, collection: str) -> None:
    """Write the newest manifest, which is copied anyway: what cannot be used shows before anybody is refused."""
    manifest = read_published(source, collection).manifest
    target.write(manifest.name, manifest_object(manifest))


def _require_whole(source: Store, collection: str, deadline: Deadline) -> None:
    """Read every object: one that cannot be copied would leave writers refused here, and nothing there."""
    damage = verify_store(read_published(source, collection), source, every_version=True, deadline=deadline).damage
    for name, problem in damage.items():
        raise Corrupt(
            f"{name} in {source.address} is damaged: {problem}; nothing was moved",
            hint="`chroma-lifecycle verify --all` names all that is; bring it back from a backup or the mirror, or let "
            "the versions that need it expire and be swept",
        )
