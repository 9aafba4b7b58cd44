"""Another number of shards, decided by the layout: begun, closed, put in force, or given up.

What each new shard is made of is in :mod:`chroma_lifecycle.bulk.bring`. The order of it all::

    begin     the layout names the shards that come: from here on no other reshard can begin
    bring     each of them is built from the shards in force, and brought forward again and again; the
              stream goes on into the shards in force
    close     HEAD of each shard in force says that it is closed: nobody publishes there any more
    bring     what came until then
    finish    each new shard is proven to hold what the closed ones hold; then one swap of the layout

A crash between any two of them leaves a layout in force that is whole; the same again goes on, and
`give_up` leads back until the last swap. Between close and finish writers wait: what they would have
published is refused, and comes again. What fails there lets them go on first (`reopen`).

Of a collection in one piece, which has a HEAD and no layout, :mod:`chroma_lifecycle.bulk.cutting` does the same.
"""

from __future__ import annotations

from dataclasses import replace

from chroma_lifecycle.bulk import cutting
from chroma_lifecycle.bulk.brought import held, require_brought, require_shard, sources
from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import BadInput, HeadMoved, Retryable, Sharded
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.layout import Layout, SeenLayout, Vectors, publish_layout, read_in_force
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.shard import Shard, even_shards
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.sharding.works import require_same_routing
from chroma_lifecycle.values import Ordering

_ATTEMPTS = 5


def begin(
    store: Store,
    mapping: TableMapping,
    collection: str,
    shards: int | None,
    writer: str,
    vectors: Vectors | None = None,
) -> Layout:
    """Let the layout say that *collection* will be in so many shards; return it.

    Where it says so already, or they are in force, it stays as it is.

    Args:
        store: Where it is.
        mapping: Says what decides about a record's shard.
        collection: Whose.
        shards: How many; by default as many as there are.
        writer: Who does it, for people.
        vectors: Where new vectors come from; by default records keep theirs.

    Raises:
        BadInput: Another reshard is under way; or the mapping and the layout do not go together.
        Sharded: Runs may write ids of any partition, so that no shard can tell which are merged.
        NotInitialised, Corrupt: A shard is missing, or is not the one that the layout names.
    """
    if mapping.ordering is not Ordering.EXACT:
        raise Sharded(
            f"the runs of {collection} may write ids of any partition: no shard can say which of them are merged, "
            "so facts cannot go with their records",
            hint="build the collection anew, with `chroma-lifecycle bulk build`",
        )
    for _ in range(_ATTEMPTS):
        seen = read_in_force(store, collection)
        layout = seen.layout
        if layout.in_one_piece:
            return _cut(store, mapping, layout, shards, writer, vectors)
        require_same_routing(mapping, layout)
        wanted = shards or len(layout.coming or layout.shards)
        if layout.coming and (len(layout.coming), layout.vectors) != (wanted, vectors):
            raise _another(layout)
        if layout.coming or (len(layout.shards) == wanted and vectors in (None, layout.vectors)):
            return layout
        for shard in layout.shards:
            require_shard(store, shard)
            # What was closed for shards that were given up meanwhile.
            _open(store, shard, writer, up_to=layout.newest_generation)
        generation = layout.newest_generation + 1
        made = layout.next(swap_id=new_id(), written_at=store.now(), writer=writer)
        coming = even_shards(collection, generation, [new_id() for _ in range(wanted)])
        made = replace(made, newest_generation=generation, coming=coming, vectors=vectors)
        try:
            return publish_layout(store, made, seen).layout
        except HeadMoved as moved:
            lost = moved
    raise lost


def _cut(
    store: Store, mapping: TableMapping, layout: Layout, shards: int | None, writer: str, vectors: Vectors | None
) -> Layout:
    if vectors is not None or shards is None:
        raise BadInput(
            f"{layout.collection} is not in shards: new vectors are one version of it",
            hint="give them by `chroma-lifecycle rebuild --vectors`; "
            "`chroma-lifecycle bulk reshard --shards N` cuts it into shards",
        )
    return cutting.begin(store, mapping, layout.collection, shards, writer, _another)


def _another(layout: Layout) -> BadInput:
    command = f"bulk reshard --shards {len(layout.coming)}"
    with_vectors = ""
    if layout.vectors:
        command = f"bulk reembed {layout.vectors.source} --dimension {layout.vectors.dimension}"
        with_vectors = f" with the vectors of {layout.vectors.source}"
    return BadInput(
        f"a reshard of {layout.collection} to {len(layout.coming)} shards{with_vectors} is under way, changed last "
        f"{layout.written_at:%Y-%m-%d %H:%M:%S} UTC by {layout.writer}; another one cannot begin",
        hint=f"go on with that one (`chroma-lifecycle {command}`), or give it up by `bulk reshard --undo`",
    )


def coming_layout(store: Store, collection: str, generation: int) -> SeenLayout | None:
    """Return the layout while it makes this generation; ``None`` once that is in force.

    Raises:
        BadInput: It does neither: it was given up.
    """
    seen = read_in_force(store, collection)
    layout = seen.layout
    if layout.coming and layout.newest_generation == generation:
        return seen
    if layout.generation == generation:
        return None
    raise cutting.given_up(collection, generation)


def close(store: Store, collection: str, generation: int, writer: str) -> None:
    """Close every shard in force for the generation that comes; closed ones stay so.

    A writer that read HEAD before loses its swap to this one, reads HEAD, and stops.

    Raises:
        BadInput: The reshard was given up.
        LifecycleError: A HEAD cannot be swapped; the same again closes the others.
    """
    seen = coming_layout(store, collection, generation)
    if seen is not None and seen.layout.in_one_piece:
        cutting.close(store, collection, generation, writer)
        return
    for shard in seen.layout.shards if seen else ():
        amend_head(store, shard.name, lambda head, shard=shard: _closed(head, shard, generation), writer=writer)  # type: ignore[misc]
    try:
        coming_layout(store, collection, generation)
    except BadInput:
        # Given up while we closed: then nobody else opens what we closed last.
        for shard in seen.layout.shards if seen else ():
            _open(store, shard, writer, up_to=generation)
        raise


def _closed(head: Head, shard: Shard, generation: int) -> Head | None:
    head.require_lineage(shard.lineage)
    return None if head.closed_for == generation else replace(head, closed_for=generation)


def _open(store: Store, shard: Shard, writer: str, *, up_to: int) -> bool:
    """Open a shard if it is closed for a generation not newer than *up_to*; return whether it was."""
    opened = False

    def amend(head: Head) -> Head | None:
        nonlocal opened
        opened = head.closed_for is not None and head.closed_for <= up_to
        return replace(head, closed_for=None) if opened else None

    amend_head(store, shard.name, amend, writer=writer)
    return opened


def finish(store: Store, collection: str, generation: int, writer: str) -> Layout:
    """Prove that the shards that come hold what the closed ones hold, and put them in force; return the layout.

    Raises:
        Retryable: A shard is open, or has not been brought to what the closed ones hold.
        BadInput: The reshard was given up.
        HeadMoved, OutcomeUnknown: As a swap; the same again finds what landed.
    """
    seen = coming_layout(store, collection, generation)
    if seen is None:
        return read_in_force(store, collection).layout
    if seen.layout.in_one_piece:
        return cutting.finish(store, seen, generation, writer)
    layout, closed = seen.layout, dict[str, Published]()
    for shard in layout.shards:
        head = require_shard(store, shard)
        if head.closed_for != generation:
            raise Retryable(f"{shard.name} is not closed", hint="run the same command again: what is done stays done")
        closed[shard.name] = read_published(store, shard.name)
    for shard in layout.coming:
        require_brought(store, shard, held([closed[each.name] for each in sources(layout, shard)]))
    made = layout.next(swap_id=new_id(), written_at=store.now(), writer=writer)
    return publish_layout(store, replace(made, generation=generation, shards=layout.coming, coming=()), seen).layout


def reopen(store: Store, collection: str, generation: int, writer: str) -> None:
    """Let writers go on in the shards in force, and the reshard stay under way: it could not end now.

    Raises:
        HeadMoved: Another one was just putting the shards that come in force, or giving them up.
        OutcomeUnknown: Run it again.
        BadInput: The reshard was given up.
    """
    seen = coming_layout(store, collection, generation)
    if seen is None:
        return
    if seen.layout.in_one_piece:
        cutting.reopen(store, collection, generation, writer)
        return
    # 1. The layout once more, with another token: whoever was about to replace it has lost.
    made = seen.layout.next(swap_id=new_id(), written_at=store.now(), writer=writer)
    seen = publish_layout(store, made, seen)
    # 2. Then writers go on.
    for shard in seen.layout.shards:
        _open(store, shard, writer, up_to=generation)


def give_up(store: Store, collection: str, writer: str) -> tuple[Layout, list[str]]:
    """End a reshard that is not in force; return the layout, and the shards that were closed and are open now.

    Raises:
        HeadMoved: It was put in force meanwhile, or another one begun.
        OutcomeUnknown: Run it again.
    """
    seen = read_in_force(store, collection)
    if seen.layout.in_one_piece:
        return cutting.give_up(store, collection, writer)
    # 1. The layout first: from here on nobody can put in force what lacks a change.
    if seen.layout.coming:
        made = seen.layout.next(swap_id=new_id(), written_at=store.now(), writer=writer)
        seen = publish_layout(store, replace(made, coming=(), vectors=None), seen)
    # 2. Then writers go on.
    newest = seen.layout.newest_generation
    opened = [shard.name for shard in seen.layout.shards if _open(store, shard, writer, up_to=newest)]
    return seen.layout, opened
