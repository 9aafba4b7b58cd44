"""Mending a world's collections: rollback and reapply, each in a workspace of its own or a warm one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.history import find_version
from chroma_lifecycle.publishing.status import RunStatus
from chroma_lifecycle.repair.reapplying import reapply
from chroma_lifecycle.repair.rollback import RolledBack, rollback
from chroma_lifecycle.report import CollectionReport
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site
from chroma_lifecycle.values import Version
from tests.support.world import World


@contextmanager
def site(
    world: World, collection: str = "words", workspace: str = "workspace", store: Store | None = None
) -> Iterator[Site]:
    """Own the workspace of a collection for a while."""
    with Workspace.open(world.home / workspace / collection) as local:
        yield Site(collection, store or world.store, world.mirror, local, SYSTEM_CLOCK, "test")


def roll_back(
    world: World, target: int | datetime, collection: str = "words", workspace: str = "workspace"
) -> RolledBack:
    """Roll one collection back."""
    with site(world, collection, workspace) as there:
        return rollback(there, Version(target) if isinstance(target, int) else target)


def reapply_all(
    world: World,
    collection: str = "words",
    workspace: str = "workspace",
    status: RunStatus | None = None,
    store: Store | None = None,
) -> CollectionReport:
    """Let count again what is withheld in one collection."""
    with (
        world.compactor("unused", store=store) as machine,
        Workspace.open(world.home / workspace / collection) as local,
    ):
        return reapply(replace(machine._around, status=status), local, collection)


def manifest_of(world: World, version: int, collection: str = "words") -> Manifest:
    """Return the manifest of a version that lives."""
    return find_version(world.store, world.published(collection).head, Version(version))[1]
