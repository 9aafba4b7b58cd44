"""Restoring: bringing a workspace, or a plain directory, to what is published.

Everything is proven before anybody opens it, and put into place by one rename: what is cut off
leaves the old version, or none that anybody takes for a version.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chroma_lifecycle.clock import Deadline, new_id
from chroma_lifecycle.errors import PAST_DAMAGE, BadInput, Corrupt, ObjectMissing
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.assemble import LocalParts, assemble, fetched_runs, local_parts
from chroma_lifecycle.publishing.fetch import Sources
from chroma_lifecycle.publishing.published import Published, read_published
from chroma_lifecycle.snapshot.disk import (
    directories_below,
    disk_errors,
    free_bytes,
    remove_tree,
    require_room,
    sync,
    sync_all,
)
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.pristine import LocalVersion, Pristine
from chroma_lifecycle.snapshot.workspace import Workspace

__all__ = ["Restored", "Way", "bring_forward", "read_published", "restore_to"]

_ATTEMPTS = 4


class Way(StrEnum):
    """How a workspace came to hold a version."""

    WARM = "warm"
    RELABELLED = "relabelled"
    PACKS = "packs"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Restored:
    """What the workspace holds now.

    Attributes:
        published: The version. It is newer than the one asked for if that was swept meanwhile.
        way: How it came there.
        missed: Names that the mirror should have had, and had not, or not soundly.
    """

    published: Published
    way: Way
    store_bytes: int = 0
    mirror_bytes: int = 0
    missed: tuple[str, ...] = ()


def bring_forward(
    workspace: Workspace, published: Published, store: Store, mirror: Store | None, deadline: Deadline
) -> Restored:
    """Bring the pristine copy to *published*, moving no more bytes than it lacks.

    Raises:
        Corrupt: An object is damaged in the store (and in the mirror), or missing from it; it is named.
        NoRoom: The disk cannot hold the version.
        NoTime, StoreUnavailable: It can be tried again.
    """
    sources = Sources(store, mirror)
    for _ in range(_ATTEMPTS):
        try:
            with disk_errors(workspace.root):
                way = _bring(workspace, published, sources, deadline)
                workspace.drop_half_made()
        except ObjectMissing as missing:
            # 404 half-way: the version was swept, and then HEAD is another one by now.
            newer = read_published(store, published.collection)
            if newer.head.manifest == published.head.manifest:
                raise Corrupt(f"{missing.message}, and HEAD still needs it", hint=PAST_DAMAGE) from missing
            published = newer
        else:
            read = sum(sources.from_store), sum(sources.from_mirror)
            return Restored(published, way, *read, missed=tuple(sources.missed))
    raise ObjectMissing(
        f"versions of {published.collection} vanish faster than they can be restored",
        hint="sweep less often, or with a longer grace period",
    )


def _bring(workspace: Workspace, published: Published, sources: Sources, deadline: Deadline) -> Way:
    target, local = published.manifest, workspace.pristine.version()
    if local is not None:
        if local.manifest == target:
            return Way.WARM
        if local.manifest.content == target.content:
            workspace.pristine.relabel(LocalVersion.of(target, local.pages))
            return Way.RELABELLED
        workspace.drop_kept()  # it was kept for the version before
        if _apply_packs(workspace.pristine, local, target, sources, deadline):
            return Way.PACKS
    workspace.drop_kept()
    _restore_whole(workspace, target, sources, deadline)
    return Way.WHOLE


def _apply_packs(
    pristine: Pristine, local: LocalVersion, target: Manifest, sources: Sources, deadline: Deadline
) -> bool:
    """Bring the copy forward by the packs that it lacks; return whether that was possible."""
    if (packs := target.chain.after(local.manifest.content)) is None:
        return False
    table, change = local.pages, None
    try:
        for run in fetched_runs(packs, target, sources, deadline):
            with pristine.readable():
                changes, table = run.changes(pristine.root, table, {})
            # Begun only now: until the first packs are here and fit, the copy stays what it was.
            change = change or pristine.change(target)
            change.make(changes)
        assert change is not None  # contents differ, so there is a pack
        change.finish(LocalVersion.of(target, table))
    except Corrupt:
        # The copy or a pack is damaged. Restored whole, the damage either goes or is named.
        pristine.forget()
        return False
    return True


def _restore_whole(workspace: Workspace, target: Manifest, sources: Sources, deadline: Deadline) -> None:
    pristine = workspace.pristine
    held = _make_room(pristine, target, workspace)
    with workspace.restoring() as directory, disk_errors(directory):
        table = assemble(directory, target, sources, deadline, held)
        pristine.adopt(directory, LocalVersion.of(target, table))


def _make_room(pristine: Pristine, target: Manifest, workspace: Workspace) -> LocalParts:
    """Return the parts that the old copy can give; where both have no room, it goes first."""
    root = workspace.root
    with disk_errors(root):
        local, lacking = pristine.version(), max(0, target.size - workspace.half_made_bytes())
        if local is not None and free_bytes(root) >= lacking:
            return local_parts(pristine.root, local.pages)
        pristine.forget()
        remove_tree(pristine.root)
        require_room(root, lacking, f"restoring version {target.version.number} of {target.collection}")
        return {}


def restore_to(directory: Path, manifest: Manifest, store: Store, mirror: Store | None, deadline: Deadline) -> None:
    """Make a plain directory of a version: ``chroma/`` and the ledger, to be opened by anybody.

    Raises:
        BadInput: There is something at *directory* already.
        ObjectMissing, Corrupt, NoRoom, NoTime, StoreUnavailable: Nothing is left behind.
    """
    with disk_errors(directory):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise BadInput(f"{directory} is not empty", hint="give the path of a new directory")
        directory.parent.mkdir(parents=True, exist_ok=True)
        require_room(directory.parent, manifest.size, f"restoring version {manifest.version.number}")
        unfinished = directory.with_name(f".{directory.name}.{new_id()}")
        try:
            unfinished.mkdir()
            assemble(unfinished, manifest, Sources(store, mirror), deadline)
            sync_all([*(path for path in unfinished.rglob("*") if path.is_file()), *directories_below(unfinished)])
            unfinished.rename(directory)
            sync(directory.parent)
        finally:
            remove_tree(unfinished)
