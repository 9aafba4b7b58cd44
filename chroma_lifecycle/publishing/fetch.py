"""Fetching a version's bytes by name: from the mirror first, then from the store, every digest proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import TypeVar

from chroma_lifecycle.errors import PAST_DAMAGE, BadInput, Corrupt, ObjectMissing, StoreUnavailable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.processors import processor_count
from chroma_lifecycle.snapshot.chain import BasePart, PackRef
from chroma_lifecycle.snapshot.frame import Kind, pieces
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, Manifest
from chroma_lifecycle.snapshot.manifest_object import pack_inside
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.snapshot.pages import FilePages, leaf_digests
from chroma_lifecycle.values import digest_of

_T = TypeVar("_T")
_ANOTHER = "it does not hold the bytes that the manifest says"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where bytes are fetched from, and what came from where.

    Attributes:
        mirror: Asked first; what it lacks, or has damaged, comes from the store.
        missed: Names that the mirror should have had.
        from_store: Length of each object that was read from the store.
        from_mirror: Length of each object that was read from the mirror.
        at_work: Lets as many threads unpack, hash and write as there are processors, while others wait for the
            network: more would take turns at Python's lock, leaf by leaf.
    """

    store: Store
    mirror: Store | None = None
    # Lists, because many threads add to them at once.
    missed: list[str] = field(default_factory=list)
    from_store: list[int] = field(default_factory=list)
    from_mirror: list[int] = field(default_factory=list)
    # Of each restore its own: one of the module would stay taken in a process that is forked meanwhile.
    at_work: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(processor_count()))

    def read(self, name: str, limit_bytes: int, prove: Callable[[bytes], _T]) -> _T:
        """Return what *prove* makes of an object's bytes; it raises ``Corrupt`` for the wrong ones.

        Raises:
            ObjectMissing, Corrupt, StoreUnavailable: The store, asked last, has it not, not soundly, or is away.
        """
        if self.mirror is not None:
            try:
                data = self.mirror.read(name, limit_bytes=limit_bytes)
                proven = prove(data)
            except (ObjectMissing, Corrupt, StoreUnavailable):
                self.missed.append(name)
            else:
                self.from_mirror.append(len(data))
                return proven
        data = self.store.read(name, limit_bytes=limit_bytes)
        self.from_store.append(len(data))
        return prove(data)


def fetch_part(part: BasePart, names: Names, sources: Sources, take: Callable[[int, memoryview], None]) -> bytes:
    """Hand the raw bytes of a base part to *take*, and return the digests of its leaves, by which they are proven.

    They say all of the stored bytes too, whose digest is asked for only where something is wrong.

    Args:
        part: Which.
        names: Of its collection.
        sources: Where it is.
        take: Gets each piece with its offset in the part; from its beginning again, if the mirror has it not soundly.

    Raises:
        ObjectMissing, Corrupt, StoreUnavailable: As :meth:`Sources.read`; what was taken is not the part then.
    """
    return sources.read(part.object, part.stored_bytes, lambda stored: _proven(part, names, sources, stored, take))


def verify_part(part: BasePart, names: Names, sources: Sources) -> bytes:
    """Return the digests of the leaves of a base part whose stored bytes and raw bytes are both proven.

    Raises:
        ObjectMissing, Corrupt, StoreUnavailable: As :meth:`Sources.read`.
    """

    def prove(stored: bytes) -> bytes:
        _require_name(part, names, stored)
        return _proven(part, names, sources, stored, _pass_over)

    return sources.read(part.object, part.stored_bytes, prove)


def _pass_over(offset: int, piece: memoryview) -> None:
    """Take nothing."""


def _proven(
    part: BasePart, names: Names, sources: Sources, stored: bytes, take: Callable[[int, memoryview], None]
) -> bytes:
    digests, size = [], 0
    try:
        with sources.at_work:
            for piece in pieces(Kind.BLOCK, stored, limit_bytes=part.size):
                take(size, piece)
                digests.append(leaf_digests(piece))
                size += len(piece)
    except (Corrupt, BadInput) as problem:
        # A block that says that it is of a newer format may only be damaged.
        _require_name(part, names, stored)
        if isinstance(problem, BadInput):
            raise
        raise damaged(part.object, _ANOTHER) from problem
    pages = FilePages(size, b"".join(digests))
    if size != part.size or pages.digest != part.raw:
        _require_name(part, names, stored)
        raise damaged(part.object, _ANOTHER)
    return pages.digests


def _require_name(part: BasePart, names: Names, stored: bytes) -> None:
    parts = names.parse_object_name(part.object)
    assert parts is not None  # checked when the manifest was read
    if digest_of(stored) != parts.digest:
        raise damaged(part.object, "its bytes do not have the digest in its name")


def fetch_pack(pack: PackRef, manifest: Manifest, sources: Sources) -> bytes:
    """Return the stored bytes of a pack of *manifest*'s chain: an object, or what a manifest carries.

    Raises:
        ObjectMissing, Corrupt, StoreUnavailable: As :meth:`Sources.read`.
    """
    if pack.carrier == manifest.name:
        return manifest.inline  # proven when the manifest was read
    is_object = Names(manifest.collection).parse_object_name(pack.carrier) is not None

    def prove(data: bytes) -> bytes:
        stored = data if is_object else pack_inside(data, pack.carrier)
        if digest_of(stored) != pack.digest:
            raise damaged(pack.carrier, "the pack in it does not have the digest that the manifest says")
        return stored

    return sources.read(pack.carrier, pack.stored_bytes if is_object else LARGEST_BYTES, prove)


def damaged(name: str, problem: str) -> Corrupt:
    """Return the error about a stored object that is not what was published."""
    return Corrupt(f"{name} is damaged: {problem}", hint=PAST_DAMAGE)
