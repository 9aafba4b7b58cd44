from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.s3 import S3Store
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.stores.directory import DirectoryStore
from tests.support.memory_store import FakeClock, LaterStore, MemoryStore
from tests.support.s3 import new_bucket, s3_client
from tests.support.snapshots import Site
from tests.support.tiny import Tiny, tiny_publishing


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
def kind() -> str:
    """Which store `tiny` is on; `tests.support.tiny.on_every_store` says all of them."""
    return "memory"


@pytest.fixture
def tiny(kind: str, tmp_path: Path) -> Iterator[Tiny]:
    """What publishes tiny versions, on an empty store; the clock tells versions' times alone."""
    clock = FakeClock(datetime.now(UTC))
    (tmp_path / "store").mkdir()
    match kind:
        case "memory":
            store: Any = MemoryStore(clock)
        case "s3":
            store = S3Store(S3Address(new_bucket(), "a/prefix"), s3_client())
        case _:
            store = DirectoryStore(tmp_path / "store")
    with tiny_publishing():
        yield Tiny(LaterStore(store), tmp_path, clock)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A compactor with a collection that was just initialised."""
    site = make_site()
    site.initialise()
    return site
