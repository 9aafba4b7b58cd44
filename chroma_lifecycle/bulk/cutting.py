"""A collection in one piece is cut into shards: the steps of :mod:`chroma_lifecycle.bulk.resharding` where HEAD is one.

One object decides all of it: HEAD names the shards that come (`successors`) and says when it
is closed, and the last step puts a layout in its place. So whoever holds an older HEAD loses every swap from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chroma_lifecycle.bulk.brought import held, require_brought, require_shard
from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import BadInput, HeadMoved, Retryable, Sharded
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.layout import Layout, SeenLayout, layout_of, publish_layout
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.publishing.shard import Successors, even_shards
from chroma_lifecycle.publishing.swap import amend_head


def begin(
    store: Store,
    mapping: TableMapping,
    collection: str,
    shards: int,
    writer: str,
    another: Callable[[Layout], BadInput],
) -> Layout:
    """Let HEAD name the shards that *collection* is to be in; return that as a layout. In one piece it is one already.

    Args:
        store: Where it is.
        mapping: Says what decides about a record's shard.
        collection: In one piece.
        shards: How many.
        writer: Who does it, for people.
        another: Returns the refusal where another reshard is under way.

    Raises:
        BadInput: Another one is; or the collection cannot be in shards; or it has pins.
        HeadMoved, OutcomeUnknown: As a swap; the same again goes on.
    """
    segments = _segments(mapping, collection)

    def amend(head: Head) -> Head | None:
        head.require_here()
        layout = layout_of(head)
        if layout.coming and len(layout.coming) != shards:
            raise another(layout)
        if layout.coming or shards == 1:
            return None
        _require_no_pins(head)
        generation = layout.newest_generation + 1
        try:
            coming = even_shards(collection, generation, [new_id() for _ in range(shards)])
            # What was closed for shards that were given up meanwhile is open again.
            return replace(head, closed_for=None, successors=Successors(generation, segments, coming))
        except ValueError as problem:
            raise BadInput(
                f"{collection} cannot be in shards: {problem}",
                hint="shards are named after the collection, so its name must be shorter",
            ) from problem

    return layout_of(_amended(store, collection, amend, writer))


def _segments(mapping: TableMapping, collection: str) -> int:
    """Return how many segments of an id decide its shard.

    Raises:
        BadInput: All records would be in one.
    """
    routing = mapping.routing(collection)
    if not routing.names:
        raise BadInput(
            f"every id of {collection} begins with '{routing}', by which shards are told apart: all would be in one",
            hint="let ids and partition keys begin with what differs; `chroma-lifecycle mapping check` shows them",
        )
    return len(routing.segments)


def _require_no_pins(head: Head) -> None:
    """Refuse what would make a version unreachable that somebody asked to keep.

    Raises:
        BadInput: There are pins.
    """
    if head.pins:
        raise BadInput(
            f"{head.collection} has pins ({', '.join(sorted(head.pins))}), and its history ends where its shards begin",
            hint="keep what is wanted by `chroma-lifecycle copy` or `restore`, and `unpin` it; then run the same again",
        )


def close(store: Store, collection: str, generation: int, writer: str) -> None:
    """Close HEAD for the generation that comes.

    Raises:
        BadInput: The reshard was given up, or there are pins.
    """

    def amend(head: Head) -> Head | None:
        _require_under_way(head, generation)
        _require_no_pins(head)
        return None if head.closed_for == generation else replace(head, closed_for=generation)

    _amended(store, collection, amend, writer)


def finish(store: Store, seen: SeenLayout, generation: int, writer: str) -> Layout:
    """Prove that the shards that come hold what HEAD holds, and put their layout in its place; return the layout.

    Raises:
        Retryable: HEAD is open, or a shard has not been brought to what it holds.
        BadInput: There are pins.
        HeadMoved, OutcomeUnknown: As a swap; the same again finds what landed.
    """
    layout, (whole,) = seen.layout, seen.layout.shards
    head = require_shard(store, whole)
    if head.closed_for != generation:
        raise Retryable(f"{whole.name} is not closed", hint="run the same command again: what is done stays done")
    _require_no_pins(head)
    published: Published = read_published(store, whole.name)
    for shard in layout.coming:
        require_brought(store, shard, held([published]))
    made = layout.next(swap_id=new_id(), written_at=store.now(), writer=writer)
    made = replace(made, generation=generation, shards=layout.coming, coming=(), came_from=whole.lineage)
    return publish_layout(store, made, seen).layout


def reopen(store: Store, collection: str, generation: int, writer: str) -> None:
    """Let writers go on; whoever was about to put the layout in HEAD's place has lost.

    Raises:
        HeadMoved: Another one has put it there.
        BadInput: The reshard was given up.
    """

    def amend(head: Head) -> Head | None:
        _require_under_way(head, generation)
        return None if head.closed_for is None else replace(head, closed_for=None)

    _amended(store, collection, amend, writer)


def give_up(store: Store, collection: str, writer: str) -> tuple[Layout, list[str]]:
    """End a reshard that is not in force; return what is, and the collection if it was closed and is open now.

    Raises:
        HeadMoved: It was put in force meanwhile.
        OutcomeUnknown: Run it again.
    """
    opened: list[str] = []

    def amend(head: Head) -> Head | None:
        opened[:] = [] if head.closed_for is None else [collection]
        if head.closed_for is None and not layout_of(head).coming:
            return None
        left = replace(head.successors, shards=()) if head.successors else None
        return replace(head, closed_for=None, successors=left)

    return layout_of(_amended(store, collection, amend, writer)), opened


def _amended(store: Store, collection: str, amend: Callable[[Head], Head | None], writer: str) -> Head:
    """Change HEAD, and return it.

    Raises:
        HeadMoved: There is a layout in its place now; or others were quicker each time.
    """
    try:
        return amend_head(store, collection, amend, writer=writer).head
    except Sharded as problem:
        raise HeadMoved(
            f"shards of {collection} came into force meanwhile", hint="run the same again: it finds them"
        ) from problem


def _require_under_way(head: Head, generation: int) -> None:
    layout = layout_of(head)
    if not layout.coming or layout.newest_generation != generation:
        raise given_up(head.collection, generation)


def given_up(collection: str, generation: int) -> BadInput:
    """Return the error of whoever goes on with a reshard that was given up."""
    return BadInput(
        f"the reshard of {collection} to generation {generation} was given up, or another one came after it",
        hint="see by `chroma-lifecycle status` which shards are in force; nothing of it was put in force",
    )
