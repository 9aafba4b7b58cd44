"""Small valid manifests and packs; a test changes the one field that it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from chroma_lifecycle.snapshot.chain import Base, BaseFile, BasePart, Chain, PackRef, parts_of
from chroma_lifecycle.snapshot.details import ChromaVersion, Counts, Details, Summary
from chroma_lifecycle.snapshot.files import FileEntry, content_digest
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.snapshot.pages import FilePages, PageTable, entries, leaf_digests
from chroma_lifecycle.values import Digest, Era, Version, digest_of

COLLECTION = "words"
ERA = Era("00000000000000aa", 0)
NOON = datetime(2026, 1, 31, 12, 0, 0, 250, tzinfo=UTC)
DETAILS = Details(
    summary=Summary("compact", added=2, changed=1, removed=0, applied=3),
    counts=Counts(records=30, facts=40, withheld=0, tail=2, elements=35, free_bytes=8_192),
    chroma=ChromaVersion("1.5.9", ("embeddings_queue/00001-embeddings.sqlite.sql",)),
    dimension=384,
    space="cosine",
    mapping=digest_of(b"mapping"),
    milliseconds={"restore": 2, "apply": 120},
)


def pages_of(data: bytes) -> FilePages:
    return FilePages(len(data), leaf_digests(data))


def digest(text: str) -> Digest:
    return digest_of(text.encode())


def manifest_name(version: int, writer: int = 1, era: Era = ERA) -> str:
    return Names(COLLECTION).manifest(Version(version), era, f"{writer:016x}")


def object_name(stored: Digest, era: Era = ERA) -> str:
    return Names(COLLECTION).object(era, stored)


def base_spec(*files: tuple[str, int], label: str = "base") -> Base:
    """A base of files of these paths and sizes; its blocks exist in no store."""
    return Base(
        tuple(
            BaseFile(
                path,
                digest(f"{label} {path}"),
                tuple(
                    BasePart(length, digest(f"raw {path} {at}"), object_name(digest(f"{label} {path} {at}")), 77)
                    for at, length in parts_of(size)
                ),
            )
            for path, size in sorted(files)
        )
    )


def manifest_spec(version: int = 2, inline: bytes = b"", **changes: object) -> Manifest:
    """A manifest of *version*: a base, a pack in an object, and *inline* as another pack if given."""
    base = base_spec(("chroma/chroma.sqlite3", 5_000_000), ("ledger.sqlite3", 8_192), ("chroma/a-b/link_lists.bin", 0))
    middle = (FileEntry("chroma/chroma.sqlite3", 4_096, digest("middle")),)
    files = (FileEntry("chroma/chroma.sqlite3", 5, digest("db")), FileEntry("ledger.sqlite3", 7, digest("ledger")))
    first = PackRef(base.content, content_digest(middle), 300_000, digest("p"), object_name(digest("p")))
    second = PackRef(first.after, content_digest(files), len(inline), digest_of(inline), manifest_name(version))
    chain = Chain(base, (first, second) if inline else (replace(first, after=content_digest(files)),))
    manifest = Manifest(
        collection=COLLECTION,
        version=Version(version),
        era=ERA,
        write_id=f"{1:016x}",
        parent=ManifestRef(manifest_name(version - 1), digest("parent")) if version > 1 else None,
        source=None,
        files=files,
        chain=chain,
        details=DETAILS,
        stored_bytes=300_000,
        written_at=NOON,
        writer="test 1.0 on host",
        inline=inline,
    )
    return replace(manifest, **changes)  # type: ignore[arg-type]


def manifest_of(pages: PageTable, version: int = 1) -> Manifest:
    """A manifest of files with these pages; its base exists in no store."""
    base = Base(
        tuple(
            BaseFile(
                path,
                file.digest,
                tuple(
                    BasePart(length, file.between(at, length), object_name(digest(f"{path} {at}")), 77)
                    for at, length in parts_of(file.size)
                ),
            )
            for path, file in sorted(pages.items())
        )
    )
    return manifest_spec(version, files=entries(pages), chain=Chain(base))
