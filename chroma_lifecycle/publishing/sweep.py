"""Sweeping: the only thing that deletes, in the order of the numbered lines of :func:`sweep`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from chroma_lifecycle.clock import Deadline, new_id
from chroma_lifecycle.errors import BadInput, HeadMoved
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.condemned import DEFAULT_GRACE, Judged, after_grace, fence, judge
from chroma_lifecycle.publishing.copying import Foreign, copy_versions
from chroma_lifecycle.publishing.head import Head, find_head, read_head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.published import read_manifest
from chroma_lifecycle.publishing.swap import Lost, require_landed, swap
from chroma_lifecycle.snapshot.names import Names

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found, and whether it deleted what is condemned.

    Attributes:
        head: HEAD as it is now; in a dry run as a sweep would leave it, but for the era.
        judged: What was found.
        deleted: Whether the condemned names and the spare heads are gone.
    """

    head: Head
    judged: Judged
    deleted: bool


def reached(store: Store, head: Head) -> frozenset[str]:
    """Return every name that must exist for the versions that *head* retains to be whole.

    Raises:
        ObjectMissing, Corrupt, BadInput: A retained manifest cannot be read.
    """
    names: set[str] = set()
    for _, manifest in walk(store, head):
        names |= manifest.reached()
    for ref in head.beside:
        names |= read_manifest(store, ref).reached()
    return frozenset(names)


def sweep(
    store: Store,
    collection: str,
    *,
    grace: timedelta = DEFAULT_GRACE,
    named: Collection[str] = (),
    delete: bool = False,
    writer: str,
) -> Swept:
    """Delete what no retained version reaches; without *delete*, say what that would be.

    A crash between any two of the steps leaves names that nobody reaches, for the next sweep.

    Args:
        store: Where the versions are.
        collection: Whose.
        grace: How long ago something must have expired, and how old a name must be.
        named: Foreign and unknown names, or ids of foreign lineages, that are to go as well.
        delete: Do it.
        writer: Who does it, for people.

    Raises:
        ObjectMissing, Corrupt: A retained manifest cannot be read: nothing is deleted.
        HeadMoved: Others moved HEAD each time; nothing is deleted.
        OutcomeUnknown: Nobody knows whether the fence stands; nothing is deleted.
    """
    # 1. The names and their ages. What is stored after this is not looked at.
    rows = tuple(store.list(Names(collection).everything))
    for _ in range(_ATTEMPTS):
        # 2. HEAD.
        seen = read_head(store, collection)
        before = store.now() - grace
        # 3. What it retains when the floor is raised past what expired before the grace period.
        kept = after_grace(seen.head, before)
        # 4. What that reaches; a manifest that cannot be read ends it here.
        live = reached(store, kept)
        # 5. The rest.
        judged = judge(rows, kept, live, before=before, named=named)
        if not delete:
            return Swept(kept, judged, deleted=False)
        head = seen.head
        if judged.condemned:
            # 6. The fence: only behind it nobody can name them any more.
            outcome = swap(store, _next(fence(kept), store, writer), seen, parent_of=None)
            if isinstance(outcome, Lost):
                continue
            head = require_landed(outcome).head
        # 7. Nothing else deletes.
        store.delete([row.name for row in (*judged.condemned, *judged.spare_heads)])
        return Swept(head, judged, deleted=True)
    raise HeadMoved(
        f"HEAD of {collection} was moved {_ATTEMPTS} times while it was swept; nothing was deleted",
        hint="run the sweep again at a quieter time",
    )


def _next(head: Head, store: Store, writer: str) -> Head:
    return head.next(swap_id=new_id(), written_at=store.now(), writer=writer)


def sweep_mirror(
    store: Store, mirror: Store, collection: str, *, deadline: Deadline | None = None, delete: bool = False
) -> Swept:
    """Delete from *mirror* what *store* no longer has; without *delete*, say what that would be.

    Raises:
        BadInput: The mirror is that of another store.
        ObjectMissing, Corrupt: A manifest that the mirror's HEAD retains cannot be read there: nothing is deleted.
        StoreUnavailable, NoTime: It can be tried again.
    """
    names = Names(collection)
    # 1. HEAD of the mirror comes first to where the store's is.
    if delete:
        copied = copy_versions(store, mirror, collection, deadline=deadline or Deadline())
        if isinstance(copied, Foreign):
            raise BadInput(
                f"{mirror.address} is not the mirror of this store: {copied.reason}",
                hint="check --mirror; to replace what is there: `chroma-lifecycle mirror --repair`",
            )
    # 2. The mirror's names, and only then the store's: what is copied meanwhile is in the store's list.
    rows = tuple(mirror.list(names.everything))
    held = frozenset(row.name for row in store.list(names.everything))
    # 3. What the mirror's HEAD reaches stays, though the store may have swept it since, or lost it.
    if (seen := find_head(mirror, collection)) is None:
        raise BadInput(
            f"there is nothing of {collection} in the mirror {mirror.address} yet",
            hint="the next cycle fills it, or `chroma-lifecycle mirror --repair`",
        )
    head = seen.head
    judged = judge(rows, head, held | reached(mirror, head), before=None)
    if delete:
        mirror.delete([row.name for row in (*judged.condemned, *judged.spare_heads)])
    return Swept(head, judged, deleted=delete)
