"""A world that has begun, which each example copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.publishing import swap
from tests.support.world import World


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return World(tmp_path_factory.mktemp("begun")).begin().home


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))
