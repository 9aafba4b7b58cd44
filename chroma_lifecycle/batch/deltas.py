"""The deltas of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from chroma_lifecycle.batch.pace import Pace
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.sources import RootedDeltas
from chroma_lifecycle.errors import BadInput, LifecycleError
from chroma_lifecycle.intake.changes import Change, MergeDelta
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.ledger import Ledger

# With less left, another delta is not begun.
_SECONDS_FOR_A_DELTA = 0.2
# What may be on its way when the time of a delta ends.
_SECONDS_FOR_A_PART = 0.05
_MOST_OF_ONE = 0.75
"""Of the time for reading, what one delta may take while others wait behind it: one that is endless would come first
each time, and hold them up until they are dead letters."""


class BatchDeltas:
    """Opens deltas below a directory, each once for every prefix that its ids must have.

    Attributes:
        opened: By address.
    """

    def __init__(
        self,
        mapping: TableMapping,
        source: RootedDeltas,
        dimension: int,
        space: str,
        scratch: Callable[[], Path],
        deadline: Deadline,
        pace: Pace,
    ) -> None:
        self.opened: dict[str, Delta] = {}
        self._checked: dict[tuple[str, str | None], Delta | LifecycleError] = {}
        self._mapping = mapping
        self._source = source
        self._dimension = dimension
        self._space = space
        self._scratch = scratch
        self._deadline = deadline.earlier(pace.reserve_seconds)
        self._pace = pace
        self._waiting = 0
        self._most_seconds = _MOST_OF_ONE * self._end_of_reading(0).remaining_seconds()

    def read_ahead(self, changes: Iterable[Change], ledger: Ledger) -> None:
        """Read the deltas of runs that *ledger* does not know yet, the oldest first, as far as time allows.

        Joining takes the newest first; what there is no time for must be the newest, or the oldest
        of a long queue would come again until they are dead letters.
        """
        runs = [change for change in changes if isinstance(change, MergeDelta)]
        self._waiting = len(runs)
        for change in sorted(runs, key=lambda run: run.origin.position.order):
            self._waiting -= 1
            known = ledger.run(change.origin.item, change.address)
            if known is None or known.position < change.origin.position:
                with suppress(LifecycleError):  # it is kept, and raised when the change is joined
                    self.open(change)

    def open(self, change: MergeDelta) -> Delta:
        """Return the delta that *change* names, every record of it checked for its run.

        Raises:
            NoTime: With another one there would be no time to apply what was read: its message fails
                alone, and comes again.
            BadInput, StoreUnavailable, NoRoom: As :func:`chroma_lifecycle.deltas.open.open_delta`.
        """
        key = change.address, change.below
        if key not in self._checked:
            try:
                delta = self._read(change)
            except LifecycleError as problem:
                self._checked[key] = problem
            except Exception as problem:  # noqa: BLE001  whatever an enemy wrote, it is the failure of this delta alone
                self._checked[key] = _unforeseen(change.address, problem)
            else:
                self._checked[key] = self.opened.setdefault(change.address, delta)
        if isinstance(known := self._checked[key], LifecycleError):
            raise known
        return known

    def _read(self, change: MergeDelta) -> Delta:
        # Here, because they import pyarrow, which a batch without a delta does without.
        from chroma_lifecycle.chroma.delta_reader import read_chroma_delta
        from chroma_lifecycle.deltas.open import open_delta

        collection, address, mapping = change.origin.collection, change.address, self._mapping
        records = sum(len(delta.ids) for delta in self.opened.values())
        self._deadline.require(_SECONDS_FOR_A_DELTA + self._pace.apply_seconds(records), f"reading the delta {address}")
        expected = Expectation(
            collection,
            self._dimension,
            change.below,
            lambda record_id: mapping.fits(collection, record_id),
            self._space,
        )
        deadline = self._deadline_of_one(records)
        reader = partial(read_chroma_delta, deadline=deadline)
        delta = open_delta(address, self._source, self._scratch(), expected, reader, deadline=deadline)
        # Below a partition key all ids are in one shard; where any id may be, others have their portions.
        return delta if change.below is not None else replace(delta, ids=mapping.portion(delta.ids))

    def _end_of_reading(self, records: int) -> Deadline:
        """Return when reading has to end, with *records* that were read to be applied."""
        # And one more: whatever else is in the batch has to be applied, too.
        return self._deadline.earlier(_SECONDS_FOR_A_PART + self._pace.apply_seconds(records + 1))

    def _deadline_of_one(self, records: int) -> Deadline:
        """Return when reading the next delta has to end."""
        deadline = self._end_of_reading(records)
        more = deadline.remaining_seconds() - self._most_seconds
        return deadline.earlier(more) if self._waiting and more > 0 else deadline


def _unforeseen(address: str, problem: Exception) -> BadInput:
    # Without its text, and not as its cause: either may hold what the delta does, and ends in a log.
    return BadInput(
        f"delta {address!r} cannot be read, for a reason that no check foresaw ({type(problem).__name__})",
        hint="`chroma-lifecycle delta validate` reads it alone; write it again, under a new address",
    )
