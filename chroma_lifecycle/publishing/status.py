"""Telling the table how a run ended: after HEAD has moved, since the table must never be ahead of the store."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from chroma_lifecycle.intake.rules import MergeTarget
from chroma_lifecycle.values import ItemKey


class RunStatus(Protocol):
    """Writes what became of runs into their items in the table.

    Each method writes the attributes of one collection and no others, and only if the item is
    still there and still has this address: whoever removed it, or began another run, is not
    answered. A write that was lost is made up for by a later cycle or `resync`. What is written
    comes back as a stream record, which begins no run and does nothing.
    """

    def completed(self, item: ItemKey, target: MergeTarget, address: str, count: int, at: datetime) -> bool:
        """Set the run's state to COMPLETED, with the number of records that its delta holds, and the time.

        Returns whether anything was written: not if it says the same already.

        Raises:
            StoreUnavailable: The table did not answer, or may not be written.
        """
        ...

    def failed(self, item: ItemKey, target: MergeTarget, address: str, error: str) -> bool:
        """Leave the run pending with the text of an error, unless it has that text already, or is COMPLETED.

        The text must not change from one attempt to the next (no time, no attempt), so that a
        run that always fails is written once. Returns whether anything was written: not if the
        mapping names no attribute for errors.

        Raises:
            StoreUnavailable: The table did not answer, or may not be written.
        """
        ...
