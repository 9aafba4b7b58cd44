"""The task for one shard: its records become version 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chroma_lifecycle.bulk.job import Job
from chroma_lifecycle.bulk.shards import Built, built_of, find_built, read_expected, require_all
from chroma_lifecycle.bulk.work import Work
from chroma_lifecycle.chroma.client import SPACES, CollectionSettings
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.lifecycle import Beginning, begin, begin_with

ACTION = "bulk-build"


def build(
    job: Job,
    number: int,
    work: Work,
    beginning: Beginning,
    fits: Callable[[str], bool],
    *,
    tail_budget: int,
    tell: Callable[[int], None],
) -> Built:
    """Publish version 1 of a shard; one that is published already is left as it is.

    Args:
        job: Whose.
        number: Of the shard.
        work: Where `split` left its records.
        beginning: With the shard's name.
        fits: Whether an id may be one of the collection's.
        tail_budget: Vector operations that a reader may have to replay.
        tell: Is told how many records were written, again and again.

    Raises:
        BadInput: Two records have one id, or the store has another collection of this name.
        Corrupt: The records are not those that were laid down.
        StoreUnavailable, NoRoom: It can be tried again.
    """
    if (done := find_built(job, number, beginning.store)) is not None:
        return done
    expected = read_expected(job, work)[number]
    begun = replace(beginning, lineage=job.lineage(beginning.collection))
    settings = CollectionSettings(SPACES[job.request.space], job.request.dimension)
    whole = Expectation(job.request.collection, job.request.dimension, None, fits)
    try:
        if not expected:
            return built_of(begin(begun, settings))
        with begun.workspace.blank() as scratch:
            delta = open_delta(work.shard(number), work.deltas, scratch, whole, own=True)
            require_all(begun.collection, len(delta.ids), expected)
            return built_of(begin_with(begun, settings, delta, ACTION, tail_budget=tail_budget, tell=tell))
    except BadInput:
        # An engine that takes a task for dead starts another one: then the first to publish has done it.
        if (done := find_built(job, number, beginning.store)) is not None:
            return done
        raise
