"""What each shard has to do for a batch: the changes that concern it, seen as those of a collection of its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from chroma_lifecycle.cycle import Surroundings
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import Change, MergeDelta
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.sharded import shard_mapping
from chroma_lifecycle.logs import Log
from chroma_lifecycle.publishing.layout import Layout, SeenLayout, read_in_force, read_layout
from chroma_lifecycle.publishing.layout_mirror import mirror_layout
from chroma_lifecycle.publishing.shard import Shard, whole_of
from chroma_lifecycle.values import Ordering

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What one lineage has to do for a batch.

    Attributes:
        name: Of the lineage: a collection, or a shard of one.
        around: What its cycle needs.
        changes: Those that concern it, under its name.
    """

    name: str
    around: Surroundings
    changes: Sequence[Change]


class Shards:
    """The shards of the collections that are in shards, by the layouts in force: the store says which these are."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._known: dict[str, SeenLayout] = {}
        self._found: set[str] = {*around.mapping.shards}
        self._mirrored: dict[str, str] = {}

    def expects(self, collection: str) -> bool:
        """Return whether a collection is to be looked for in shards: the mapping says so, or the store has said so."""
        return collection in self._found

    def expect(self, collection: str) -> None:
        """Note that a layout was found where HEAD of a collection in one piece was looked for."""
        self._found.add(collection)

    def are_in_force(self, collection: str) -> bool:
        """Return whether the layout that was used last names shards: then nobody needs the one piece any more."""
        seen = self._known.get(collection)
        return seen is not None and not seen.layout.in_one_piece

    def works(self, collection: str, changes: Sequence[Change]) -> list[Work] | None:
        """Return what each shard that *changes* concern has to do; ``None`` where the collection is in one piece.

        Raises:
            BadInput: The mapping and the layout do not go together.
            LifecycleError: The layout cannot be read.
        """
        layout = self._layout(collection)
        if layout.in_one_piece:
            return None
        return [
            Work(shard.name, shard_surroundings(self._around, layout, shard), portion)
            for shard, portion in by_shard(changes, layout)
        ]

    def mirror(self, collection: str) -> None:
        """Bring the layout that was used last into the mirror, once."""
        mirror, seen = self._around.mirror, self._known.get(collection)
        if mirror is None or seen is None or self._mirrored.get(collection) == seen.layout.swap_id:
            return
        if problem := mirror_layout(mirror, seen.layout):
            log.warning("layout not mirrored", collection=collection, why=problem)
        else:
            self._mirrored[collection] = seen.layout.swap_id

    def _layout(self, collection: str) -> Layout:
        seen = read_in_force(self._around.store, collection, known=self._known.get(collection))
        if not seen.layout.in_one_piece:
            require_same_routing(self._around.mapping, seen.layout)
        self._known[collection] = seen
        return seen.layout


def require_same_routing(mapping: TableMapping, layout: Layout) -> None:
    """Refuse a mapping under which changes would go to other shards than their records are in.

    Raises:
        BadInput: It is one.
    """
    routing = mapping.routing(layout.collection)
    if len(routing.segments) != layout.segments:
        raise BadInput(
            f"the mapping decides about the shards of {layout.collection} by '{routing}', and its layout by "
            f"{layout.segments} segments of the ids",
            hint="go back to the mapping that the collection was begun with",
        )


def shard_surroundings(around: Surroundings, layout: Layout, shard: Shard) -> Surroundings:
    """Return what a cycle of *shard* needs; runs are told when all shards have done their portions."""

    def owns(record_id: str) -> bool:
        return layout.shard_of(record_id) == shard

    mapping = shard_mapping(around.mapping, layout.collection, shard.name, owns)
    return replace(around, mapping=mapping, status=None, lineage=shard.lineage)


def lineage_surroundings(around: Surroundings, name: str) -> Surroundings:
    """Return what a cycle of one lineage needs, by its name: a collection, or a shard of one.

    Raises:
        BadInput: The mapping has no such collection, or the layout no such shard.
    """
    collection = whole_of(name)
    if name in around.mapping.collections:
        return around
    if collection is None or collection not in around.mapping.collections:
        raise BadInput(
            f"the mapping has no collection {name}: it has {', '.join(around.mapping.collections)}",
            hint="name one of them with --collection, or give the mapping of the collection",
        )
    layout = read_layout(around.store, collection).layout
    require_same_routing(around.mapping, layout)
    shard = next((shard for shard in layout.shards if shard.name == name), None)
    if shard is None:
        raise BadInput(
            f"{name} is no shard of {collection} any more",
            hint=f"name one of {', '.join(shard.name for shard in layout.shards)}",
        )
    found = shard_surroundings(around, layout, shard)
    # A run that has all its records in one shard is merged when that has merged it.
    return replace(found, status=around.status) if around.mapping.ordering is Ordering.EXACT else found


def lineage_mapping(mapping: TableMapping, name: str) -> TableMapping:
    """Return the mapping as the lineage of this name sees it."""
    collection = whole_of(name)
    if name in mapping.collections or collection is None or collection not in mapping.collections:
        return mapping
    return shard_mapping(mapping, collection, name, lambda _: True)


def by_shard(changes: Iterable[Change], layout: Layout) -> list[tuple[Shard, list[Change]]]:
    """Return the changes that concern each shard, as those of a collection of its name; shards in their order."""
    portions: dict[str, list[Change]] = {}
    for change in changes:
        for shard in shards_of(change, layout):
            portions.setdefault(shard.name, []).append(
                replace(change, origin=replace(change.origin, collection=shard.name))
            )
    return [(shard, portions[shard.name]) for shard in layout.shards if shard.name in portions]


def shards_of(change: Change, layout: Layout) -> tuple[Shard, ...]:
    """Return the shards that *change* concerns: one; all of them where a run may write any id."""
    if isinstance(change, MergeDelta):
        return layout.shards if change.below is None else (layout.shard_of(change.below),)
    # What is refused for the sake of a run has no reach; one shard is enough to say so.
    return (layout.shard_of(change.reach or change.origin.item.partition),)
