"""Items as they are read from the table itself, beside what its stream tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from chroma_lifecycle.intake.changes import Image


@dataclass(frozen=True, slots=True)
class Page:
    """Items that one request read, consistently.

    Attributes:
        as_of: A time at or before which all writes are seen in it, in seconds of the Unix epoch, by
            the table's own clock.
    """

    items: Sequence[Image]
    as_of: int


class TableScan(Protocol):
    """Reads every item of a table."""

    def pages(self) -> Iterator[Page]:
        """Yield pages until every item was read that was there all the time.

        Raises:
            BadInput: The table has other keys than the mapping's.
            StoreUnavailable: The table did not answer, or may not be read.
        """
        ...
