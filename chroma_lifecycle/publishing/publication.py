"""The parts of a publication, each a step of its own: where it stands, its objects, its manifest, HEAD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chroma_lifecycle.clock import Clock, Deadline, new_id
from chroma_lifecycle.errors import BadInput, HeadMoved, Sharded
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.beside import require_no_shards
from chroma_lifecycle.publishing.head import Head, SeenHead, find_head
from chroma_lifecycle.publishing.published import Published, read_manifest
from chroma_lifecycle.publishing.swap import Outcome, swap
from chroma_lifecycle.publishing.transfer import Progress, no_progress
from chroma_lifecycle.publishing.upload import BaseUpload
from chroma_lifecycle.snapshot.chain import LONGEST_CHAIN, Base, Chain, PackRef
from chroma_lifecycle.snapshot.details import Details
from chroma_lifecycle.snapshot.files import FileEntry, content_digest
from chroma_lifecycle.snapshot.image import Image
from chroma_lifecycle.snapshot.manifest import INLINE_BYTES, Manifest, encode_manifest
from chroma_lifecycle.snapshot.manifest_object import manifest_object
from chroma_lifecycle.snapshot.names import ManifestRef, Names
from chroma_lifecycle.snapshot.pages import PageTable
from chroma_lifecycle.values import Era, Version, digest_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version will stand: its name is known before its bytes."""

    collection: str
    version: Version
    era: Era
    write_id: str
    parent: ManifestRef | None

    @property
    def manifest_name(self) -> str:
        return Names(self.collection).manifest(self.version, self.era, self.write_id)


@dataclass(frozen=True, slots=True)
class Content:
    """How the content is made, and how many bytes were stored for it."""

    chain: Chain
    stored_bytes: int
    inline: bytes = b""


@dataclass(frozen=True, slots=True)
class Publication:
    """What sends the parts of one publication.

    Attributes:
        amend: Changes what else the new HEAD decides; it refuses by raising.
    """

    store: Store
    collection: str
    deadline: Deadline
    clock: Clock
    writer: str
    amend: Callable[[Head], Head] = lambda head: head

    def require_empty(self, *, but_for: str | None = None) -> None:
        """Refuse to begin a lineage beside another, or on what is left of one; *but_for* what is left of its own."""
        try:
            seen = find_head(self.store, self.collection)
        except Sharded:
            raise already_initialised(self.collection, self.store) from None
        if seen is not None:
            raise already_initialised(self.collection, self.store, seen.head)
        require_no_shards(self.store, self.collection)
        names = Names(self.collection)
        for left in self.store.list(names.all_manifests):
            if but_for is not None and (era := names.era_of(left.name)) and era.lineage == but_for:
                continue
            raise BadInput(
                f"collection {self.collection} has no HEAD in {self.store.address}, but there is {left.name}",
                hint="run `chroma-lifecycle recover` if HEAD was deleted; if an `init` was cut off and nothing "
                f"else is there, remove {self.collection}/ from the store and run it again",
            )

    def place_after(self, parent: Published) -> Place:
        """Return a place of its own for each attempt: a name is never written twice with other bytes.

        Raises:
            HeadMoved: HEAD names another version than the one that was handed over.
        """
        head = parent.head
        if head.manifest.name != parent.manifest.name:
            raise HeadMoved(
                f"HEAD of {self.collection} is at version {head.version.number}, the work started from "
                f"{parent.manifest.version.number}",
                hint="run the batch again: it starts from the new HEAD",
            )
        return Place(self.collection, head.version.next(), head.era, new_id(), head.manifest)

    def store_objects(self, place: Place, image: Image, pack: bytes | None, parent: Manifest | None) -> Content:
        """Store what the version needs and the store lacks.

        What a manifest may name: what the HEAD that it replaces retains (here: the chain of its
        version), and what lies in that HEAD's own era. Nothing else, found or not.
        """
        if parent is not None and content_digest(image.entries) == parent.content:
            return Content(parent.chain, 0)
        if pack is None or parent is None or len(parent.chain.packs) >= LONGEST_CHAIN:
            return self.store_base(place, image.files, image.after, parent.chain.base if parent else None)
        inline = len(pack) <= INLINE_BYTES
        carrier = place.manifest_name if inline else Names(self.collection).object(place.era, digest_of(pack))
        if not inline:
            self.store.write(carrier, pack)
        ref = PackRef(parent.content, content_digest(image.entries), len(pack), digest_of(pack), carrier)
        return Content(Chain(parent.chain.base, (*parent.chain.packs, ref)), len(pack), pack if inline else b"")

    def store_base(
        self,
        place: Place,
        files: Mapping[str, Path],
        pages: PageTable,
        reusable: Base | None,
        progress: Progress = no_progress,
    ) -> Content:
        """Store *files* as a base; a part that is in the base *reusable* keeps its name."""
        upload = BaseUpload(self.store, Names(self.collection), place.era, reusable, self.deadline, progress)
        base, stored_bytes = upload.send(files, pages)
        return Content(Chain(base), stored_bytes)

    def store_manifest(
        self,
        place: Place,
        files: tuple[FileEntry, ...],
        content: Content,
        details: Details,
        source: ManifestRef | None = None,
    ) -> Manifest:
        """Store the manifest of a version that holds *files*; *source* is what it took them from, if not its parent."""
        manifest = Manifest(
            collection=self.collection,
            version=place.version,
            era=place.era,
            write_id=place.write_id,
            parent=place.parent,
            source=source,
            files=files,
            chain=content.chain,
            details=details,
            stored_bytes=content.stored_bytes,
            written_at=self.clock.now(),
            writer=self.writer,
            inline=content.inline,
        )
        self.store.write(manifest.name, manifest_object(manifest))
        return manifest

    def move_head(self, manifest: Manifest, parent: Published | None) -> Outcome:
        """Swap HEAD, carrying over everything else that the old one decides.

        Raises:
            Retryable: The shard is closed, since a reshard hands over.
        """
        if parent is not None:
            parent.head.require_open()
        ref = ManifestRef(manifest.name, digest_of(encode_manifest(manifest)))
        head = self._first_head(ref) if parent is None else self._next_head(parent.head, ref)
        expected = parent.seen if parent else None
        return swap(self.store, head, expected, parent_of=self._parent_of, deadline=self.deadline)

    def _first_head(self, ref: ManifestRef) -> Head:
        return Head(
            collection=self.collection,
            lineage=ref.era.lineage,
            serial=1,
            swap_id=new_id(),
            manifest=ref,
            sweeps=0,
            floor=ref.version,
            written_at=self.clock.now(),
            writer=self.writer,
        )

    def _next_head(self, head: Head, ref: ManifestRef) -> Head:
        new = head.next(swap_id=new_id(), written_at=self.clock.now(), writer=self.writer)
        return self.amend(replace(new, manifest=ref, holds=None))

    def _parent_of(self, ref: ManifestRef) -> ManifestRef | None:
        return read_manifest(self.store, ref).parent

    def same_content(self, newest: SeenHead, parent: Published) -> Published | None:
        """Return *newest* if its version has the content that the work started from."""
        newest.head.require_here()
        if newest.head.manifest == parent.head.manifest:
            return Published(newest, parent.manifest)
        manifest = read_manifest(self.store, newest.head.manifest)
        return Published(newest, manifest) if manifest.content == parent.manifest.content else None


def already_initialised(collection: str, store: Store, head: Head | None = None) -> BadInput:
    """Return the refusal to begin a collection where there is one: with a HEAD, or a layout."""
    what = f": version {head.version.number}, written by {head.writer}" if head else ""
    return BadInput(
        f"collection {collection} is already initialised in {store.address}{what}",
        hint="use another collection or store; to see what is there: `chroma-lifecycle status`",
    )
