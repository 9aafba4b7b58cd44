"""Bringing back a layout that was deleted or damaged: from an older one of the store, or from the mirror."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError
from chroma_lifecycle.ports import Store, StoredHead
from chroma_lifecycle.publishing.head import find_head
from chroma_lifecycle.publishing.layout import Layout, SeenLayout, decode_layout, publish_layout
from chroma_lifecycle.snapshot.names import Names


@dataclass(frozen=True, slots=True)
class LostLayout:
    """The newest layout that was found of a collection that has none now.

    Attributes:
        layout: As it was.
        place: Where it was found, for people.
        stored: What lies in its place, damaged; ``None`` if nothing does.
    """

    layout: Layout
    place: str
    stored: StoredHead | None


def find_lost_layout(store: Store, mirror: Store | None, collection: str) -> LostLayout | None:
    """Return the layout to bring back; ``None`` where it is sound, or nothing tells that there ever was one.

    Raises:
        BadInput: The newest that is left was replaced by a reshard.
        StoreUnavailable: The store does not answer.
    """
    stored = store.read_head(collection)
    if stored is not None and not _is_damaged(stored.body, collection):
        return None
    found = [*_layouts(store, collection), *(_layouts(mirror, collection) if mirror else ())]
    if not found:
        return None
    layout, place = max(found, key=lambda each: each[0].serial)
    _require_newest(layout, store)
    return LostLayout(layout, place, stored)


def bring_back(store: Store, lost: LostLayout, writer: str) -> Layout:
    """Put the layout that was lost in force again, above every serial that was found.

    Raises:
        HeadMoved: Somebody else made one meanwhile.
        OutcomeUnknown: It may have been taken, or may still be.
    """
    names = Names(lost.layout.collection)
    known = [names.parse_head_name(row.name) or 0 for row in store.list(names.all_heads)]
    serial = max([lost.layout.serial, *known]) + 1
    layout = replace(lost.layout.next(swap_id=new_id(), written_at=store.now(), writer=writer), serial=serial)
    return publish_layout(store, layout, SeenLayout(lost.layout, lost.stored.token) if lost.stored else None).layout


def _require_newest(layout: Layout, store: Store) -> None:
    """Refuse a layout whose shards were closed for others that it does not name: changes have gone there since."""
    if layout.coming:
        return  # whoever goes on with that reshard opens or replaces them
    for shard in layout.shards:
        try:
            seen = find_head(store, shard.name)
        except Corrupt:  # it is recovered next
            continue
        if seen is not None and seen.head.closed_for is not None:
            raise BadInput(
                f"the newest layout of {layout.collection} that is left is of generation {layout.generation}, and "
                f"{shard.name} is closed for generation {seen.head.closed_for}",
                hint=f"name the mirror with --mirror, or bring {layout.collection}/HEAD back from a backup",
            )


def _is_damaged(body: bytes, collection: str) -> bool:
    try:
        decode_layout(body, collection)
    except Corrupt:
        return True
    except BadInput:  # a HEAD, or a layout that a newer library wrote
        return False
    return False


def _layouts(store: Store, collection: str) -> Iterator[tuple[Layout, str]]:
    """Yield the layouts that *store* has or had, as far as it can be asked."""
    try:
        stored = store.read_head(collection)
        bodies = [*([stored.body] if stored else []), *store.past_heads(collection)]
    except LifecycleError:
        return
    for body in dict.fromkeys(bodies):
        try:
            yield decode_layout(body, collection), store.address
        except (Corrupt, BadInput):
            continue
