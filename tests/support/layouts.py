"""Small valid layouts; a test changes the one field that it is about."""

from __future__ import annotations

from dataclasses import replace

from chroma_lifecycle.publishing.layout import Layout, even_layout
from tests.support.heads import COLLECTION, NOON, write_id


def layout_spec(count: int = 4, **changes: object) -> Layout:
    """Return the first layout of a collection with so many equal shards, by two segments."""
    lineages = [write_id(0xA0 + number) for number in range(count)]
    made = even_layout(COLLECTION, lineages, segments=2, swap_id=write_id(7), written_at=NOON, writer="test")
    return replace(made, **changes)  # type: ignore[arg-type]
