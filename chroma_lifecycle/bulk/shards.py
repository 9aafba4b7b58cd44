"""The shards of a job: how many records each must have, which are built, and the layout that puts them in force."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from chroma_lifecycle.bulk.job import Job
from chroma_lifecycle.bulk.split import read_receipt
from chroma_lifecycle.bulk.work import EXPECTED, Work
from chroma_lifecycle.clock import new_id
from chroma_lifecycle.errors import Corrupt, Retryable
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import find_head
from chroma_lifecycle.publishing.layout import publish_layout, read_layout
from chroma_lifecycle.publishing.publication import already_initialised
from chroma_lifecycle.publishing.published import Published, read_published


@dataclass(frozen=True, slots=True)
class Built:
    """A shard that is published.

    Attributes:
        version: The newest one; more than 1 once changes have come.
        already: Whether a task before this one had done it.
    """

    name: str
    lineage: str
    records: int
    size_bytes: int
    already: bool
    version: int


def gather(job: Job, work: Work) -> dict[int, int]:
    """Note that every input is done; return how many records each shard must have.

    Raises:
        Retryable: An input is not done.
    """
    counts: Counter[int] = Counter(dict.fromkeys(range(len(job.names)), 0))
    for number in range(len(job.inputs)):
        found = read_receipt(work, number)
        if found is None:
            raise Retryable(
                f"input {number + 1} of {len(job.inputs)} of the build of {job.request.collection} is not done",
                hint="run the same command again: what is done stays done",
            )
        counts.update(found.records)
    work.put_json(EXPECTED, {"records": {str(shard): count for shard, count in counts.items()}})
    return dict(counts)


def read_expected(job: Job, work: Work) -> dict[int, int]:
    """Return what `gather` noted.

    Raises:
        Retryable: It has not.
    """
    found = work.read_json(EXPECTED)
    if found is None:
        raise Retryable(
            f"the inputs of the build of {job.request.collection} are not done",
            hint="run the same command again: what is done stays done",
        )
    return {int(shard): count for shard, count in found["records"].items()}


def find_built(job: Job, number: int, store: Store) -> Built | None:
    """Return what is published of a shard, if anything is.

    Raises:
        BadInput: It is not this job's.
    """
    name = job.names[number]
    seen = find_head(store, name)
    if seen is None:
        return None
    if seen.head.lineage != job.lineage(name):
        raise already_initialised(name, store, seen.head)
    return built_of(read_published(store, name), already=True)


def built_of(published: Published, *, already: bool = False) -> Built:
    """Return what is told of a shard that is published."""
    manifest = published.manifest
    records = manifest.details.counts.records
    return Built(published.collection, published.head.lineage, records, manifest.size, already, manifest.version.number)


def finish(job: Job, work: Work, store: Store, writer: str) -> list[Built]:
    """Prove that every shard is there with all its records, then put the layout in force, if there is one.

    Raises:
        Retryable: A shard is missing.
        Corrupt: A shard has not the records that it must have.
        BadInput: The store has another collection of this name.
    """
    expected, found = read_expected(job, work), []
    for number, name in enumerate(job.names):
        if (built := find_built(job, number, store)) is None:
            raise Retryable(f"{name} is not built yet", hint="run the same command again: what is done stays done")
        if built.version == 1:
            require_all(name, built.records, expected[number])
        found.append(built)
    if job.request.segments:
        _put_in_force(job, store, writer)
    return found


def _put_in_force(job: Job, store: Store, writer: str) -> None:
    layout = job.layout(new_id(), store.now(), writer)
    if store.read_head(job.request.collection) is None:
        publish_layout(store, layout, None)
    elif read_layout(store, job.request.collection).layout.shards != layout.shards:
        raise already_initialised(job.request.collection, store)


def require_all(name: str, found: int, expected: int) -> None:
    """Raise unless a shard has as many records as were laid down for it.

    Raises:
        Corrupt: It has not.
    """
    if found != expected:
        raise Corrupt(
            f"{name} has {found:,} records, and {expected:,} were laid down for it",
            hint="begin again with another --work; if it happens again, check the disks",
        )
