"""Reshards of a collection under test, a step at a time; each step by a process that may end in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chroma_lifecycle.bulk.vectors import VectorsOf
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.publishing.layout import Vectors
from tests.support.faults import Fault
from tests.support.resharding import Reshard
from tests.support.sharded import ShardedWorld
from tests.support.watching import Crash
from tests.support.world import DIMENSION, vector

if TYPE_CHECKING:
    from tests.support.promise import Promise

LEGITIMATE = ("does not hold all that the closed shards hold", "differ in their dimension, space or mapping")
"""What a step may say that nothing befell: somebody acted since the one before it."""


class Cutting:
    """Each step goes on where the one before ended, whoever did that."""

    def __init__(self, promise: Promise, collection: str) -> None:
        self._promise, self._collection = promise, collection
        self._shards = self._done = 0
        self._tag: int | None = None

    @property
    def is_under_way(self) -> bool:
        return bool(self._shards)

    def step(self, fault: Fault, shards: int, tag: int | None) -> None:
        """Do the next step, or begin one to so many *shards*; with a *tag* every record gets another vector."""
        if not self._shards:
            self._shards, self._tag = shards, tag
        seen = self._promise.seen
        reshard = self._reshard(fault)
        steps = (reshard.bring, reshard.close, reshard.bring, reshard.finish)
        try:
            with fault.around():
                layout = reshard.begin()
                if layout.coming:
                    steps[self._done](layout.newest_generation)
                else:
                    self._done = len(steps) - 1  # in force before this process knew it
        except Crash:
            seen["a step of a reshard died"] += 1
        except LifecycleError as problem:
            if type(fault) is Fault and not any(each in problem.message for each in LEGITIMATE):
                raise
            seen["a step of a reshard failed"] += 1
            # What was closed is to be brought again: somebody may have published meanwhile.
            self._done = min(self._done, 2)
        else:
            self._done += 1
            if self._done == len(steps):
                self._over()
        self._promise.follow()

    def give_up(self) -> None:
        """Undo what is under way; what a dead process put in force stays."""
        self._reshard(Fault()).give_up()
        self._promise.seen["a reshard was given up"] += 1
        self._over()
        self._promise.follow()

    def end(self) -> None:
        """Come to the end of what is under way."""
        if self._shards:
            self._reshard(Fault()).run()
            self._over()
            assert self._promise.follow() or not self._promise.closed(), "a reshard came to no end"

    def _over(self) -> None:
        self._shards = self._done = 0
        self._tag = None

    def _reshard(self, fault: Fault) -> Reshard:
        vectors = None if self._tag is None else Vectors(f"tag {self._tag}", DIMENSION)
        world, find = self._promise.world, partial(_found, self._tag)
        assert isinstance(world, ShardedWorld)
        store = fault.store(world.store)
        return Reshard(world, self._shards, self._collection, store, vectors=vectors, find=find)


def tag_of(vectors: Vectors) -> int:
    """Return the tag of the one vector that every record gets."""
    return int(vectors.source.removeprefix("tag "))


def _found(tag: int, ids: Sequence[str], space: str, scratch: Path) -> VectorsOf:
    del ids, space, scratch
    return lambda wanted: np.array([vector(tag)] * len(wanted), np.float32)
