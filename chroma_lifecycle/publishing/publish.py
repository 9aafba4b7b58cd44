"""Publishing a sealed snapshot: the numbered lines of :func:`publish` are the order that is safe.

A crash between any two of them leaves the old HEAD valid, and some objects that nobody names.
Nothing here deletes.
"""

from __future__ import annotations

from collections.abc import Callable

from chroma_lifecycle.clock import Clock, Deadline, new_id
from chroma_lifecycle.errors import Corrupt, HeadMoved, LifecycleError, Retryable
from chroma_lifecycle.logs import Log
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.publishing.publication import Place, Publication, already_initialised
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.swap import Lost, require_landed
from chroma_lifecycle.snapshot.details import Details
from chroma_lifecycle.snapshot.image import Image, file_changes, read_image, read_pack
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import ManifestRef
from chroma_lifecycle.snapshot.pack import LARGEST_RAW_BYTES, encode_pack
from chroma_lifecycle.snapshot.pristine import LocalVersion, Pristine
from chroma_lifecycle.snapshot.sealed import SealedSnapshot
from chroma_lifecycle.snapshot.working import unwritten
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import Era, Version

__all__ = ["Published", "initialise", "publish"]

log = Log(__name__)

_ATTEMPTS = 5
# What writing the manifest and moving HEAD should be given.
_SECONDS_FOR_THE_SWAP = 1.0


def publish(
    sealed: SealedSnapshot,
    *,
    parent: Published,
    details: Details,
    workspace: Workspace,
    store: Store,
    deadline: Deadline,
    clock: Clock,
    writer: str,
    source: tuple[ManifestRef, Manifest] | None = None,
    whole: bool = False,
    amend: Callable[[Head], Head] = lambda head: head,
) -> Published:
    """Make *sealed*, which was made from *parent*, the next version.

    A swap that was lost to a HEAD of the same content (a pin, an expiry, a sweep, a new base) is
    done again on that HEAD. In every other case the caller restores, plans and applies again.

    Args:
        sealed: Its files.
        parent: The version that it follows, and the HEAD that is to be replaced.
        details: What it says of itself.
        workspace: Holds the copy of *parent*, and gets that of the new version.
        store: Where it goes.
        deadline: With too little left, nothing is begun.
        clock: Tells the time, for people.
        writer: Who publishes, for people.
        whole: As a base, however little differs.
        amend: Changes what else the new HEAD decides; asked again with each newer HEAD, it refuses by raising.
        source: An older version that the HEAD of *parent* retains, if *sealed* was made from that one
            instead (a rollback). Then a newer HEAD may have condemned it, and no lost swap is done again.

    Raises:
        HeadMoved: Another version was published meanwhile.
        OutcomeUnknown: This version may or may not have been published.
        Retryable: The store is away, time is short, or the local copy turned out to be damaged.
        BadInput: The store has moved to another address.
    """
    publication = Publication(store, parent.collection, deadline, clock, writer, amend)
    source_ref, origin = source or (None, None)
    # 1. Digest the pages that changed. Nothing is sent yet.
    before = origin or parent.manifest
    image, pack = (_hash(sealed), None) if whole else _compare(sealed, workspace.pristine, before)
    for _ in range(_ATTEMPTS):
        deadline.require(_SECONDS_FOR_THE_SWAP, "publishing a version")
        place = publication.place_after(parent)
        # 2. The objects: immutable, and named by nobody.
        content = publication.store_objects(place, image, pack, origin or parent.manifest)
        # 3. The manifest: immutable, and named by nobody.
        manifest = publication.store_manifest(place, image.entries, content, details, source_ref)
        # 4. HEAD: the only visible step.
        outcome = publication.move_head(manifest, parent)
        if isinstance(outcome, Lost) and origin is None and (newer := publication.same_content(outcome.newest, parent)):
            parent = newer
            continue
        newest = require_landed(outcome)
        # 5. What is derived: the local copy.
        _follow(sealed, image, manifest, workspace)
        return Published(newest, manifest)
    raise HeadMoved(
        f"HEAD of {parent.collection} was moved {_ATTEMPTS} times while a version was published",
        hint="run the batch again; if it keeps happening, find out who moves it: `chroma-lifecycle log`",
    )


def initialise(
    sealed: SealedSnapshot,
    *,
    collection: str,
    details: Details,
    workspace: Workspace,
    store: Store,
    deadline: Deadline,
    clock: Clock,
    writer: str,
    lineage: str | None = None,
) -> Published:
    """Begin a lineage: make *sealed* version 1 of *collection*.

    Args:
        lineage: Its id, for one who begins the same again after a crash; by default a new one.

    Raises:
        BadInput: There is a HEAD, or a manifest that an earlier one left.
        OutcomeUnknown: HEAD may or may not have been made.
    """
    publication = Publication(store, collection, deadline, clock, writer)
    publication.require_empty(but_for=lineage)
    place = Place(collection, Version(1), Era(lineage or new_id(), 0), new_id(), None)
    image = _hash(sealed)  # 1. digest every page
    content = publication.store_objects(place, image, None, None)  # 2. objects
    manifest = publication.store_manifest(place, image.entries, content, details)  # 3. manifest
    outcome = publication.move_head(manifest, None)  # 4. HEAD
    if isinstance(outcome, Lost):
        raise already_initialised(collection, store, outcome.newest.head)
    newest = require_landed(outcome)
    _follow(sealed, image, manifest, workspace)  # 5. the local copy
    return Published(newest, manifest)


# 1. What changed.


def _hash(sealed: SealedSnapshot) -> Image:
    """Return what *sealed* holds, beside nothing."""
    return read_image(sealed.files, sealed.root, {}, frozenset())


def _compare(sealed: SealedSnapshot, pristine: Pristine, parent: Manifest) -> tuple[Image, bytes | None]:
    """Return what *sealed* holds, and the pack that leads there from the local copy.

    There is none where a base is due: the copy is not the content that *parent* has, or too much changed. A full
    upload is always correct; a pack is made only from a copy that is proven.
    """
    local = pristine.version()
    if local is None or local.manifest.content != parent.content:
        if sealed.untouched:
            raise Retryable(
                f"the local copy is no longer the version that {sealed.root} was made from",
                hint="run the batch again: the workspace is restored first",
            )
        return _hash(sealed), None
    # A file that nobody wrote to is not read. Now and then every byte is compared all the same.
    unread = frozenset() if sealed.soundness.full else unwritten(sealed.root, local.manifest.files)
    given = sealed.files, pristine.root, local.pages, sealed.untouched | unread
    size = sum(place.stat().st_size for place in sealed.files.values())
    try:
        made = read_pack(*given, most_bytes=min(size // 2, LARGEST_RAW_BYTES // 2))
    except Corrupt as damage:
        # Then the working copy was made from damaged bytes, and nothing of it may be published.
        pristine.forget()
        raise Retryable(
            f"the local copy of the version was damaged: {damage.message}",
            hint="run the batch again: the workspace is restored first; if it happens again, check the disk",
        ) from damage
    if made is None:
        return read_image(*given), None
    image, pack = made
    return image, encode_pack(pack)


# 5. What is derived.


def _follow(sealed: SealedSnapshot, image: Image, manifest: Manifest, workspace: Workspace) -> None:
    """Bring the local copy to the version that was written (not to a HEAD that was read since)."""
    pristine, version = workspace.pristine, LocalVersion.of(manifest, image.after)
    try:
        if not image.before:
            pristine.adopt(sealed.root, version)
            return
        change = pristine.change(manifest)
        change.make(file_changes(image))
        change.finish(version)
        if not sealed.untouched:
            workspace.keep(sealed.root, manifest.files)
    except LifecycleError as problem:
        # The version is published, whatever becomes of the copy: it has no stamp, or still the
        # old one, and the next cycle restores or brings it forward.
        log.warning("local copy not brought forward", collection=manifest.collection, problem=problem.message)
