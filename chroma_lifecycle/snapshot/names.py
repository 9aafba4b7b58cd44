"""Every object name below the root of a store. No other module spells one.

A name that comes from outside (a listing, a manifest, HEAD) is taken only if it is exactly
what this module would spell for the same collection; so a hostile one leads nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

from chroma_lifecycle.values import Digest, Era, Version, parse_collection, parse_digest, parse_id

UNFINISHED = ".unfinished"
"""Directory of a collection, in a directory only, in which files are written before they get their names."""


@dataclass(frozen=True, slots=True)
class ManifestName:
    """What the name of a manifest says: its version, its era, and the publication that wrote it."""

    version: Version
    era: Era
    write_id: str


@dataclass(frozen=True, slots=True)
class ObjectName:
    """What the name of a block says: its era, and the digest of its stored bytes."""

    era: Era
    digest: Digest


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one collection's objects, relative to the root of a store, with ``/``."""

    collection: str

    def __post_init__(self) -> None:
        parse_collection(self.collection)

    @property
    def head(self) -> str:
        return f"{self.collection}/HEAD"

    @property
    def everything(self) -> str:
        """Prefix of all that belongs to the collection."""
        return f"{self.collection}/"

    @property
    def lock(self) -> str:
        """The file that swaps lock; in a directory only."""
        return f"{self.collection}/.lock"

    @property
    def all_heads(self) -> str:
        """Prefix of every HEAD that was made; in a directory only."""
        return f"{self.collection}/heads/"

    @property
    def all_manifests(self) -> str:
        """Prefix of every manifest, those of lost swaps included."""
        return f"{self.collection}/manifests/"

    @property
    def all_objects(self) -> str:
        """Prefix of every block."""
        return f"{self.collection}/objects/"

    def objects_of(self, era: Era) -> str:
        """Return the prefix of the blocks of *era*."""
        return f"{self.all_objects}{era}/"

    def heads(self, serial: int) -> str:
        if not 0 < serial < 1 << 64:
            raise ValueError(f"a serial is a number from 1 on, got {serial}")
        return f"{self.all_heads}{serial:016x}"

    def manifest(self, version: Version, era: Era, write_id: str) -> str:
        return f"{self.all_manifests}{version}-{era}-{write_id}.json"

    def object(self, era: Era, digest: Digest) -> str:
        return f"{self.objects_of(era)}{digest[:2]}/{digest}"

    def is_unfinished(self, name: str) -> bool:
        """Return whether a file has not got its name yet."""
        return name.startswith(f"{self.collection}/{UNFINISHED}/")

    def era_of(self, name: str) -> Era | None:
        """Return the era that the name of a manifest or a block says, or ``None`` for any other name."""
        parts = self.parse_manifest_name(name) or self.parse_object_name(name)
        return parts.era if parts else None

    def parse_head_name(self, name: str) -> int | None:
        """Return the serial of a file in ``heads/``, or ``None`` for any other name."""
        try:
            serial = Version.parse(name.removeprefix(self.all_heads)).number
        except ValueError:
            return None
        return serial if name == self.heads(serial) else None

    def parse_manifest_name(self, name: str) -> ManifestName | None:
        """Return what the name of a manifest says, or ``None`` for any other name."""
        stem = name.removeprefix(self.all_manifests).removesuffix(".json")
        try:
            version, era, write_id = stem.split("-")
            parsed = ManifestName(Version.parse(version), Era.parse(era), parse_id(write_id))
        except ValueError:
            return None
        return parsed if name == self.manifest(parsed.version, parsed.era, parsed.write_id) else None

    def parse_object_name(self, name: str) -> ObjectName | None:
        """Return what the name of a block says, or ``None`` for any other name."""
        era, _, rest = name.removeprefix(self.all_objects).partition("/")
        try:
            parsed = ObjectName(Era.parse(era), parse_digest(rest[3:]))
        except ValueError:
            return None
        return parsed if name == self.object(parsed.era, parsed.digest) else None


def collection_of(name: str) -> str:
    """Return the collection to which an object of this name belongs; it may be no valid one."""
    return name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """A manifest by its name and the SHA-256 of its bytes.

    The name says the version and who published it, so a chain of parents can be judged
    by its references; whoever reads a manifest checks that it says the same inside.

    Raises:
        ValueError: The name is not that of a manifest, or the digest is none.
    """

    name: str
    digest: Digest

    def __post_init__(self) -> None:
        parse_digest(self.digest)
        if Names(collection_of(self.name)).parse_manifest_name(self.name) is None:
            raise ValueError(f"not the name of a manifest: {self.name!r}")

    @property
    def collection(self) -> str:
        return collection_of(self.name)

    @property
    def parts(self) -> ManifestName:
        parts = Names(self.collection).parse_manifest_name(self.name)
        assert parts is not None  # checked when this was made
        return parts

    @property
    def version(self) -> Version:
        return self.parts.version

    @property
    def era(self) -> Era:
        return self.parts.era

    @property
    def write_id(self) -> str:
        return self.parts.write_id
