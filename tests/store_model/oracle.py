"""What a store of the model holds, read as docs/format.md says, with none of the code that is judged.

A version needs its manifest, the blocks of its base, and the carriers of its packs. HEAD keeps the versions from
the newest down the parents to the floor, and those that are pinned, or were until lately.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import zstandard

from tests.support.memory_store import MemoryStore
from tests.support.snapshots import COLLECTION

HEAD = f"{COLLECTION}/HEAD"
_LARGEST_BYTES = 16 << 20
_ID = "[0-9a-f]{16}"
_ERA = rf"(?P<lineage>{_ID})\.(?P<sweeps>\d+)"
_MANIFEST = re.compile(rf"{COLLECTION}/manifests/(?P<version>{_ID})-{_ERA}-{_ID}\.json")
_OBJECT = re.compile(rf"{COLLECTION}/objects/{_ERA}/(?P<two>[0-9a-f]{{2}})/(?P=two)[0-9a-f]{{62}}")


class Violation(AssertionError):
    """A promise of the store is broken."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A manifest by its name and the digest of what it says."""

    name: str
    digest: str

    @property
    def version(self) -> int:
        named = _MANIFEST.fullmatch(self.name)
        assert named, self.name
        return int(named["version"], 16)


@dataclass(frozen=True, slots=True)
class Kept:
    """What HEAD says of what lives."""

    lineage: str
    sweeps: int
    version: int
    floor: int
    manifest: Ref
    pins: dict[str, Ref]
    unpinned: frozenset[Ref]
    came_from: tuple[str, ...]
    moved_to: str | None


def era_of(name: str) -> tuple[str, int] | None:
    """Return the lineage and the sweeps that the name of a manifest, a block or a pack says; of others nothing."""
    named = _MANIFEST.fullmatch(name) or _OBJECT.fullmatch(name)
    return (named["lineage"], int(named["sweeps"])) if named else None


def kept_in(store: MemoryStore) -> Kept | None:
    """Return what HEAD says, if there is one."""
    held = store.objects.get(HEAD)
    if held is None:
        return None
    said = json.loads(held.data)
    return Kept(
        said["lineage"],
        said["sweeps"],
        said["version"],
        said["floor"],
        Ref(**said["manifest"]),
        {each["pin"]: Ref(**each["manifest"]) for each in said["pins"]},
        frozenset(Ref(**each["manifest"]) for each in said["unpinned"]),
        tuple(said["came_from"]),
        said["moved_to"],
    )


def history(store: MemoryStore, head: Kept) -> Iterator[Ref]:
    """Yield the versions from the newest down to the floor."""
    ref: Ref | None = head.manifest
    while ref is not None and ref.version >= head.floor:
        yield ref
        parent = _manifest(store, ref)["parent"]
        ref = Ref(**parent) if parent else None


def needed_by(store: MemoryStore, head: Kept) -> frozenset[str]:
    """Return every name that the versions need that HEAD keeps; all of them are there."""
    needed: set[str] = set()
    for ref in {*history(store, head), *head.pins.values(), *head.unpinned}:
        manifest = _manifest(store, ref)
        needed |= {ref.name, *(pack["carrier"] for pack in manifest["packs"])}
        needed |= {part["object"] for file in manifest["base"]["files"] for part in file["parts"]}
    if missing := needed - store.objects.keys():
        raise Violation(f"needed, and missing from the {store.address}: {sorted(missing)}")
    return frozenset(needed)


def _manifest(store: MemoryStore, ref: Ref) -> dict[str, Any]:
    held = store.objects.get(ref.name)
    if held is None:
        raise Violation(f"a retained manifest is gone from the {store.address}: {ref.name}")
    digest, said = _read(held.data)
    if digest != ref.digest:
        raise Violation(f"a retained manifest in the {store.address} is not the one that is referred to: {ref.name}")
    return said


@lru_cache(maxsize=4_096)
def _read(stored: bytes) -> tuple[str, dict[str, Any]]:
    """Return the digest of what a manifest says, and its fields."""
    begin, _, rest = stored.partition(b"\n")
    length = int(begin.removeprefix(b"chroma-lifecycle manifest 1 "))
    line = zstandard.ZstdDecompressor().decompress(rest[:length], max_output_size=_LARGEST_BYTES)
    return sha256(line + rest[length:]).hexdigest(), json.loads(line)
