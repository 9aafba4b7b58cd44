"""HEAD: the small object that names the newest manifest and decides what lives.

Everything that decides what lives is in this one object, so that one swap decides it; whoever
swaps HEAD carries the rest over (:meth:`Head.next`). ``docs/format.md`` specifies its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from chroma_lifecycle.errors import BadInput, Corrupt, NotInitialised, Retryable, Sharded
from chroma_lifecycle.ports import HEAD_LIMIT_BYTES, HeadToken, Store, StoredHead
from chroma_lifecycle.publishing.shard import (
    LARGEST_GENERATION,
    Successors,
    decode_successors,
    require_whole,
    spell_successors,
)
from chroma_lifecycle.snapshot.fields import Fields, canonical, parse_json, parse_time, spell_time
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.values import Digest, Era, Version, parse_collection, parse_digest, parse_id

FORMAT = "chroma-lifecycle head"
LAYOUT_FORMAT = "chroma-lifecycle layout"
"""What lies in HEAD's place where a collection is in shards."""

FORMAT_VERSION = 1
"""The newest version of HEAD that this library knows."""

_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RECOVER = "run `chroma-lifecycle recover`, which takes HEAD from an older copy"
_MOST = 10_000
_LESS_OF_IT = "unpin versions that nobody needs, and run `chroma-lifecycle sweep`"
_LARGEST_SERIAL = (1 << 64) - 1
# What an era can spell: 19 digits.
_LARGEST_SWEEPS = 10**19 - 1
_LONGEST_TEXT = 2_048


@dataclass(frozen=True, slots=True)
class Expiry:
    """Versions older than *bound* were expired at *time*; a sweep raises the floor after the grace period."""

    bound: Version
    time: datetime


@dataclass(frozen=True, slots=True)
class Unpinned:
    """A version that was pinned until *time*; it lives on for the grace period, since somebody may read it."""

    manifest: ManifestRef
    time: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """What is newest, and what lives.

    Attributes:
        lineage: What `init` began: a random id.
        serial: One more with every swap; the first is 1.
        swap_id: Random, so that no HEAD has the bytes of another.
        manifest: The newest version; its name says the version and who published it.
        sweeps: How many fences there were; with the lineage it makes the era.
        floor: The oldest version of the chain that lives.
        written_at: The store's time when this HEAD was made, for people.
        writer: Who made it, for people.
        expiries: What was expired and has not become the floor yet.
        pins: Manifests that live whatever the floor, by the name of the pin.
        unpinned: Manifests that were pinned until lately.
        came_from: Lineages that were copied into this one; their names are its own to sweep.
        moved_to: Address of the store that took over; every writer refuses this one.
        closed_for: Generation of shards that takes over from this shard; no version is published here any more.
        holds: Of a shard that a reshard makes: digest of what it was brought to; a version by anybody else ends it.
        successors: Of a collection in one piece: the shards that it is being cut into.

    Raises:
        ValueError: The fields do not make a HEAD.
    """

    collection: str
    lineage: str
    serial: int
    swap_id: str
    manifest: ManifestRef
    sweeps: int
    floor: Version
    written_at: datetime
    writer: str
    expiries: tuple[Expiry, ...] = ()
    pins: Mapping[str, ManifestRef] = field(default_factory=dict)
    unpinned: tuple[Unpinned, ...] = ()
    came_from: tuple[str, ...] = ()
    moved_to: str | None = None
    closed_for: int | None = None
    holds: Digest | None = None
    successors: Successors | None = None

    def __post_init__(self) -> None:
        parse_collection(self.collection)
        for identifier in (self.lineage, self.swap_id, *self.came_from):
            parse_id(identifier)
        _in_bounds("serial", self.serial, 1, _LARGEST_SERIAL)
        _in_bounds("sweeps", self.sweeps, 0, _LARGEST_SWEEPS)
        if self.floor > self.version:
            raise ValueError(f"floor {self.floor} is above version {self.version}")
        if any(expiry.bound > self.version for expiry in self.expiries):
            raise ValueError(f"an expiry is above version {self.version}")
        for ref in (self.manifest, *self.pins.values(), *(old.manifest for old in self.unpinned)):
            if ref.collection != self.collection:
                raise ValueError(f"{ref.name} is no manifest of {self.collection}")
        for name in self.pins:
            parse_pin_name(name)
        for text in (self.writer, self.moved_to or "-"):
            _parse_text(text)
        self._require_reshard()

    def _require_reshard(self) -> None:
        if self.closed_for is not None:
            _in_bounds("closed_for", self.closed_for, 1, LARGEST_GENERATION)
        if self.holds is not None:
            parse_digest(self.holds)
        if self.successors is not None and self.successors.shards:
            require_whole(self.collection, self.successors.generation, self.successors.shards)

    @property
    def version(self) -> Version:
        return self.manifest.version

    @property
    def write_id(self) -> str:
        """Who published the version: unlike the swap id, it stays when a pin or an expiry swaps HEAD."""
        return self.manifest.write_id

    @property
    def era(self) -> Era:
        """What work that starts from this HEAD may name without uploading it again."""
        return Era(self.lineage, self.sweeps)

    @property
    def beside(self) -> frozenset[ManifestRef]:
        """Versions that live beside the chain: pinned, or pinned until lately."""
        return frozenset([*self.pins.values(), *(old.manifest for old in self.unpinned)])

    @property
    def shown_from(self) -> Version:
        """The oldest version of the chain that is not expired."""
        return max([self.floor, *(expiry.bound for expiry in self.expiries)])

    def next(self, *, swap_id: str, written_at: datetime, writer: str) -> Head:
        """Return the HEAD that follows this one and decides the same; replace what the swap is about."""
        return replace(self, serial=self.serial + 1, swap_id=swap_id, written_at=written_at, writer=writer)

    def require_here(self) -> None:
        """Refuse to write where the store has moved away.

        Raises:
            BadInput: It has; the new address is named.
        """
        if self.moved_to is not None:
            raise BadInput(
                f"collection {self.collection} has moved to {self.moved_to}",
                hint=f"set CHROMA_LIFECYCLE_STORE (or --store) to {self.moved_to}",
            )

    def require_open(self) -> None:
        """Refuse to publish in a shard that a newer generation of shards takes over from.

        Raises:
            Retryable: It is closed: a change that was published here now would be in no newer shard.
        """
        if self.closed_for is not None:
            raise Retryable(
                f"{self.collection} is closed: a reshard hands over to generation {self.closed_for}",
                hint="run the same again: it goes to the shards that the layout names then. If it stays closed, the "
                "reshard was cut off: `chroma-lifecycle bulk reshard` goes on with it, or gives it up by --undo",
            )

    def require_lineage(self, lineage: str | None) -> None:
        """Refuse a shard that is not the one that a layout names.

        Raises:
            Corrupt: It was begun again, or replaced by another.
        """
        if lineage is not None and lineage != self.lineage:
            raise Corrupt(
                f"HEAD of {self.collection} is of lineage {self.lineage}, and the layout names lineage {lineage}",
                hint=f"bring the HEAD of that lineage back (`chroma-lifecycle recover --collection {self.collection}`)",
            )


def parse_pin_name(text: object) -> str:
    """Return *text* as the name of a pin.

    Raises:
        ValueError: It is not 1 to 100 letters, digits, dots, underscores and hyphens.
    """
    if not isinstance(text, str) or not _PIN.fullmatch(text):
        raise ValueError(f"a pin's name must be 1 to 100 of a-z A-Z 0-9 . _ -, letter or digit first, got {text!r}")
    return text


def _in_bounds(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be {lowest} to {highest}, got {value}")


def _parse_text(text: object) -> str:
    # Printable, because it is shown to people as it is.
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_TEXT or not text.isprintable():
        raise ValueError(f"not a printable text of 1 to {_LONGEST_TEXT} characters")
    return text


# The bytes of HEAD.


def encode_head(head: Head) -> bytes:
    """Return the bytes of *head*: JSON of one spelling, so that two that decide the same differ only in ids and times.

    Raises:
        BadInput: It has more pins and expiries than fit.
    """
    body = canonical(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "collection": head.collection,
            "lineage": head.lineage,
            "serial": head.serial,
            "swap_id": head.swap_id,
            "version": head.version.number,
            "write_id": head.write_id,
            "manifest": _spell_ref(head.manifest),
            "sweeps": head.sweeps,
            "floor": head.floor.number,
            "expiries": [{"bound": e.bound.number, "time": spell_time(e.time)} for e in head.expiries],
            "pins": [{"pin": name, "manifest": _spell_ref(head.pins[name])} for name in sorted(head.pins)],
            "unpinned": [{"manifest": _spell_ref(u.manifest), "time": spell_time(u.time)} for u in head.unpinned],
            "came_from": list(head.came_from),
            "moved_to": head.moved_to,
            "closed_for": head.closed_for,
            "holds": head.holds,
            "successors": spell_successors(head.successors),
            "written_at": spell_time(head.written_at),
            "writer": head.writer,
        }
    )
    if len(body) > HEAD_LIMIT_BYTES:
        raise BadInput(
            f"HEAD of {head.collection} would be {len(body)} bytes, and at most {HEAD_LIMIT_BYTES} can be stored",
            hint=_LESS_OF_IT,
        )
    for what, entries in (("expiries", head.expiries), ("pins", head.pins), ("unpinned versions", head.unpinned)):
        if len(entries) > _MOST:
            raise BadInput(
                f"HEAD of {head.collection} would have {len(entries):,} {what}, and at most {_MOST:,} are read",
                hint=_LESS_OF_IT,
            )
    return body


def _spell_ref(ref: ManifestRef) -> dict[str, str]:
    return {"name": ref.name, "digest": ref.digest}


def decode_head(body: bytes, collection: str) -> Head:
    """Return the HEAD of *collection* that *body* holds.

    Raises:
        BadInput: A newer version of this library wrote it; both versions are named.
        Sharded: It is a layout: each shard has a HEAD of its own.
        Corrupt: It is no HEAD of this collection, or not spelled as `encode_head` spells it.
    """
    where = f"HEAD of {collection}"
    if len(body) > HEAD_LIMIT_BYTES:
        raise Corrupt(f"{where} is longer than {HEAD_LIMIT_BYTES} bytes", hint=_RECOVER)
    try:
        value = parse_json(body, where)
    except Corrupt as problem:
        raise Corrupt(problem.message, hint=_RECOVER) from problem
    _check_format(value, where)
    try:
        head = _decode(Fields(value, where))
    except ValueError as problem:
        raise Corrupt(f"{where}: {problem}", hint=_RECOVER) from problem
    if head.collection != collection:
        raise Corrupt(f"{where} is that of collection {head.collection}", hint=_RECOVER)
    if encode_head(head) != body:
        raise Corrupt(f"{where} is not spelled as the format has it", hint=_RECOVER)
    return head


def _check_format(value: object, where: str) -> None:
    """Judge format and version before anything else: a newer version may have any other field."""
    found = format_of(value)
    if found[0] == LAYOUT_FORMAT:
        raise Sharded(
            f"{where} is a layout: the collection is in shards, and this works on one lineage",
            hint="name a shard instead of the collection, `chroma-lifecycle status` lists them; to read all of them, "
            "open a ShardedReader",
        )
    if found[0] != FORMAT or type(found[1]) is not int or found[1] < 1:
        raise Corrupt(f"{where} is not of format {FORMAT!r}", hint=_RECOVER)
    if found[1] > FORMAT_VERSION:
        raise BadInput(
            f"{where} has version {found[1]} of its format, and this library knows {FORMAT_VERSION}",
            hint="install the newer chroma-lifecycle that wrote it",
        )


def format_of(value: object) -> tuple[object, object]:
    """Return the name and the version of the format that a stored object claims to have."""
    return (value.get("format"), value.get("format_version")) if isinstance(value, dict) else (None, None)


def _decode(fields: Fields) -> Head:
    fields.text("format", longest=40)
    fields.integer("format_version", 1, FORMAT_VERSION)
    version = fields.parsed("version", _parse_version)
    write_id = fields.parsed("write_id", parse_id)
    head = Head(
        collection=fields.parsed("collection", parse_collection),
        lineage=fields.parsed("lineage", parse_id),
        serial=fields.integer("serial", 1, _LARGEST_SERIAL),
        swap_id=fields.parsed("swap_id", parse_id),
        manifest=_decode_ref(fields.object("manifest")),
        sweeps=fields.integer("sweeps", 0, _LARGEST_SWEEPS),
        floor=fields.parsed("floor", _parse_version),
        expiries=tuple(_decode_expiry(entry) for entry in fields.objects("expiries", limit=_MOST)),
        pins=dict(_decode_pin(entry) for entry in fields.objects("pins", limit=_MOST)),
        unpinned=tuple(_decode_unpinned(entry) for entry in fields.objects("unpinned", limit=_MOST)),
        came_from=tuple(parse_id(entry) for entry in fields.items("came_from", limit=_MOST)),
        moved_to=fields.parsed("moved_to", lambda text: None if text is None else _parse_text(text)),
        closed_for=fields.parsed("closed_for", _parse_generation),
        holds=fields.parsed("holds", lambda text: None if text is None else parse_digest(text)),
        successors=decode_successors(fields.optional("successors")),
        written_at=fields.parsed("written_at", parse_time),
        writer=fields.parsed("writer", _parse_text),
    )
    fields.done()
    if (version, write_id) != (head.version, head.write_id):
        raise ValueError(f"it says version {version}, and names {head.manifest.name}")
    return head


def _parse_version(value: object) -> Version:
    if type(value) is not int:
        raise ValueError(f"a version is a whole number, got {type(value).__name__}")
    return Version(value)


def _parse_generation(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise ValueError(f"a generation is a whole number, got {type(value).__name__}")
    return value


def _decode_ref(fields: Fields) -> ManifestRef:
    name, digest = fields.text("name", longest=_LONGEST_TEXT), fields.parsed("digest", parse_digest)
    fields.done()
    return ManifestRef(name, digest)


def _decode_expiry(fields: Fields) -> Expiry:
    expiry = Expiry(fields.parsed("bound", _parse_version), fields.parsed("time", parse_time))
    fields.done()
    return expiry


def _decode_pin(fields: Fields) -> tuple[str, ManifestRef]:
    pin = fields.parsed("pin", parse_pin_name), _decode_ref(fields.object("manifest"))
    fields.done()
    return pin


def _decode_unpinned(fields: Fields) -> Unpinned:
    unpinned = Unpinned(_decode_ref(fields.object("manifest")), fields.parsed("time", parse_time))
    fields.done()
    return unpinned


# Reading HEAD.


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A HEAD as it was read: what it says, and what the swap that replaces it expects."""

    head: Head
    token: HeadToken

    @property
    def stored(self) -> StoredHead:
        """The same as a store holds it."""
        return StoredHead(encode_head(self.head), self.token)


def find_head(store: Store, collection: str, *, known: SeenHead | None = None) -> SeenHead | None:
    """Return HEAD, or ``None`` where there is none: for `init` and `recover` alone.

    Args:
        store: Where it is.
        collection: Whose.
        known: What was read before; it is returned itself while HEAD is that one.

    Raises:
        StoreUnavailable: The store does not let it be read, or does not answer.
        Corrupt: There is one, and it is not sound.
        BadInput: A newer version of this library wrote it.
    """
    stored = store.read_head(collection, known=known.stored if known else None)
    if stored is None:
        return None
    if known is not None and stored.token == known.token:
        return known
    return SeenHead(decode_head(stored.body, collection), stored.token)


def read_head(store: Store, collection: str, *, known: SeenHead | None = None) -> SeenHead:
    """Return HEAD; a missing one is an error, and nothing here ever creates one.

    Raises:
        NotInitialised: There is none.
        StoreUnavailable, Corrupt, BadInput: As :func:`find_head`.
    """
    if (seen := find_head(store, collection, known=known)) is None:
        raise NotInitialised(
            f"collection {collection} has no HEAD in {store.address}",
            hint="run `chroma-lifecycle init` for a new collection, or `chroma-lifecycle recover` "
            "if there was one; check --store and --collection first",
        )
    return seen
