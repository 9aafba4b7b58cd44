"""A world, and the function in it, cold."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pipeline import cold
from tests.support.world import World


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return World(tmp_path_factory.mktemp("begun")).begin().home


@pytest.fixture
def world(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    shutil.copytree(begun, tmp_path / "world")
    made = World(tmp_path / "world")
    settings = made.settings
    for name, value in {
        "STORE": settings.store,
        "MAPPING": settings.mapping,
        "MIRROR": settings.mirror or "",
        "WORKSPACE": str(settings.workspace),
        "DELTAS": settings.deltas[0],
        "DEADLINE_RESERVE_SECONDS": "1",
    }.items():
        monkeypatch.setenv(f"CHROMA_LIFECYCLE_{name}", value)
    cold()
    yield made
    cold()
