"""The whole product on real parts, with collections in one piece, which reshards cut."""

from __future__ import annotations

from dataclasses import dataclass

from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.publishing.layout import Layout, read_in_force
from tests.support.sharded import ShardedWorld
from tests.support.world import World


@dataclass
class OnePieceWorld(ShardedWorld):
    """A world whose collections begin in one piece; the mapping says nothing of shards, before or after."""

    @property
    def mapping(self) -> TableMapping:
        return load_mapping("receipts")

    def begin(self) -> OnePieceWorld:
        World.begin(self)
        return self

    def layout(self, collection: str = "words") -> Layout:
        return read_in_force(self.store, collection).layout
