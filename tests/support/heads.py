"""Small valid HEADs; a test changes the one field that it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Digest, Era, Version, digest_of

COLLECTION = "words"
LINEAGE = "00000000000000aa"
NOON = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def write_id(number: int) -> str:
    return f"{number:016x}"


def manifest_ref(version: int, writer: int = 1, sweeps: int = 0, digest: Digest | None = None) -> ManifestRef:
    """The manifest of *version* that publication *writer* made."""
    name = Names(COLLECTION).manifest(Version(version), Era(LINEAGE, sweeps), write_id(writer))
    return ManifestRef(name, digest or digest_of(name.encode()))


def head_spec(version: int = 1, published_by: int = 1, **changes: object) -> Head:
    """A HEAD of *version*, published by *published_by*, with serial and swap id of the same numbers."""
    head = Head(
        collection=COLLECTION,
        lineage=LINEAGE,
        serial=version,
        swap_id=f"{version:08x}{published_by:08x}",
        manifest=manifest_ref(version, published_by),
        sweeps=0,
        floor=Version(1),
        written_at=NOON,
        writer="test",
    )
    return replace(head, **changes)  # type: ignore[arg-type]
