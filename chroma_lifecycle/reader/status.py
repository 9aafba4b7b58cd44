"""What a reader says about itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ReaderStatus:
    """What is served, how old it is, and why it is not newer.

    Attributes:
        collection: Whose records.
        store: Where they come from.
        version: What is served; ``None`` before the first use.
        records: How many records that version has.
        written_at: When it was published.
        age_seconds: Since then. A collection that nobody changes grows old and is still the newest.
        lag_seconds: Since the version was last known to be the newest: the most by which an answer can be
            out of date. At most the reader's interval (and the time of one refresh) while all is well.
        newest: The newest version as of the last look at HEAD.
        problem: Why the last look, or the version that it found, was of no use; ``None`` when it was.
        hint: What to do about it.
        older_in_use: Versions before this one that somebody still reads.
    """

    collection: str
    store: str
    version: int | None
    records: int | None
    written_at: datetime | None
    age_seconds: float | None
    lag_seconds: float | None
    newest: int | None
    problem: str | None
    hint: str | None
    older_in_use: int

    def as_json(self) -> dict[str, object]:
        """Return the same for JSON."""
        return asdict(self) | {"written_at": self.written_at.isoformat() if self.written_at else None}
