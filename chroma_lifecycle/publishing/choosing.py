"""Which version is meant: the newest, the one of a moment, the one of a name."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from chroma_lifecycle.errors import PAST_DAMAGE, BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.history import walk
from chroma_lifecycle.publishing.published import Published, read_manifest, read_published
from chroma_lifecycle.publishing.shard import whole_of
from chroma_lifecycle.publishing.unpack import Stores, find_manifest, restore_directory
from chroma_lifecycle.snapshot.manifest import Manifest


def version_at(store: Store, head: Head, moment: datetime) -> Manifest:
    """Return the version that was the newest at *moment*, as the versions themselves tell the time.

    Raises:
        BadInput: There was none yet, or it is not there any more.
    """
    oldest = None
    for _, manifest in walk(store, head):
        if manifest.written_at <= moment:
            return manifest
        oldest = manifest
    assert oldest is not None  # HEAD's own version, at least
    raise BadInput(
        f"no version of {head.collection} that is there is as old as {moment:%Y-%m-%d %H:%M:%S} UTC: the oldest is "
        f"version {oldest.version.number}, of {oldest.written_at:%Y-%m-%d %H:%M:%S}",
        hint="`chroma-lifecycle log --all` lists them, with the pinned ones"
        + (
            "; a shard's history begins with the reshard that made it, what was before is in the shards before it"
            if whole_of(head.collection)
            else ""
        ),
    )


def restore_newest(directory: Path, stores: Stores, collection: str) -> Manifest:
    """Make *directory* of the newest version; one that is swept meanwhile is replaced by the newest then.

    Raises:
        Corrupt: An object is damaged or missing; nothing is left behind.
    """
    while True:
        published = read_published(stores.store, collection)
        try:
            restore_directory(directory, published.manifest, stores)
        except ObjectMissing as missing:
            if read_published(stores.store, collection).head.manifest == published.head.manifest:
                raise Corrupt(f"{missing.message}, and HEAD needs it", hint=PAST_DAMAGE) from missing
        else:
            return published.manifest


def version_named(store: Store, published: Published, name: str) -> Manifest:
    """Return the version that *name* means: a number, ``latest``, or the name of a pin.

    Raises:
        BadInput: There is none, or it is not there any more.
    """
    if re.fullmatch("[1-9][0-9]{0,18}", name):
        return find_manifest(store, published, int(name))
    if ref := published.head.pins.get(name):
        return read_manifest(store, ref)
    if name == "latest":
        return published.manifest
    pins = ", ".join(sorted(published.head.pins)) or "none"
    raise BadInput(
        f"{name!r} is no version of {published.collection}",
        hint=f"give a number from `chroma-lifecycle log`, latest, or a pin (there is {pins})",
    )
