"""A world that has begun, which each example copies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chroma_lifecycle.bulk import bring
from chroma_lifecycle.publishing import swap
from tests.support.machine import PromiseMachine, ShardedMachine
from tests.support.resharding import read_here
from tests.support.sharded import ShardedWorld
from tests.support.world import World


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return World(tmp_path_factory.mktemp("begun")).begin().home


@pytest.fixture(scope="session")
def begun_in_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ShardedWorld(tmp_path_factory.mktemp("sharded")).begin().home


@pytest.fixture(autouse=True)
def _machines(begun: Path, begun_in_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, world in ((PromiseMachine, begun), (ShardedMachine, begun_in_shards)):
        monkeypatch.setattr(machine, "begun", world, raising=False)
        monkeypatch.setattr(machine, "seen", Counter(), raising=False)
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)
    monkeypatch.setattr(swap, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))
