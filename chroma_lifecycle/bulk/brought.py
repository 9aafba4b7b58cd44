"""What a shard that comes is made of, and whether it is that already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chroma_lifecycle.errors import Corrupt, NotInitialised, Retryable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.beside import RESHARD
from chroma_lifecycle.publishing.head import Head, find_head
from chroma_lifecycle.publishing.layout import Layout
from chroma_lifecycle.publishing.publication import already_initialised
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.shard import Shard
from chroma_lifecycle.slots import SLOTS
from chroma_lifecycle.snapshot.fields import canonical
from chroma_lifecycle.values import Digest, digest_of


def require_shard(store: Store, shard: Shard) -> Head:
    """Return HEAD of a shard, which must be the one that the layout names.

    Raises:
        NotInitialised: It is gone.
        Corrupt: It is another one.
    """
    if (seen := find_head(store, shard.name)) is None:
        raise gone(store, shard)
    seen.head.require_here()
    seen.head.require_lineage(shard.lineage)
    return seen.head


def gone(store: Store, shard: Shard) -> NotInitialised:
    """Return the error about a shard that the layout names and that is not there."""
    return NotInitialised(
        f"the layout names {shard.name}, of lineage {shard.lineage}, and it has no HEAD in {store.address}",
        hint=f"bring it back by `chroma-lifecycle recover --collection {shard.name}`, then run the same again",
    )


def sources(layout: Layout, shard: Shard) -> list[Shard]:
    """Return the shards in force that have slots of *shard*, which comes."""
    ends = [*(each.first_slot for each in layout.coming[1:]), SLOTS]
    end = ends[layout.coming.index(shard)]
    befores = zip(layout.shards, [*(each.first_slot for each in layout.shards[1:]), SLOTS], strict=True)
    return [each for each, its_end in befores if each.first_slot < end and shard.first_slot < its_end]


def owner(layout: Layout, shard: Shard) -> Callable[[str], bool]:
    """Return what tells whether an id or a prefix will be of *shard*, which comes."""
    after = replace(layout, generation=layout.newest_generation, shards=layout.coming, coming=())
    return lambda reach: after.shard_of(reach) == shard


def held(published: Sequence[Published]) -> Digest:
    """Return the digest that a new shard says it holds: by name, lineage and content of each that it was made of."""
    return digest_of(
        canonical(
            {each.collection: {"lineage": each.head.lineage, "content": each.manifest.content} for each in published}
        )
    )


@dataclass(frozen=True, slots=True)
class Brought:
    """A shard that comes, as it is published.

    Attributes:
        moved: How many records were written or removed.
        already: Whether it held everything before.
    """

    name: str
    lineage: str
    version: int
    records: int
    size_bytes: int
    moved: int
    already: bool


def brought_of(published: Published, moved: int = 0, *, already: bool = True) -> Brought:
    """Return what is told of a shard that comes."""
    manifest, lineage = published.manifest, published.head.lineage
    records = manifest.details.counts.records
    return Brought(published.collection, lineage, manifest.version.number, records, manifest.size, moved, already)


def find_brought(store: Store, layout: Layout, shard: Shard) -> tuple[Published | None, bool]:
    """Return what is published of a shard that comes, and whether it holds what the shards in force hold now.

    Raises:
        BadInput: There is another shard of this name.
        NotInitialised, Corrupt: A shard in force is missing, or is not the one that the layout names; or the
            shard that comes was in force already.
    """
    seen = find_head(store, shard.name)
    if seen is None:
        return None, False
    if seen.head.lineage != shard.lineage:
        raise already_initialised(shard.name, store, seen.head)
    now = []
    for each in sources(layout, shard):
        require_shard(store, each)
        now.append(read_published(store, each.name))
    published = read_published(store, shard.name)
    if published.manifest.details.summary.action != RESHARD:
        raise Corrupt(
            f"{shard.name} has a version that no reshard made: it was in force, and this layout is older than that",
            hint="bring the newest layout back (`chroma-lifecycle recover`); nothing was changed",
        )
    return published, published.head.holds == held(now)


def require_brought(store: Store, shard: Shard, wanted: Digest) -> None:
    """Refuse a shard that does not hold *wanted*.

    Raises:
        Retryable: It does not.
    """
    if require_shard(store, shard).holds != wanted:
        raise Retryable(
            f"{shard.name} does not hold all that the closed shards hold",
            hint="run the same command again: what is done stays done",
        )
