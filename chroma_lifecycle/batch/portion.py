"""The portion of a batch that a cycle takes on; every other message is set aside, with its reason.

The unit is a message: one with several changes is done only when all of them are, so all of them
are taken on or set aside together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chroma_lifecycle.batch.isolation import Isolated
from chroma_lifecycle.errors import BadInput, LifecycleError, NoTime
from chroma_lifecycle.intake.changes import Change, MergeDelta
from chroma_lifecycle.planning.join import Joined, Outcome
from chroma_lifecycle.planning.streams import of_a_left_stream
from chroma_lifecycle.values import ItemKey, Position


class Portion:
    """The changes of one collection that are still worked on."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._all = tuple(changes)
        self._aside: dict[str, LifecycleError] = {}

    def copy(self) -> Portion:
        """Return what can be worked on in its place, and sets nothing aside in it."""
        other = Portion(self._all)
        other._aside.update(self._aside)
        return other

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is worked on."""
        if not self._aside:
            return self._all
        return self.of({change.origin.source for change in self._all} - self._aside.keys())

    @property
    def is_of_fields(self) -> bool:
        """Whether there is something to work on, and none of it reads a delta."""
        changes = self.changes
        return bool(changes) and MergeDelta not in set(map(type, changes))

    def of(self, sources: Collection[str]) -> tuple[Change, ...]:
        """Return the changes of some messages."""
        return tuple(change for change in self._all if change.origin.source in sources)

    def sources(self) -> list[str]:
        """Return the messages that are worked on, by the position of the newest change of each, the oldest first."""
        newest: dict[str, tuple[object, ...]] = {}
        for change in self.changes:
            order = change.origin.position.order
            newest[change.origin.source] = max(order, newest.get(change.origin.source, order))
        return sorted(newest, key=lambda source: newest[source])

    def cut(self, share: float, joined: Joined, why: str) -> bool:
        """Keep about this share of the messages that moved facts, the oldest, and at least one.

        Returns:
            Whether any was handed back.
        """
        moving = [source for source in self.sources() if joined.outcomes[source] is Outcome.APPLIED]
        kept = max(1, int(share * len(moving)))
        problem = NoTime(
            f"{why}: the oldest {kept:,} of {len(moving):,} messages are taken, and this is none of them",
            hint="it comes again by itself; if that keeps happening, raise the function's timeout or memory, or "
            "lower the batch size",
        )
        self._aside.update(dict.fromkeys(moving[kept:], problem))
        return kept < len(moving)

    def refuse(self, found: Isolated) -> None:
        """Set aside what Chroma does not take, and what could not be tried."""
        for source, problem in found.refused.items():
            self._aside[source] = refusal_of(self.of({source}), problem)
        untried = NoTime(
            "Chroma refused the batch of this message, and there was no time to find out for whose sake",
            hint="it comes again by itself; if that keeps happening, lower the batch size",
        )
        self._aside.update(dict.fromkeys(found.untried, untried))

    def refuse_unordered(self, unordered: Mapping[tuple[ItemKey, Position], Position]) -> bool:
        """Set aside the messages of what a plan does not count though it was made later: see `Planned.unordered`.

        Returns:
            Whether there was any.
        """
        found = {
            change.origin.source: of_a_left_stream(change.origin.position, unordered[place])
            for change in self.changes
            if (place := (change.origin.item, change.origin.position)) in unordered
        }
        self._aside.update(found)
        return bool(found)

    def tell(self, joined: Joined) -> None:
        """Say in *joined*, which is about what was worked on, what became of the others: they failed.

        A run that cannot be merged as it is will be told so in its item; one that comes again is not.
        """
        if not self._aside:
            return
        for source, problem in self._aside.items():
            joined.outcomes[source] = Outcome.FAILED
            joined.problems[source] = problem
        for change in self._all:
            reason = self._aside.get(change.origin.source)
            if isinstance(change, MergeDelta) and isinstance(reason, BadInput):
                joined.unmerged.setdefault((change.origin.item, change.address), reason)

    def answered(self, joined: Joined) -> tuple[Change, ...]:
        """Return the changes whose end is known: they were applied, or cannot be."""
        again = {source for source, problem in joined.problems.items() if isinstance(problem, NoTime)}
        return tuple(change for change in self._all if change.origin.source not in again)


def refusal_of(changes: Sequence[Change], problem: LifecycleError) -> BadInput:
    """Return why one message fails: Chroma took everything else, and not what it asks for.

    Args:
        changes: Of this message.
        problem: What Chroma said.
    """
    deltas = dict.fromkeys(f"delta {change.address}" for change in changes if isinstance(change, MergeDelta))
    what = f" ({', '.join(deltas)})" if deltas else ""
    return BadInput(
        f"Chroma refuses what the message asks for{what}: {problem.message}",
        hint="mend the item or the delta; the rest of the batch is published, and a retry of this message cannot help",
    )
