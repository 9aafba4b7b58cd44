"""Health checks on a history: what is well, what is not, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from chroma_lifecycle.config import DEFAULT_TAIL_BUDGET
from chroma_lifecycle.page.history import History
from chroma_lifecycle.publishing.head import Head
from chroma_lifecycle.snapshot.chain import MOST_PACKS
from chroma_lifecycle.words import versions

_FULL_CHECK_VERSIONS = 100


class State(StrEnum):
    """How a check ended."""

    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence on the state of things, and one on the way out where there is something to do."""

    state: State
    text: str
    way_out: str = ""


def checks(history: History) -> tuple[Check, ...]:
    """Return every check, the worst first."""
    order = [State.BAD, State.LOOK, State.GOOD]
    return tuple(sorted(_all(history), key=lambda check: order.index(check.state)))


def _all(history: History) -> Iterator[Check]:
    yield _chain(history)
    if history.head.moved_to:
        yield Check(
            State.BAD, f"The collection has moved to {history.head.moved_to}.", "Set CHROMA_LIFECYCLE_STORE to it."
        )
    yield from _reshard(history.head)
    yield _mirror(history)
    yield _packs(history)
    yield _tail(history)
    yield _verified(history)
    yield _withheld(history)


def _reshard(head: Head) -> Iterator[Check]:
    if head.closed_for:
        yield Check(
            State.LOOK,
            f"{'The collection' if head.successors else 'The shard'} is closed: a reshard hands over to generation "
            f"{head.closed_for}.",
            "If it was cut off, `chroma-lifecycle bulk reshard` goes on with it, or gives it up by --undo.",
        )
    elif head.successors is not None and head.successors.shards:
        yield Check(State.LOOK, f"A reshard to {len(head.successors.shards)} shards is under way.")


def _chain(history: History) -> Check:
    if history.broken:
        return Check(State.BAD, f"History is broken: {history.broken}.", "Run `chroma-lifecycle verify --all`.")
    return Check(State.GOOD, f"History is whole: {_read(history)}, each named by the one after it.")


def _read(history: History) -> str:
    """Return how many versions were read, and of how many."""
    read, lived = len(history.rows), history.head.version.number - history.head.floor.number + 1
    return versions(read) if read >= lived else f"the newest {read:,} of {versions(lived)}"


def _mirror(history: History) -> Check:
    mirror, newest = history.mirror, history.head.version.number
    if mirror is None:
        return Check(State.GOOD, "No mirror was looked at.")
    if mirror.problem or mirror.version is None:
        why = mirror.problem or "it has no HEAD of this collection"
        return Check(
            State.BAD, f"The mirror {mirror.address} cannot be used: {why}.", "Look at the mount; cycles heal it."
        )
    if mirror.version != newest:
        return Check(
            State.LOOK,
            f"The mirror is at version {mirror.version:,}, the store at {newest:,}.",
            "The next cycle brings it forward.",
        )
    return Check(State.GOOD, f"The mirror is at version {newest:,}, like the store.")


def _packs(history: History) -> Check:
    packs = len(history.newest.chain.packs)
    if packs > MOST_PACKS:
        return Check(State.LOOK, f"A restore applies {packs:,} packs to the base.", "A new base shortens it.")
    return Check(State.GOOD, f"A restore applies {packs:,} packs to the base.")


def _tail(history: History) -> Check:
    tail = history.newest.details.counts.tail
    text = f"Readers replay {tail:,} vector operations when they open it."
    if tail > DEFAULT_TAIL_BUDGET:
        return Check(State.LOOK, text, "The next cycle that writes vectors settles them.")
    return Check(State.GOOD, text)


def _verified(history: History) -> Check:
    since = next((age for age, row in enumerate(reversed(history.rows)) if row.verified), None)
    if since is None or since > _FULL_CHECK_VERSIONS:
        return Check(State.LOOK, "No version shown here had every page checked.", "Run `chroma-lifecycle verify`.")
    text = (
        "Every page of the newest version was checked."
        if not since
        else (f"Every page was last checked {since:,} versions ago.")
    )
    return Check(State.GOOD, text)


def _withheld(history: History) -> Check:
    withheld = history.newest.details.counts.withheld
    if withheld:
        return Check(State.LOOK, f"A rollback withholds {withheld:,} facts.", "They count again after a reapply.")
    return Check(State.GOOD, "No fact is withheld.")
