"""A world with eight words in it, copied for each test, what publishes there, and readers that leave nothing open."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.reader import SnapshotReader
from chroma_lifecycle.snapshot.descriptors import below
from tests.support.news import News
from tests.support.s3 import FaultProxy, client, fault_proxy, new_bucket, use_server
from tests.support.world import World

MakeReader = Callable[..., SnapshotReader]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a world whose `words` are at version 2."""
    world = World(tmp_path_factory.mktemp("published")).begin()
    with world.compactor() as machine:
        News(world, machine).first()
    return world.home


@pytest.fixture
def world(published: Path, tmp_path: Path) -> World:
    shutil.copytree(published, tmp_path / "world")
    return World(tmp_path / "world")


@pytest.fixture
def news(world: World) -> Iterator[News]:
    with world.compactor() as machine:
        yield News(world, machine)


@pytest.fixture
def in_s3(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[News, FaultProxy]]:
    """The same with the store in S3, and the proxy that everybody asks."""
    bucket, stored = new_bucket(), world.home / "store"
    for path in stored.rglob("*"):
        if path.is_file() and path.parent.name != "heads" and path.name != ".lock":
            client().put_object(Bucket=bucket, Key=f"snapshots/{path.relative_to(stored)}", Body=path.read_bytes())
    with fault_proxy() as proxy:
        use_server(monkeypatch, proxy.url)
        moved = World(world.home, f"s3://{bucket}/snapshots")
        with moved.compactor() as machine:
            yield News(moved, machine), proxy


@pytest.fixture
def read(world: World) -> Iterator[MakeReader]:
    """Make readers of the world's `words` that look at HEAD when they are told to; nothing of them stays open."""
    with ExitStack() as closing:

        def make(**changes: Any) -> SnapshotReader:
            with_defaults = {"workspace": world.home / "reader", "check_seconds": None} | changes
            store = with_defaults.pop("store", world.store)
            return closing.enter_context(SnapshotReader(store, "words", **with_defaults))

        yield make
    assert () == below(world.home / "reader")
    assert not list((world.home / "reader").rglob("serving-*"))
