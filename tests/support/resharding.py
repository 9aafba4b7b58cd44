"""A reshard of a world in shards, step by step: what the tasks do, here in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.bulk import resharding
from chroma_lifecycle.bulk.bring import Brought, Place, bring
from chroma_lifecycle.bulk.resharding import coming_layout
from chroma_lifecycle.bulk.vectors import FindVectors
from chroma_lifecycle.chroma import delta_reader
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.layout import Layout, Vectors
from tests.support.sharded import ShardedWorld

TAIL_BUDGET = 500


def read_here(directory: Path, collection: str, to: Path, subject: str, *, ids: Sequence[str] | None = None) -> None:
    """Read records as `read_chroma_delta` does, without a child: it takes seconds to start."""
    del subject
    with ManagedClient.open(directory, collection) as client:
        delta_reader._copy(client.collection, to, ids)


@dataclass
class Reshard:
    """Tasks of a reshard of one collection of *world*, to so many shards.

    Attributes:
        store: May stand before the world's.
        machine: Name of the directory in which the tasks work.
        keep: Whether what they read stays there from one to the next.
        vectors: The data set of new vectors, if records are to have some.
        find: Reads it.
    """

    world: ShardedWorld
    shards: int
    collection: str = "words"
    store: Store | None = None
    machine: str = "resharding"
    keep: bool = True
    vectors: Vectors | None = None
    find: FindVectors | None = None

    @property
    def _store(self) -> Store:
        return self.store or self.world.store

    def begin(self) -> Layout:
        return resharding.begin(self._store, self.world.mapping, self.collection, self.shards, "test", self.vectors)

    def bring(self, generation: int) -> list[Brought]:
        """Bring every shard that comes."""
        seen = coming_layout(self._store, self.collection, generation)
        assert seen is not None
        found = []
        for shard in seen.layout.coming:
            root = self.world.home / self.machine / shard.name
            place = Place(self._store, root, SYSTEM_CLOCK, "test", self.find)
            found.append(bring(seen.layout, shard, place, tail_budget=TAIL_BUDGET))
            if not self.keep:
                shutil.rmtree(root, ignore_errors=True)
        return found

    def close(self, generation: int) -> None:
        resharding.close(self._store, self.collection, generation, "test")

    def finish(self, generation: int) -> Layout:
        return resharding.finish(self._store, self.collection, generation, "test")

    def give_up(self) -> list[str]:
        return resharding.give_up(self._store, self.collection, "test")[1]

    def steps(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield the steps that are left, by their names; the layout is read before each."""
        layout = self.begin()
        if not layout.coming:
            return
        generation = layout.newest_generation
        yield "bring", lambda: self.bring(generation)
        yield "close", lambda: self.close(generation)
        yield "bring the rest", lambda: self.bring(generation)
        yield "finish", lambda: self.finish(generation)

    def run(self, between: Callable[[str], object] = lambda _: None) -> None:
        """Run all of it; *between* is told each step that is about to be done."""
        between("begin")
        for name, step in self.steps():
            between(name)
            step()
