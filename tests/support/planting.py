"""Planting defects, also in other processes: harnesses that are not blind find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]
"""Plants a defect; by its name it gets to another process."""


def soundly(patch: pytest.MonkeyPatch) -> None:
    """Plant none."""
