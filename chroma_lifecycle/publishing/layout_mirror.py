"""The layout in the mirror: what a reader that begins while the store is away needs beside the shards."""

from __future__ import annotations

from dataclasses import replace

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NotInitialised
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import (
    Layout,
    SeenLayout,
    decode_layout,
    publish_layout,
    read_in_force,
    read_layout,
)
from chroma_lifecycle.snapshot.names import Names


def mirror_layout(mirror: Store, layout: Layout) -> str | None:
    """Bring *layout* into the mirror; return why that was not done, if it was not.

    What is there and not older is left alone, as a HEAD would be: it can be another store's.
    """
    try:
        before = _find_in_force(mirror, layout.collection)
        if before is not None and before.layout == layout:
            return None
        if before is not None and before.layout.serial >= layout.serial:
            return f"{mirror.address} has another layout, of serial {before.layout.serial}"
        if before is not None and before.head is not None and before.head.lineage != layout.came_from:
            return f"{mirror.address} has HEAD of lineage {before.head.lineage}, of which this layout does not come"
        publish_layout(mirror, layout, before)
    except LifecycleError as problem:
        return problem.message
    return None


def _find_in_force(mirror: Store, collection: str) -> SeenLayout | None:
    """Return the layout in the mirror, or the HEAD in its place of a collection that was in one piece."""
    try:
        return read_in_force(mirror, collection)
    except NotInitialised:
        return None


def repair_mirrored_layout(store: Store, mirror: Store, collection: str, *, writer: str) -> None:
    """Replace whatever lies in the layout's place in the mirror; where that is ahead, the store's serial goes above it.

    Raises:
        HeadMoved: Somebody else put a layout in force meanwhile.
        StoreUnavailable, OutcomeUnknown: It can be done again.
    """
    seen, names = read_layout(store, collection), Names(collection)
    stored = mirror.read_head(collection)
    if stored is not None and (there := _readable(stored.body, collection)) == seen.layout:
        return
    serials = [names.parse_head_name(row.name) or 0 for row in mirror.list(names.all_heads)]
    highest = max([0, *serials, *([there.serial] if stored and there else [])])
    if highest >= seen.layout.serial:
        above = replace(seen.layout, serial=highest + 1, swap_id=new_id(), written_at=store.now(), writer=writer)
        seen = publish_layout(store, above, seen)
    publish_layout(mirror, seen.layout, SeenLayout(seen.layout, stored.token) if stored else None)


def _readable(body: bytes, collection: str) -> Layout | None:
    try:
        return decode_layout(body, collection)
    except (Corrupt, BadInput):
        return None
