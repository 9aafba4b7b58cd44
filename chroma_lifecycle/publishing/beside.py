"""Shards beside a place without a layout: what is left of them says that the collection was cut, and goes on there.

Whoever began anew there, or brought an older HEAD back, would go on without what was answered for since.
"""

from __future__ import annotations

from collections.abc import Iterator

from chroma_lifecycle.errors import BadInput, NotInitialised
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head, find_head
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.shard import generation_of, whole_of
from chroma_lifecycle.snapshot.names import collection_of

RESHARD = "reshard"
"""What made a version of a shard that comes: one with another action was in force."""


def shards_beside(store: Store, collection: str) -> Iterator[str]:
    """Yield the names of the shards of *collection* of which the store has anything, each once."""
    last = None
    for row in store.list(f"{collection}."):
        name = collection_of(row.name)
        if name != last and whole_of(name) == collection:
            yield name
        last = name


def require_no_shards(store: Store, collection: str) -> None:
    """Refuse to begin a collection in one piece where there are shards of it.

    Raises:
        BadInput: There are.
    """
    for name in shards_beside(store, collection):
        raise _was_cut(name, collection)


def require_never_cut(store: Store, collection: str) -> None:
    """Refuse to begin a collection in shards where it was cut into others.

    Raises:
        BadInput: There is a shard of a later generation, or one that was closed for it.
    """
    for name in shards_beside(store, collection):
        seen = find_head(store, name) if generation_of(name) == 1 else None
        if generation_of(name) != 1 or (seen is not None and seen.head.closed_for is not None):
            raise _was_cut(name, collection)


def require_in_one_piece(store: Store, head: Head) -> None:
    """Refuse to bring *head* back where the collection was cut into shards that came into force.

    Raises:
        BadInput: There are shards that it does not know of, or its successors have gone on.
    """
    known = head.successors.generation if head.successors else 0
    for name in shards_beside(store, head.collection):
        if generation_of(name) > known:
            raise _was_cut(name, head.collection)
    for shard in head.successors.shards if head.successors else ():
        try:
            published = read_published(store, shard.name)
        except NotInitialised:
            continue
        if published.manifest.details.summary.action != RESHARD:
            raise _was_cut(shard.name, head.collection)


def _was_cut(shard: str, collection: str) -> BadInput:
    return BadInput(
        f"{shard} says that {collection} was cut anew: what it was before is not in force any more",
        hint=f"bring its layout back: `chroma-lifecycle recover --collection {collection}`, with --mirror if there is "
        f"one, or an older version of {collection}/HEAD; if nothing of it is wanted, remove {collection}.*/ from "
        "the store",
    )
