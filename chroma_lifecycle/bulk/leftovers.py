"""Shards that are in force no more, or never were: what a reshard leaves in a store, and when it can go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import Layout, read_in_force
from chroma_lifecycle.publishing.shard import whole_of
from chroma_lifecycle.snapshot.names import Names, collection_of
from chroma_lifecycle.words import age


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A shard of a generation that is neither in force nor coming; or what the collection was in one piece.

    Attributes:
        name: Of its lineage.
        files: How many objects of it are there.
        size_bytes: Of all of them.
    """

    name: str
    files: int
    size_bytes: int


def left_behind(store: Store, layout: Layout) -> list[LeftBehind]:
    """Return the shards of *layout*'s collection that nothing names any more; their names say the generation.

    Args:
        store: Where the layout is in force; or a mirror of it.
        layout: In force.
    """
    sizes: dict[str, list[int]] = defaultdict(list)
    for prefix in _prefixes(layout):
        for row in store.list(prefix):
            name = collection_of(row.name)
            if layout.collection in (name, whole_of(name)):
                sizes[name].append(row.size)
    return [LeftBehind(name, len(found), sum(found)) for name, found in sorted(sizes.items())]


def _prefixes(layout: Layout) -> Iterator[str]:
    """Yield the beginnings of the names of all that is left behind, and perhaps of other collections' too."""
    if layout.came_from is not None:
        # Beside them lies the layout, with every HEAD and layout before it.
        names = Names(layout.collection)
        yield from (names.all_manifests, names.all_objects)
    live = {layout.generation, layout.newest_generation if layout.coming else layout.generation}
    for generation in range(1, layout.newest_generation + 1):
        if generation not in live:
            yield f"{layout.collection}.{generation}-"


def removable_from(layout: Layout, grace: timedelta) -> datetime:
    """Return the moment from which on shards that *layout* does not name can go.

    Who has read the layout before it reads them: a reader until it looks again, a batch until it ends. In one
    piece it always was: nobody reads the shards that were given up.
    """
    return layout.written_at if layout.in_one_piece else layout.written_at + grace


def remove_left_behind(store: Store, collection: str, grace: timedelta) -> list[LeftBehind]:
    """Remove every version of every object of the shards that nothing names; return what was removed.

    Raises:
        BadInput: The layout is younger than *grace*.
        StoreUnavailable: It can be done again.
    """
    layout = read_in_force(store, collection).layout
    found = left_behind(store, layout)
    require_removable(store, layout, grace, found)
    erase_left_behind(store, layout, found)
    return found


def require_removable(store: Store, layout: Layout, grace: timedelta, found: list[LeftBehind]) -> None:
    """Refuse to remove what somebody may still read.

    Raises:
        BadInput: The layout is younger than *grace*.
    """
    if found and store.now() < (moment := removable_from(layout, grace)):
        raise BadInput(
            f"the layout of {layout.collection} is younger than {age(grace)}: somebody may still read what was before",
            hint=f"run it again after {moment:%Y-%m-%d %H:%M:%S} UTC, or give a shorter --grace if nobody reads",
        )


def erase_left_behind(store: Store, layout: Layout, found: list[LeftBehind]) -> None:
    """Remove every version of every object of what `left_behind` has found.

    Raises:
        StoreUnavailable: It can be done again.
    """
    names = {each.name for each in found}
    for prefix in _prefixes(layout):
        store.erase(prefix, lambda row: collection_of(row.name) in names)
