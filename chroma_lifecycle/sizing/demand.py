"""What is asked of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from chroma_lifecycle.errors import BadInput

MEBIBYTE = 1 << 20
_MOST = 1e15


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a collection.

    Attributes:
        vectors: Records.
        dimension: Of their vectors.
        changes_per_second: Changed labels and fields, on the average of a month.
        vectors_per_second: New or replaced vectors, likewise.
        readers: Processes that query.
        window_seconds: For how long changes are gathered: with the cycle, how old a reader's data may be.
        refresh_seconds: How often a reader asks for a newer version.
        record_bytes: Document, metadata and indexes of a record, without its vector; ``None`` for those measured.
        memory_bytes, disk_bytes: The most that a function may have.
        days_kept: For how long replaced versions stay.
        mirror: Whether there is one on EFS.
    """

    vectors: int
    dimension: int
    changes_per_second: float = 0.1
    vectors_per_second: float = 0.0
    readers: int = 1
    window_seconds: float = 10.0
    refresh_seconds: float = 30.0
    record_bytes: float | None = None
    memory_bytes: int = 10_240 * MEBIBYTE
    disk_bytes: int = 10_240 * MEBIBYTE
    days_kept: float = 7.0
    mirror: bool = False

    def check(self) -> None:
        """Refuse a number that is out of range.

        Raises:
            BadInput: One is.
        """
        least: Mapping[str, float] = {"vectors": 1, "dimension": 1, "window_seconds": 1, "refresh_seconds": 1}
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and not least.get(name, 0) <= value <= _MOST:
                raise BadInput(
                    f"{name.replace('_', ' ')} is out of range",
                    hint=f"give a number from {least.get(name, 0):g} to {_MOST:g}",
                )
