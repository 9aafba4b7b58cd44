"""Taking a collection in shards to another store: each shard as any collection is taken, and the layout last.

Until the layout is there, nobody reads or writes at the new place; whatever stops on the way, the same again finds what
is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from chroma_lifecycle.clock import Deadline, new_id
from chroma_lifecycle.errors import HeadMoved
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.copying import Copied
from chroma_lifecycle.publishing.head import find_head
from chroma_lifecycle.publishing.layout import Layout, SeenLayout, publish_layout, read_layout
from chroma_lifecycle.publishing.relocation import copy, move, require_movable, taken, under_way
from chroma_lifecycle.publishing.shard import Shard

Told = Callable[[str, Copied], None]
"""Is told the name of each shard when it is there."""


def move_shards(source: Store, target: Store, collection: str, *, deadline: Deadline, writer: str, told: Told) -> None:
    """Move a collection in shards: from the first step on, writers are refused, shard by shard, with the new address.

    Raises:
        HeadMoved: The collection was cut anew meanwhile, or a HEAD was made anew.
        BadInput: The target holds something else, or the collection has moved to another place already.
        Corrupt: An object is damaged in the source; it is named, and nobody is refused.
        Retryable, OutcomeUnknown: Move again: what was moved is found.
    """
    seen = _settled(source, collection)
    if _is_there(target, seen.layout, seen.layout.shards):
        for shard in seen.layout.shards:
            told(shard.name, move(source, target, shard.name, deadline=deadline, writer=writer))
        return
    # 1. What can be refused, is, before any writer is.
    for shard in seen.layout.shards:
        require_movable(source, target, shard.name, deadline=deadline)
    # 2. Each shard: its writers are refused, its versions copied.
    for shard in seen.layout.shards:
        told(shard.name, move(source, target, shard.name, deadline=deadline, writer=writer, checked=True))
    # 3. The layout once more, with another token: whoever was about to replace it has lost.
    again = _next(seen.layout, source, writer)
    publish_layout(source, again, seen)
    # 4. The layout there: from now on the collection is there.
    publish_layout(target, _next(again, target, writer), None)


def copy_shards(source: Store, target: Store, collection: str, *, deadline: Deadline, writer: str, told: Told) -> None:
    """Copy a collection in shards, to live beside its source: each shard begins a lineage of its own there.

    Raises:
        HeadMoved: The collection was cut anew meanwhile.
        BadInput: The target holds something else, or the source has moved.
        Corrupt: An object is damaged in the source; it is named.
        Retryable, OutcomeUnknown: Copy again: what was copied is found.
    """
    seen, shards = _settled(source, collection), list[Shard]()
    _is_there(target, seen.layout, ())
    for shard in seen.layout.shards:
        copied = _copied_before(target, shard) or copy(source, target, shard.name, deadline=deadline, writer=writer)
        shards.append(replace(shard, lineage=copied.head.lineage))
        told(shard.name, copied)
    _require_same(seen, source)
    layout = replace(_next(seen.layout, target, writer), serial=1, shards=tuple(shards))
    publish_layout(target, layout, None)


def _settled(source: Store, collection: str) -> SeenLayout:
    """Return the layout in force.

    Raises:
        BadInput: Another one is on its way.
    """
    seen = read_layout(source, collection)
    if seen.layout.coming:
        raise under_way(collection, len(seen.layout.coming))
    return seen


def _is_there(target: Store, layout: Layout, shards: Sequence[Shard]) -> bool:
    """Return whether the layout in force in *target* is of these *shards*.

    Raises:
        BadInput: The target holds something else.
    """
    if target.read_head(layout.collection) is None:
        return False
    if read_layout(target, layout.collection).layout.shards != tuple(shards):
        raise taken(layout.collection, target, "it has a layout")
    return True


def _copied_before(target: Store, shard: Shard) -> Copied | None:
    """Return the copy that an attempt before this one has made."""
    there = find_head(target, shard.name)
    if there is None:
        return None
    if shard.lineage not in there.head.came_from:
        raise taken(shard.name, target, f"there is lineage {there.head.lineage}")
    return Copied(there.head, 0, 0, swapped=False)


def _require_same(seen: SeenLayout, source: Store) -> None:
    if read_layout(source, seen.layout.collection).layout.shards != seen.layout.shards:
        raise HeadMoved(
            f"{seen.layout.collection} was cut into other shards meanwhile",
            hint="run the same again: it takes the shards that the layout names now",
        )


def _next(layout: Layout, store: Store, writer: str) -> Layout:
    return layout.next(swap_id=new_id(), written_at=store.now(), writer=writer)
