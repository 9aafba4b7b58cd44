"""The manifest: the immutable description of one version.

Its object is one line of canonical JSON, followed by the bytes of the pack that it carries, if any.
``docs/format.md`` specifies it field by field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from chroma_lifecycle.errors import PAST_DAMAGE, Corrupt
from chroma_lifecycle.snapshot.chain import PART_BYTES, Base, BaseFile, BasePart, Chain, PackRef
from chroma_lifecycle.snapshot.details import Details, decode_details, encode_details
from chroma_lifecycle.snapshot.fields import Fields, canonical, parse_json, parse_time, spell_time
from chroma_lifecycle.snapshot.files import FileEntry, check_paths, content_digest, parse_path
from chroma_lifecycle.snapshot.frame import FORMAT_VERSION, check_format
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.values import Digest, Era, Version, digest_of, parse_collection, parse_digest, parse_id

FORMAT = "chroma-lifecycle manifest"

LARGEST_BYTES = 16 << 20
"""A manifest object is never longer."""

INLINE_BYTES = 256_000
"""A pack of up to this length travels inside the manifest."""

LARGEST_PACK = 512 << 20
_LARGEST_FILE = 1 << 43
_MOST_BYTES = 1 << 53
_MOST_FILES = 10_000
_MOST_PARTS = 100_000
_MOST_PACKS = 1_000


@dataclass(frozen=True)
class Manifest:
    """One version.

    Attributes:
        era: Of the HEAD that the work started from.
        write_id: Names this publication; the swap is judged by it.
        parent: The version that this one replaced; ``None`` for the first.
        source: The version whose content this one took over (a rollback), if another than the parent.
        files: The table of files, sorted by path.
        stored_bytes: Length of the pack and the base parts that were stored for this version.
        inline: The stored bytes of the last pack of the chain, if it travels in this manifest.

    Raises:
        ValueError: The parts contradict one another.
    """

    collection: str
    version: Version
    era: Era
    write_id: str
    parent: ManifestRef | None
    source: ManifestRef | None
    files: tuple[FileEntry, ...]
    chain: Chain
    details: Details
    stored_bytes: int
    written_at: datetime
    writer: str
    inline: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        check_paths([entry.path for entry in self.files])
        self.chain.check(Names(self.collection))
        if self.chain.content != self.content:
            raise ValueError("the chain does not end in the content of the files")
        self._check_inline()
        self._check_ancestry()

    def _check_inline(self) -> None:
        if any(pack.carrier == self.name for pack in self.chain.packs[:-1]):
            raise ValueError("only the last pack can travel in its own manifest")
        carried = self.chain.packs[-1] if self.carries_pack else None
        if (carried.stored_bytes if carried else 0) != len(self.inline):
            raise ValueError("the pack inside is not as long as the chain says")
        if carried is not None and carried.digest != digest_of(self.inline):
            raise ValueError("the pack inside is damaged")

    def _check_ancestry(self) -> None:
        if any(ref is not None and ref.collection != self.collection for ref in (self.parent, self.source)):
            raise ValueError("the parent or the source is of another collection")
        before = 0 if self.parent is None else self.parent.version.number
        if self.version.number != before + 1:
            raise ValueError("the version does not follow that of its parent")

    @cached_property
    def encoded(self) -> bytes:
        """The bytes of its object: they are asked for to be sent, named, kept and compared."""
        return _encode(self)

    @cached_property
    def content(self) -> Digest:
        """The content digest: what two copies share that are the same."""
        return content_digest(self.files)

    @property
    def lineage(self) -> str:
        return self.era.lineage

    @property
    def name(self) -> str:
        """The name of the object that holds this manifest."""
        return Names(self.collection).manifest(self.version, self.era, self.write_id)

    @property
    def carries_pack(self) -> bool:
        """Whether the last pack of the chain travels in this manifest."""
        return bool(self.chain.packs) and self.chain.packs[-1].carrier == self.name

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def reached(self) -> frozenset[str]:
        """Return every name that must exist for this version to be whole, its own included."""
        return self.chain.names() | {self.name}


# The bytes of a manifest.


def encode_manifest(manifest: Manifest) -> bytes:
    """Return *manifest* as the bytes of its object; the same manifest always gives the same bytes."""
    return manifest.encoded


def _encode(manifest: Manifest) -> bytes:
    line = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "collection": manifest.collection,
        "version": manifest.version.number,
        "era": str(manifest.era),
        "write_id": manifest.write_id,
        "parent": _encode_ref(manifest.parent),
        "source": _encode_ref(manifest.source),
        "written_at": spell_time(manifest.written_at),
        "writer": manifest.writer,
        "stored_bytes": manifest.stored_bytes,
        "content": manifest.content,
        "files": [{"path": entry.path, "size": entry.size, "digest": entry.digest} for entry in manifest.files],
        "base": _encode_base(manifest.chain.base),
        "packs": [_encode_pack_ref(pack) for pack in manifest.chain.packs],
        "details": encode_details(manifest.details),
    }
    return canonical(line) + b"\n" + manifest.inline


def _encode_base(base: Base) -> object:
    return {
        "content": base.content,
        "files": [
            {"path": file.path, "digest": file.digest, "parts": [_encode_part(part) for part in file.parts]}
            for file in base.files
        ],
    }


def _encode_part(part: BasePart) -> object:
    return {"size": part.size, "raw": part.raw, "object": part.object, "stored_bytes": part.stored_bytes}


def _encode_pack_ref(pack: PackRef) -> object:
    return {
        "before": pack.before,
        "after": pack.after,
        "stored_bytes": pack.stored_bytes,
        "digest": pack.digest,
        "carrier": pack.carrier,
    }


def _encode_ref(ref: ManifestRef | None) -> object:
    return None if ref is None else {"name": ref.name, "digest": ref.digest}


def decode_manifest(data: bytes, ref: ManifestRef) -> Manifest:
    """Return the manifest that *data* holds, having proven that it is the one that *ref* names.

    Raises:
        Corrupt: It has another digest, is not as specified, or says that it is another manifest.
        BadInput: A newer version of this library wrote it.
    """
    if digest_of(data) != ref.digest:
        raise Corrupt(f"{ref.name} is not the manifest that was published", hint=PAST_DAMAGE)
    manifest = parse_manifest(data)
    if manifest.name != ref.name:
        raise Corrupt(f"{ref.name} says that it is {manifest.name}", hint=PAST_DAMAGE)
    return manifest


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest that *data* holds, which nobody vouches for.

    Raises:
        Corrupt: It is not as specified.
        BadInput: A newer version of this library wrote it.
    """
    line, newline, inline = data.partition(b"\n")
    if len(data) > LARGEST_BYTES or not newline:
        raise Corrupt("a manifest is cut off, or too long", hint=PAST_DAMAGE)
    fields = Fields(parse_json(line, "a manifest"), "a manifest")
    if fields.text("format", longest=64) != FORMAT:
        raise Corrupt("an object is no manifest", hint=PAST_DAMAGE)
    check_format("a manifest", fields.integer("format_version", 1, 1 << 31))
    try:
        manifest = _decode_fields(fields, inline)
    except ValueError as problem:
        raise Corrupt(f"a manifest contradicts itself: {problem}", hint=PAST_DAMAGE) from problem
    if encode_manifest(manifest) != data:
        raise Corrupt("a manifest is not in the one spelling that the format has", hint=PAST_DAMAGE)
    return manifest


def _decode_fields(fields: Fields, inline: bytes) -> Manifest:
    base = fields.object("base")
    chain = Chain(
        Base(tuple(_decode_base_file(file) for file in base.objects("files", limit=_MOST_FILES))),
        tuple(_decode_pack_ref(pack) for pack in fields.objects("packs", limit=_MOST_PACKS)),
    )
    if base.parsed("content", parse_digest) != chain.base.content:
        raise ValueError("the base has another content digest than its files make")
    content = fields.parsed("content", parse_digest)
    manifest = Manifest(
        collection=fields.parsed("collection", parse_collection),
        version=Version(fields.integer("version", 1, (1 << 64) - 1)),
        era=Era.parse(fields.text("era", longest=64)),
        write_id=fields.parsed("write_id", parse_id),
        parent=_decode_ref(fields.optional("parent")),
        source=_decode_ref(fields.optional("source")),
        files=tuple(_decode_file(file) for file in fields.objects("files", limit=_MOST_FILES)),
        chain=chain,
        details=decode_details(fields.object("details")),
        stored_bytes=fields.integer("stored_bytes", 0, _MOST_BYTES),
        written_at=fields.parsed("written_at", parse_time),
        writer=fields.text("writer", longest=256),
        inline=inline,
    )
    if manifest.content != content:
        raise ValueError("it has another content digest than its files make")
    for part in (base, fields):
        part.done()
    return manifest


def _decode_ref(fields: Fields | None) -> ManifestRef | None:
    if fields is None:
        return None
    ref = ManifestRef(fields.text("name", longest=1_024), fields.parsed("digest", parse_digest))
    fields.done()
    return ref


def _decode_file(fields: Fields) -> FileEntry:
    entry = FileEntry(
        fields.parsed("path", parse_path),
        fields.integer("size", 0, _LARGEST_FILE),
        fields.parsed("digest", parse_digest),
    )
    fields.done()
    return entry


def _decode_base_file(fields: Fields) -> BaseFile:
    parts = tuple(_decode_part(part) for part in fields.objects("parts", limit=_MOST_PARTS))
    file = BaseFile(fields.parsed("path", parse_path), fields.parsed("digest", parse_digest), parts)
    fields.done()
    return file


def _decode_part(fields: Fields) -> BasePart:
    part = BasePart(
        fields.integer("size", 1, PART_BYTES),
        fields.parsed("raw", parse_digest),
        fields.text("object", longest=1_024),
        fields.integer("stored_bytes", 1, 2 * PART_BYTES),
    )
    fields.done()
    return part


def _decode_pack_ref(fields: Fields) -> PackRef:
    pack = PackRef(
        fields.parsed("before", parse_digest),
        fields.parsed("after", parse_digest),
        fields.integer("stored_bytes", 1, LARGEST_PACK),
        fields.parsed("digest", parse_digest),
        fields.text("carrier", longest=1_024),
    )
    fields.done()
    return pack
