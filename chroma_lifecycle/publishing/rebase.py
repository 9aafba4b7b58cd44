"""Re-basing: giving a long chain a new base, so that a restore reads no more than the content.

It costs what changed since the old base, in whole parts, so it is no work for a cycle that is
short of time. It publishes a version of the same content.
"""

from __future__ import annotations

from dataclasses import replace

from chroma_lifecycle.clock import Clock, Deadline
from chroma_lifecycle.errors import HeadMoved, Retryable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.publication import Content, Publication
from chroma_lifecycle.publishing.published import Published, read_manifest
from chroma_lifecycle.publishing.swap import Lost, require_landed
from chroma_lifecycle.publishing.transfer import Progress, no_progress
from chroma_lifecycle.snapshot.chain import Chain
from chroma_lifecycle.snapshot.details import Summary
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.pristine import LocalVersion
from chroma_lifecycle.snapshot.sealed import seal
from chroma_lifecycle.snapshot.workspace import Workspace

_ATTEMPTS = 5


def rebase(
    workspace: Workspace,
    published: Published,
    *,
    store: Store,
    deadline: Deadline,
    clock: Clock,
    writer: str,
    progress: Progress = no_progress,
) -> Published:
    """Publish the content of *published*, which the workspace holds, with a new base.

    Versions that others publish meanwhile do not starve it: the finished base is landed under the
    newest one, followed by the packs since, as long as its chain passes through this content.

    Raises:
        HeadMoved: Another writer gave it a new base, or HEAD's chain does not pass through this
            content any more; nothing is lost.
        Corrupt: The local copy is damaged, and its stamp is taken away; or what was published is not sound.
        OutcomeUnknown: It may or may not have been published.
        NoTime, StoreUnavailable, Retryable: What was sent is found again by the next attempt.
    """
    publication = Publication(store, published.collection, deadline, clock, writer)
    # 1. Every byte and every page of the copy is looked at: this is the time for it.
    local = _proven_copy(workspace, published.manifest)
    files = seal(workspace.pristine.root, full=True).files
    onto, era, base = _newest(published, store), None, None
    for _ in range(_ATTEMPTS):
        if onto.manifest.chain.base != published.manifest.chain.base:
            raise HeadMoved(
                f"another writer gave {published.collection} a new base: version {onto.manifest.version.number} has it",
                hint="nothing to do",
            )
        place = publication.place_after(onto)
        if base is None or era != place.era:
            # 2. The objects; again after a sweep, since names of an older era may be condemned.
            reusable = onto.manifest.chain.base
            base, era = publication.store_base(place, files, local.pages, reusable, progress), place.era
        # 3. The manifest: the new base, then the packs that came since.
        content = _continued(base, local.manifest, onto.manifest)
        verified = onto.manifest.content == local.manifest.content or onto.manifest.details.verified
        details = replace(onto.manifest.details, summary=Summary("rebase"), verified=verified, milliseconds={})
        manifest = publication.store_manifest(place, onto.manifest.files, content, details)
        # 4. HEAD.
        outcome = publication.move_head(manifest, onto)
        if isinstance(outcome, Lost):
            onto = _newest(Published(outcome.newest, onto.manifest), store)
            continue
        newest = require_landed(outcome)
        # 5. The local copy, if it holds exactly this content.
        if manifest.content == local.manifest.content:
            workspace.pristine.relabel(LocalVersion.of(manifest, local.pages))
        return Published(newest, manifest)
    raise HeadMoved(f"HEAD of {published.collection} was moved {_ATTEMPTS} times", hint="re-base at a quieter time")


def _newest(published: Published, store: Store) -> Published:
    """Return the version that the HEAD of *published* names: others may have published on top of it."""
    ref = published.head.manifest
    return published if ref.name == published.manifest.name else Published(published.seen, read_manifest(store, ref))


def _proven_copy(workspace: Workspace, manifest: Manifest) -> LocalVersion:
    workspace.pristine.hash_again()
    local = workspace.pristine.version()
    if local is None or local.manifest.content != manifest.content:
        raise Retryable(
            f"{workspace.root} does not hold version {manifest.version.number} of {manifest.collection}",
            hint="run it again: the workspace is restored first",
        )
    return local


def _continued(base: Content, local: Manifest, onto: Manifest) -> Content:
    """Return how the content of *onto* is made from a base of the content of *local*."""
    if (packs := onto.chain.after(local.content)) is None:
        raise HeadMoved(
            f"version {onto.version.number} of {onto.collection} does not continue version {local.version.number}",
            hint="nothing to do: the next version that is due for a new base gets one",
        )
    return Content(Chain(base.chain.base, packs), base.stored_bytes)
