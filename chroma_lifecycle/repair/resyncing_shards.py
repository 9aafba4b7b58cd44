"""In step with the table again, in shards: the table is read once, and each shard compares what concerns it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from chroma_lifecycle.cycle import Surroundings
from chroma_lifecycle.errors import Sharded
from chroma_lifecycle.intake.changes import Image
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.scanned import Page, TableScan
from chroma_lifecycle.planning.reading import Reading
from chroma_lifecycle.publishing.layout import Layout, read_layout
from chroma_lifecycle.publishing.published import read_published
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.repair.resyncing import Resynced, mend
from chroma_lifecycle.sharding.works import require_same_routing, shard_surroundings
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Ordering


def read_for_shards(
    around: Surroundings, collection: str, scan: TableScan, *, progress: Callable[[int], None] = lambda _: None
) -> list[tuple[Shard, Surroundings, Reading]]:
    """Read the table once, and return what each shard of *collection* needs to know of it.

    Raises:
        BadInput: The table holds no item of the mapping, or has other keys.
        Sharded: A run may have its records in several shards, so that none can tell whether it is merged.
        LifecycleError: The layout cannot be read, or the table does not answer.
    """
    mapping = around.mapping
    if mapping.ordering is not Ordering.EXACT:
        raise Sharded(
            f"{collection} is in shards, and its runs may write ids of any partition: "
            "no shard can say which of them are merged",
            hint="announce the runs again; `chroma-lifecycle log --collection` with a shard's name shows what it has",
        )
    layout = read_layout(around.store, collection).layout
    require_same_routing(mapping, layout)
    places = {shard: shard_surroundings(around, layout, shard) for shard in layout.shards}
    # A run concerns one shard alone, so each tells the table of its own.
    found = {
        shard: (
            replace(place, status=around.status),
            Reading(place.mapping, shard.name, read_published(around.store, shard.name).manifest.version.number),
        )
        for shard, place in places.items()
    }
    items = 0
    for page in scan.pages():
        for shard, images in _by_shard(page, mapping, layout):
            found[shard][1].take(Page(images, page.as_of))
        items += len(page.items)
        progress(items)
    if not any(reading.taken for _, reading in found.values()):
        Reading(mapping, collection, items=items).require_any()
    return [(shard, place, reading) for shard, (place, reading) in found.items()]


def _by_shard(page: Page, mapping: TableMapping, layout: Layout) -> Iterator[tuple[Shard, list[Image]]]:
    """Yield every shard with the items of *page* that concern it; each has to know when the page was read."""
    images: dict[Shard, list[Image]] = {shard: [] for shard in layout.shards}
    for image in page.items:
        item = mapping.item_key({name: image[name] for name in mapping.key_names})
        if item is not None and mapping.match(item) is not None:
            images[layout.shard_of(item.partition)].append(image)
    yield from images.items()


def resync_shards(
    around: Surroundings,
    own: Callable[[str], AbstractContextManager[Workspace]],
    collection: str,
    scan: TableScan,
    *,
    backfill: bool = False,
    dry_run: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[Shard, Resynced]]:
    """Compare each shard of *collection* with the table, publish what brings it in step, and yield what came of it.

    Args:
        around: What a cycle of the whole collection would need.
        own: Owns the workspace of a shard.
        collection: One that the mapping has in shards.
        scan: Of the table.
        backfill, dry_run, progress: As of :func:`chroma_lifecycle.repair.resyncing.resync`.

    Raises:
        LifecycleError: As :func:`read_for_shards`; or as a cycle, when the shards before it are done.
    """
    for shard, place, reading in read_for_shards(around, collection, scan, progress=progress):
        with own(shard.name) as workspace:
            yield shard, mend(place, workspace, reading, backfill=backfill, dry_run=dry_run)
