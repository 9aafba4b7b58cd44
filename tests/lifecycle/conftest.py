from __future__ import annotations

from tests.cycle.conftest import begun, world

__all__ = ["begun", "world"]
