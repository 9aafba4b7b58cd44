"""What is published: HEAD as it was read, and the manifest that it names."""

from __future__ import annotations

from dataclasses import dataclass

from chroma_lifecycle.errors import Corrupt, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head, SeenHead, read_head
from chroma_lifecycle.snapshot.manifest import LARGEST_BYTES, Manifest, decode_manifest
from chroma_lifecycle.snapshot.manifest_object import said_by
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.snapshot.pristine import LocalVersion

_ATTEMPTS = 4
_NEWEST = (
    "`chroma-lifecycle recover --mirror DIRECTORY` brings it back from a mirror; without one `chroma-lifecycle "
    "recover` takes the version before; `chroma-lifecycle restore --fallback` goes past it"
)


@dataclass(frozen=True, slots=True)
class Published:
    """A version, and the HEAD from which work on it starts.

    Attributes:
        seen: HEAD, and what a swap of it expects.
        manifest: The version. It is HEAD's, unless others have published on top of what we
            published before we could look.
    """

    seen: SeenHead
    manifest: Manifest

    @property
    def head(self) -> Head:
        return self.seen.head

    @property
    def collection(self) -> str:
        return self.seen.head.collection


def read_published(
    store: Store, collection: str, *, local: LocalVersion | None = None, known: Published | None = None
) -> Published:
    """Return the newest version.

    Args:
        store: Where it is.
        collection: Whose.
        local: The version on the local disk: if HEAD names it, nothing but HEAD is read.
        known: What this returned before. While HEAD is the same, it is returned itself, and a store
            answers that without sending HEAD (S3: a 304).

    Raises:
        NotInitialised: There is no HEAD.
        BadInput: The store has moved, or a newer version of this library wrote HEAD or manifest.
        Corrupt: HEAD or the manifest is damaged, or the manifest is not there.
        StoreUnavailable: The store does not answer.
    """
    for _ in range(_ATTEMPTS):
        seen = read_head(store, collection, known=known.seen if known else None)
        if known is not None and seen is known.seen:
            return known
        seen.head.require_here()
        if local is not None and local.digest == seen.head.manifest.digest:
            return Published(seen, local.manifest)
        try:
            return Published(seen, read_manifest(store, seen.head.manifest))
        except ObjectMissing as problem:
            # Swept since HEAD was read? Then HEAD is another one by now.
            missing = problem
            if read_head(store, collection).token == seen.token:
                raise Corrupt(
                    f"HEAD of {collection} names {seen.head.manifest.name}, which is not in {store.address}",
                    hint="check that the store is whole (a copy may have stopped half-way); then run "
                    "`chroma-lifecycle recover`",
                ) from problem
        except Corrupt as problem:
            raise Corrupt(problem.message, hint=_NEWEST) from problem
    raise missing


def read_manifest(store: Store, ref: ManifestRef) -> Manifest:
    """Return the manifest that *ref* names, having proven that it is that one.

    Raises:
        ObjectMissing: It is not there.
        Corrupt: It is not the one that was published.
        BadInput: A newer version of this library wrote it.
    """
    return decode_manifest(said_by(store.read(ref.name, limit_bytes=LARGEST_BYTES), ref.name), ref)
