"""A world that has begun, copied for each test: beginning one opens Chroma twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chroma_lifecycle.logs import Log
from tests.support.world import World


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return World(tmp_path_factory.mktemp("begun")).begin().home


@pytest.fixture
def world(begun: Path, tmp_path: Path) -> World:
    shutil.copytree(begun, tmp_path / "world")
    return World(tmp_path / "world")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged, whatever other tests have made of structlog."""
    lines: list[str] = []
    monkeypatch.setattr(Log, "say", lambda self, level, event, **fields: lines.append(f"{event} {fields}"))
    return lines
