from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.snapshots import Site


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes compactors on one store, each with a workspace of its own."""
    with ExitStack() as stack:

        def make(name: str = "one", *, mirror: bool = False) -> Site:
            for place in ("store", "mirror"):
                (tmp_path / place).mkdir(exist_ok=True)
            workspace = stack.enter_context(Workspace.open(tmp_path / f"workspace-{name}"))
            second = DirectoryStore(tmp_path / "mirror", mirror_only=True) if mirror else None
            return Site(workspace, DirectoryStore(tmp_path / "store"), second, writer=name)

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A compactor with a collection that was just initialised."""
    site = make_site()
    site.initialise()
    return site
