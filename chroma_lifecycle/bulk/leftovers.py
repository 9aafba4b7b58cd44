"""Shards that are in force no more, or never were: what a reshard leaves in a store, and when it can go."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import Layout, read_layout, whole_of
from chroma_lifecycle.snapshot.names import Names, collection_of
from chroma_lifecycle.words import age


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A shard of a generation that is neither in force nor coming.

    Attributes:
        name: Of its lineage.
        files: How many objects of it are there.
        size_bytes: Of all of them.
    """

    name: str
    files: int
    size_bytes: int


def left_behind(store: Store, layout: Layout) -> list[LeftBehind]:
    """Return the shards of *layout*'s collection that nothing names any more; their names say the generation."""
    live = {layout.generation, layout.newest_generation if layout.coming else layout.generation}
    sizes: dict[str, list[int]] = defaultdict(list)
    for generation in range(1, layout.newest_generation + 1):
        if generation in live:
            continue
        for row in store.list(f"{layout.collection}.{generation}-"):
            if whole_of(name := collection_of(row.name)) == layout.collection:
                sizes[name].append(row.size)
    return [LeftBehind(name, len(found), sum(found)) for name, found in sorted(sizes.items())]


def removable_from(layout: Layout, grace: timedelta) -> datetime:
    """Return the moment from which on shards that *layout* does not name can go.

    Who has read the layout before it reads them: a reader until it looks again, a batch until it ends.
    """
    return layout.written_at + grace


def remove_left_behind(store: Store, collection: str, grace: timedelta) -> list[LeftBehind]:
    """Remove every version of every object of the shards that nothing names; return what was removed.

    Raises:
        BadInput: The layout is younger than *grace*.
        StoreUnavailable: It can be done again.
    """
    layout = read_layout(store, collection).layout
    found = left_behind(store, layout)
    if found and store.now() < (moment := removable_from(layout, grace)):
        raise BadInput(
            f"the layout of {collection} is younger than {age(grace)}: somebody may still read the shards before it",
            hint=f"run it again after {moment:%Y-%m-%d %H:%M:%S} UTC, or give a shorter --grace if nobody reads",
        )
    for each in found:
        store.erase(Names(each.name).everything, lambda _: True)
    return found
