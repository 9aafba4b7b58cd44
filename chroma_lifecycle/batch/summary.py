"""What a version says of itself: what its cycle did, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.join import Joined, Outcome
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.snapshot.details import ChromaVersion, Counts, Details, Summary
from chroma_lifecycle.snapshot.sealed import SealedSnapshot
from chroma_lifecycle.snapshot.soundness import Soundness

_installed = cache(version)  # it looks through what is installed, and a process keeps what it has loaded


def record_counts(todo: Plan) -> dict[str, int]:
    """Return how many records a plan adds, changes and removes."""
    existing = sum(len(write.existing) for write in todo.writes)
    return {
        "added": sum(len(write.ids) for write in todo.writes) - existing,
        "changed": existing + len(todo.updates),
        "removed": len(todo.deletes),
    }


def counts_of(ledger: Mapping[str, int], found: Soundness) -> Counts:
    """Return what a version holds, by what its ledger counts and what the checks of its files found."""
    return Counts(
        records=ledger["records"],
        facts=ledger["facts"],
        withheld=ledger["withheld"],
        tail=found.tail,
        elements=found.elements,
        free_bytes=found.free_bytes,
    )


def details_of(
    before: Details,
    sealed: SealedSnapshot,
    todo: Plan,
    joined: Joined,
    counts: Mapping[str, int],
    mapping: TableMapping,
) -> Details:
    """Return the details of the version that a cycle publishes.

    Args:
        before: Those of the version that it replaces.
        sealed: Its files.
        todo: What was done to the records.
        joined: What became of the messages.
        counts: What the ledger counts now.
        mapping: What was in force.
    """
    applied = sum(1 for outcome in joined.outcomes.values() if outcome is Outcome.APPLIED)
    found = sealed.soundness
    return Details(
        summary=Summary("compact", applied=applied, **record_counts(todo)),
        counts=counts_of(counts, found),
        chroma=ChromaVersion(_installed("chromadb"), found.migrations) if todo else before.chroma,
        dimension=before.dimension,
        space=before.space,
        mapping=mapping.digest,
        verified=found.full,
    )
