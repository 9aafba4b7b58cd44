"""The tasks of a reshard by their names, see :mod:`chroma_lifecycle.bulk.resharding`; they meet in the layout.

Each can be run again, at any time and by two at once: what is done stays done, and is found.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial
from typing import Any

from chroma_lifecycle.bulk.brought import brought_of, find_brought
from chroma_lifecycle.bulk.here import TASKS, Event, Here, Tell, collection_of, number_of, text_of
from chroma_lifecycle.bulk.resharding import begin, close, coming_layout, finish, reopen
from chroma_lifecycle.bulk.vectors import FindVectors, read_vectors
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.deltas.listing import list_data_set
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.publishing.layout import Layout, Vectors
from chroma_lifecycle.publishing.shard import LARGEST_GENERATION
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.slots import MOST_SHARDS
from chroma_lifecycle.wiring import open_store, writer


def reshard(event: Event, here: Here, _: Tell) -> dict[str, Any]:
    """Begin a reshard, or find it begun: to another number of shards, or with new vectors."""
    # A state machine hands over what it was started with, whatever that says.
    asked = event.get("asked", event)
    collection, vectors = collection_of(event), _vectors(asked, here)
    shards = None if vectors and "shards" not in asked else number_of(asked, "shards", 1, MOST_SHARDS)
    store = open_store(here.store, checksums=here.checksums)
    return told(begin(store, mapping_of(here, collection), collection, shards, writer(), vectors))


def _vectors(event: Event, here: Here) -> Vectors | None:
    """Return the data set that the event names, if it does; it must be one."""
    if "source" not in event:
        return None
    source = text_of(event, "source")
    address, deltas = here.data_set(source)
    list_data_set(address, deltas)
    try:
        return Vectors(source, number_of(event, "dimension", 1))
    except ValueError as problem:
        raise BadInput(f"{source!r}: {problem}", hint="name the data set by a printable address") from problem


def _find_vectors(vectors: Vectors | None, collection: str, here: Here) -> FindVectors | None:
    if vectors is None:
        return None
    address, deltas = here.data_set(vectors.source)
    return partial(read_vectors, vectors, collection, deltas, address)


def mapping_of(here: Here, collection: str) -> TableMapping:
    """Return the mapping, which must have the collection.

    Raises:
        BadInput: It has not, or there is none.
    """
    mapping = here.load()
    if mapping is None or collection not in mapping.collections:
        raise BadInput(
            f"the mapping has no collection {collection}: it has {', '.join(mapping.collections)}"
            if mapping
            else "a reshard needs the mapping, which says what decides about a record's shard",
            hint="give the mapping of the collection with --mapping",
        )
    return mapping


def told(layout: Layout) -> dict[str, Any]:
    """Return what an engine needs to know of a reshard: nothing is left to do where no shard comes."""
    return {
        "generation": layout.newest_generation if layout.coming else layout.generation,
        "shards": list(range(len(layout.coming))),
    }


def bring_one(event: Event, here: Here, tell: Tell) -> dict[str, Any]:
    """Bring one of the shards that come to what the shards in force hold."""
    collection, generation = collection_of(event), _generation(event)
    store = open_store(here.store, checksums=here.checksums)
    seen = coming_layout(store, collection, generation)
    if seen is None:
        return {"number": event["number"], "moved": 0}
    shard = seen.layout.coming[number_of(event, "number", 0, len(seen.layout.coming) - 1)]
    published, whole = find_brought(store, seen.layout, shard)
    if published is not None and whole:
        return {**asdict(brought_of(published)), "number": event["number"]}
    vectors = _find_vectors(seen.layout.vectors, shard.name, here)
    from chroma_lifecycle.bulk.bring import Place, bring  # imports chromadb, which takes seconds

    root = here.workspace / TASKS / shard.name
    try:
        brought = bring(
            seen.layout,
            shard,
            Place(store, root, SYSTEM_CLOCK, writer(), vectors),
            tail_budget=here.tail_budget,
            tell=tell,
        )
    finally:
        # A machine that brings a shard again and again keeps what it read; a function has room for one shard.
        if not event.get("keep"):
            shutil.rmtree(root, ignore_errors=True)
    return {**asdict(brought), "number": event["number"]}


def find_brought_shards(event: Event, here: Here) -> dict[int, dict[str, Any] | None]:
    """Return by its number what is told of each shard that comes; ``None`` of one that has to be brought."""
    collection, generation = collection_of(event), _generation(event)
    store = open_store(here.store, checksums=here.checksums)
    seen = coming_layout(store, collection, generation)
    if seen is None:
        return {}
    layout = seen.layout

    def told_of(number: int) -> dict[str, Any] | None:
        published, whole = find_brought(store, layout, layout.coming[number])
        return {**asdict(brought_of(published)), "number": number} if published and whole else None

    # Side by side: writers may be waiting.
    numbers = range(len(layout.coming))
    return dict(zip(numbers, in_parallel(told_of, numbers), strict=True))


def close_shards(event: Event, here: Here, _: Tell) -> dict[str, Any]:
    """Close the shards in force: from now on writers wait."""
    collection, generation = collection_of(event), _generation(event)
    close(open_store(here.store, checksums=here.checksums), collection, generation, writer())
    return {"closed": generation}


def reopen_shards(event: Event, here: Here, _: Tell) -> dict[str, Any]:
    """Open the shards in force again, since the others cannot come now."""
    collection, generation = collection_of(event), _generation(event)
    reopen(open_store(here.store, checksums=here.checksums), collection, generation, writer())
    return {"opened": generation}


def put_in_force(event: Event, here: Here, _: Tell) -> dict[str, Any]:
    """Put the shards that come in force."""
    collection, generation = collection_of(event), _generation(event)
    layout = finish(open_store(here.store, checksums=here.checksums), collection, generation, writer())
    return {"generation": layout.generation, "shards": [shard.name for shard in layout.shards]}


def _generation(event: Event) -> int:
    return number_of(event, "generation", 1, LARGEST_GENERATION)


def forget(here: Here, collection: str, generation: int) -> None:
    """Remove what the tasks of a generation have left on this machine."""
    for left in (here.workspace / TASKS).glob(f"{collection}.{generation}-*"):
        shutil.rmtree(left, ignore_errors=True)
