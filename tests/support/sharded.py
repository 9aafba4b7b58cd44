"""The whole product on real parts, with both collections in shards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.lifecycle import begin_in_shards
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import Layout, read_layout
from chroma_lifecycle.publishing.status import RunStatus
from chroma_lifecycle.wiring import surroundings
from tests.model.reference import Record
from tests.support.world import World


@dataclass
class ShardedWorld(World):
    """A world whose collections are in shards.

    Attributes:
        shards: How many each has.
        status: Is told how runs ended.
        rules: The text of a mapping; by default that of receipts.
    """

    shards: int = 3
    status: RunStatus | None = None
    rules: str | None = None

    @property
    def mapping(self) -> TableMapping:
        return self.mapping_of(self.rules)

    def mapping_of(self, rules: str | None = None) -> TableMapping:
        whole = super().mapping_of(rules)
        return replace(whole, shards=dict.fromkeys(whole.collections, self.shards))

    def lineages(self, collection: str) -> list[str]:
        return [shard.name for shard in self.layout(collection).shards]

    def layout_of(self, collection: str) -> Layout:
        return self.layout(collection)

    def begin(self) -> ShardedWorld:
        for name in ("store", "mirror", "deltas"):
            (self.home / name).mkdir(parents=True)
        for collection in self.mapping.collections:
            begin_in_shards(
                collection,
                self.mapping,
                CollectionSettings("l2", self.dimension),
                store=self.store,
                workspaces=self.home / "beginning",
                clock=SYSTEM_CLOCK,
                writer="test",
            )
        return self

    def compactor(self, workspace: str = "workspace", *, store: Store | None = None) -> Compactor:
        made = replace(surroundings(self.settings), mapping=self.mapping, status=self.status)
        return Compactor(made if store is None else replace(made, store=store), Path(self.home / workspace))

    def layout(self, collection: str = "words") -> Layout:
        return read_layout(self.store, collection).layout

    def versions(self, collection: str = "words") -> list[int]:
        """Return the number of the newest version of each shard."""
        return [self.version(shard.name) for shard in self.layout(collection).shards]

    def records(self, collection: str = "words", store: Store | None = None) -> dict[str, Record]:
        """Return the records of all shards; each of them is where the layout says."""
        layout = self.layout(collection)
        found: dict[str, Record] = {}
        for shard in layout.shards:
            records = super().records(shard.name, store)
            assert {shard} >= {layout.shard_of(record_id) for record_id in records}
            found |= records
        return found
