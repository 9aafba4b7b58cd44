"""The layout: which shards a collection has, each a lineage of its own.

It lies where HEAD of an unsharded collection lies, and is swapped like it. ``docs/format.md``
specifies its bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chroma_lifecycle.errors import (
    BadInput,
    Corrupt,
    HeadMoved,
    NotInitialised,
    OutcomeUnknown,
    Sharded,
    StoreUnavailable,
)
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES, HeadToken, Store, StoredHead, SwapRefused, SwapUnanswered
from chroma_lifecycle.publishing.head import LAYOUT_FORMAT, Head, decode_head, encode_head, format_of
from chroma_lifecycle.publishing.shard import (
    LARGEST_GENERATION,
    MOST_SEGMENTS,
    Shard,
    decode_shards,
    even_shards,
    require_whole,
    spell_shards,
)
from chroma_lifecycle.slots import routing_key, slot_of
from chroma_lifecycle.snapshot.fields import Fields, canonical, parse_json, parse_time, spell_time
from chroma_lifecycle.values import parse_collection, parse_id

FORMAT_VERSION = 1
"""The newest version of the layout that this library knows."""

_LARGEST = (1 << 64) - 1
_LONGEST_TEXT = 2_048
_LARGEST_DIMENSION = 65_536
_HINT = "run `chroma-lifecycle recover`, which takes it from an older copy or the mirror"


@dataclass(frozen=True, slots=True)
class Vectors:
    """New vectors for the records of a collection.

    Attributes:
        source: Address of the data set, for people and for the tasks that read it.
        dimension: Of each of them.

    Raises:
        ValueError: It is no such address, or no dimension.
    """

    source: str
    dimension: int

    def __post_init__(self) -> None:
        if not 0 < len(self.source) <= _LONGEST_TEXT or not self.source.isprintable():
            raise ValueError("the source of the vectors is no printable text")
        if not 0 < self.dimension <= _LARGEST_DIMENSION:
            raise ValueError(f"a dimension is a number from 1 to {_LARGEST_DIMENSION}, got {self.dimension}")


@dataclass(frozen=True, slots=True)
class Layout:
    """The shards in force.

    Attributes:
        serial: One more with every swap; the first is 1.
        swap_id: Random, so that no layout has the bytes of another.
        generation: One more with every reshard; it is part of the shards' names.
        segments: How many segments at the beginning of an id decide its shard.
        shards: In the order of their slots.
        written_at: For people.
        writer: For people.
        newest_generation: The newest one that lineages were named after: the one in force, one that a reshard
            makes, or one that was given up. No generation is begun twice.
        coming: The shards that a reshard makes, of the newest generation; none if none is under way.
        vectors: Of the newest generation: where its vectors come from, if not from the shards before it.
        came_from: Lineage of the collection while it was in one piece; ``None`` if it was in shards from its `init` on.

    Raises:
        ValueError: The fields do not make a layout.
    """

    collection: str
    serial: int
    swap_id: str
    generation: int
    segments: int
    shards: tuple[Shard, ...]
    written_at: datetime
    writer: str
    newest_generation: int = 1
    coming: tuple[Shard, ...] = ()
    vectors: Vectors | None = None
    came_from: str | None = None

    def __post_init__(self) -> None:
        parse_collection(self.collection)
        for identifier in (self.swap_id, *([self.came_from] if self.came_from is not None else ())):
            parse_id(identifier)
        require_whole(self.collection, self.generation, self.shards)
        if self.coming:
            require_whole(self.collection, self.newest_generation, self.coming)
        if self.newest_generation < self.generation + bool(self.coming):
            raise ValueError(f"the newest generation is {self.newest_generation}")
        lineages = [shard.lineage for shard in (*self.shards, *self.coming)]
        if len(set(lineages)) < len(lineages):
            raise ValueError("two shards have one lineage")
        if not 0 < len(self.writer) <= _LONGEST_TEXT or not self.writer.isprintable():
            raise ValueError("the writer is no printable text")

    @property
    def in_one_piece(self) -> bool:
        """Whether the collection is not in shards: what says so is its HEAD, and nobody stores this."""
        return not self.generation

    def next(self, *, swap_id: str, written_at: datetime, writer: str) -> Layout:
        """Return the layout that follows this one and says the same; replace what the swap is about."""
        return replace(self, serial=self.serial + 1, swap_id=swap_id, written_at=written_at, writer=writer)

    def shard_of(self, reach: str) -> Shard:
        """Return the shard of the record *reach*, or of all records below it.

        Args:
            reach: An id, or a prefix of at least as many segments as decide.
        """
        slot = slot_of(routing_key(reach, self.segments))
        return self.shards[bisect_right(self.shards, slot, key=lambda shard: shard.first_slot) - 1]


def even_layout(
    collection: str, lineages: Sequence[str], *, segments: int, swap_id: str, written_at: datetime, writer: str
) -> Layout:
    """Return the first layout of a collection, with shards of equal sizes."""
    shards = even_shards(collection, 1, lineages)
    return Layout(collection, 1, swap_id, 1, segments, shards, written_at, writer)


# The bytes.


def encode_layout(layout: Layout) -> bytes:
    """Return the bytes of *layout*: JSON of one spelling."""
    if not layout.generation:
        raise ValueError(f"{layout.collection} is in one piece: what says so is its HEAD")
    return canonical(
        {
            "format": LAYOUT_FORMAT,
            "format_version": FORMAT_VERSION,
            "collection": layout.collection,
            "serial": layout.serial,
            "swap_id": layout.swap_id,
            "generation": layout.generation,
            "segments": layout.segments,
            "shards": spell_shards(layout.shards),
            "newest_generation": layout.newest_generation,
            "coming": spell_shards(layout.coming),
            "vectors": {"source": layout.vectors.source, "dimension": layout.vectors.dimension}
            if layout.vectors
            else None,
            "came_from": layout.came_from,
            "written_at": spell_time(layout.written_at),
            "writer": layout.writer,
        }
    )


def decode_layout(body: bytes, collection: str) -> Layout:
    """Return the layout of *collection* that *body* holds.

    Raises:
        BadInput: The collection is not in shards, or a newer version of this library wrote the layout.
        Corrupt: It is no layout of this collection, or not spelled as `encode_layout` spells it.
    """
    where = f"the layout of {collection}"
    try:
        value = parse_json(body, where)
    except Corrupt as problem:
        raise Corrupt(problem.message, hint=_HINT) from problem
    found = format_of(value)
    if found[0] != LAYOUT_FORMAT or type(found[1]) is not int or found[1] < 1:
        raise BadInput(
            f"collection {collection} is not in shards: its HEAD is no layout",
            hint="`chroma-lifecycle bulk reshard --shards N` cuts it into shards",
        )
    if found[1] > FORMAT_VERSION:
        raise BadInput(
            f"{where} has version {found[1]} of its format, and this library knows {FORMAT_VERSION}",
            hint="install the newer chroma-lifecycle that wrote it",
        )
    try:
        layout = _decode(Fields(value, where))
    except ValueError as problem:
        raise Corrupt(f"{where}: {problem}", hint=_HINT) from problem
    if layout.collection != collection:
        raise Corrupt(f"{where} is that of collection {layout.collection}", hint=_HINT)
    if encode_layout(layout) != body:
        raise Corrupt(f"{where} is not spelled as the format has it", hint=_HINT)
    return layout


def _decode(fields: Fields) -> Layout:
    fields.text("format", longest=40)
    fields.integer("format_version", 1, FORMAT_VERSION)
    layout = Layout(
        collection=fields.parsed("collection", parse_collection),
        serial=fields.integer("serial", 1, _LARGEST),
        swap_id=fields.parsed("swap_id", parse_id),
        generation=fields.integer("generation", 1, LARGEST_GENERATION),
        segments=fields.integer("segments", 1, MOST_SEGMENTS),
        shards=decode_shards(fields, "shards"),
        newest_generation=fields.integer("newest_generation", 1, LARGEST_GENERATION),
        coming=decode_shards(fields, "coming"),
        vectors=_decode_vectors(fields.optional("vectors")),
        came_from=fields.parsed("came_from", lambda text: None if text is None else parse_id(text)),
        written_at=fields.parsed("written_at", parse_time),
        writer=fields.text("writer", longest=_LONGEST_TEXT),
    )
    fields.done()
    return layout


def _decode_vectors(fields: Fields | None) -> Vectors | None:
    if fields is None:
        return None
    vectors = Vectors(fields.text("source", longest=_LONGEST_TEXT), fields.integer("dimension", 1, _LARGEST_DIMENSION))
    fields.done()
    return vectors


# Reading and publishing it.


@dataclass(frozen=True, slots=True)
class SeenLayout:
    """A layout as it was read: what it says, and what the swap that replaces it expects.

    Attributes:
        head: What lies in its place, if the collection is in one piece.
    """

    layout: Layout
    token: HeadToken
    head: Head | None = None

    @property
    def stored(self) -> StoredHead:
        """The same as a store holds it."""
        return StoredHead(encode_head(self.head) if self.head else encode_layout(self.layout), self.token)


def layout_of(head: Head) -> Layout:
    """Return how a collection in one piece looks as a layout: its one lineage is its one shard, of generation 0."""
    successors = head.successors
    return Layout(
        head.collection,
        head.serial,
        head.swap_id,
        generation=0,
        segments=successors.segments if successors else 1,
        shards=(Shard(head.collection, head.lineage, 0),),
        written_at=head.written_at,
        writer=head.writer,
        newest_generation=successors.generation if successors else 0,
        coming=successors.shards if successors else (),
    )


def read_in_force(store: Store, collection: str, *, known: SeenLayout | None = None) -> SeenLayout:
    """Return the shards in force, also where the collection is in one piece: then as its HEAD has it.

    Args:
        store: Where it is.
        collection: Whose.
        known: What was read before; it is returned itself while that is there.

    Raises:
        NotInitialised: There is neither a layout nor a HEAD.
        BadInput: A newer version of this library wrote it.
        Corrupt: There is one, and it is not sound.
        StoreUnavailable: The store does not answer.
    """
    stored = store.read_head(collection, known=known.stored if known else None)
    if stored is None:
        raise NotInitialised(
            f"collection {collection} has neither a HEAD nor a layout in {store.address}",
            hint="check --store and --collection first; `chroma-lifecycle init` begins a collection, and "
            "`chroma-lifecycle recover` brings back what was lost",
        )
    if known is not None and stored.token == known.token:
        return known
    try:
        head = decode_head(stored.body, collection)
    except Sharded:
        return SeenLayout(decode_layout(stored.body, collection), stored.token)
    return SeenLayout(layout_of(head), stored.token, head)


def read_layout(store: Store, collection: str, *, known: SeenLayout | None = None) -> SeenLayout:
    """Return the layout in force.

    Args:
        store: Where it is.
        collection: Whose.
        known: What was read before; it is returned itself while the layout is that one, and S3 does not
            send it again.

    Raises:
        NotInitialised: There is none.
        BadInput: The collection is not in shards, or a newer version of this library wrote the layout.
        Corrupt: There is one, and it is not sound.
        StoreUnavailable: The store does not answer.
    """
    stored = store.read_head(collection, known=known.stored if known else None)
    if stored is None:
        raise NotInitialised(
            f"collection {collection} has no layout in {store.address}",
            hint="check --store first; `chroma-lifecycle init` begins the collection, with the mapping that says its "
            "shards, and `chroma-lifecycle recover` brings a layout back that was lost",
        )
    if known is not None and stored.token == known.token:
        return known
    return SeenLayout(decode_layout(stored.body, collection), stored.token)


def publish_layout(store: Store, layout: Layout, expected: SeenLayout | None) -> SeenLayout:
    """Put *layout* in force in the place of the one *expected*; ``None`` where there is none.

    Raises:
        HeadMoved: Somebody else made another one.
        OutcomeUnknown: It may have been taken, or may still be.
    """
    body = encode_layout(layout)
    if len(body) > HEAD_LIMIT_BYTES:
        raise ValueError(f"a layout of {len(body)} bytes")
    token = expected.token if expected else None
    try:
        return SeenLayout(layout, store.swap_head(layout.collection, body, serial=layout.serial, expected=token))
    except (SwapRefused, SwapUnanswered) as answer:
        try:
            stored = store.read_head(layout.collection)
        except StoreUnavailable as away:
            raise _nobody_knows(layout, away) from away
        if stored is not None and stored.body == body:
            return SeenLayout(layout, stored.token)
        if (stored and stored.token) == token:
            raise _nobody_knows(layout, answer) from answer
        raise HeadMoved(
            f"somebody else made a HEAD or a layout of {layout.collection} meanwhile",
            hint="run the same again: it starts from what is there now",
        ) from answer


def _nobody_knows(layout: Layout, why: Exception) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the layout of {layout.collection} may or may not be in force: {why}", hint="run the same again"
    )
