"""A world in three shards that has begun, which each example copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chroma_lifecycle.publishing import swap
from tests.support.sharded import ShardedWorld


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ShardedWorld(tmp_path_factory.mktemp("sharded")).begin().home


@pytest.fixture
def world(begun: Path, tmp_path: Path) -> ShardedWorld:
    return ShardedWorld(Path(shutil.copytree(begun, tmp_path / "world")))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))
