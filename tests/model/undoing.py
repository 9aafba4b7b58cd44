"""Which changes count after rollbacks and reapplies, of one collection. It imports nothing of the product.

* A rollback to an earlier moment: what counted then counts, all else that was received is withheld.
* A change that is not newer than a withheld one of the same kind and item is withheld with it.
* After `reapply` all of it counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.model.reference import plain

Kind = tuple[str, str, str]
StreamRecord = dict[str, Any]


@dataclass
class Undoing:
    """The changes of one collection, by sequence number.

    Attributes:
        counted: Those that count.
        withheld: Those that were received and do not.
        moments: Both, at each earlier moment.
    """

    collection: str
    counted: dict[int, StreamRecord] = field(default_factory=dict)
    withheld: dict[int, StreamRecord] = field(default_factory=dict)
    moments: list[tuple[dict[int, StreamRecord], dict[int, StreamRecord]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._note()

    def deliver(self, records: list[StreamRecord]) -> None:
        """Receive a batch."""
        for record in records:
            number = _sequence(record)
            if number not in self.counted:
                (self.withheld if self._is_barred(record) else self.counted)[number] = record
        self._note()

    def barred(self, records: list[StreamRecord]) -> set[str]:
        """Return of what kinds the items are that something withheld stands in the way of in a batch."""
        sorts = [record["dynamodb"]["Keys"]["SK"]["S"] for record in records if self._is_barred(record)]
        markers = ("COMPACTION_RUN", "PLACE", "LABEL")
        return {next((marker for marker in markers if marker in sort), "a removed entity") for sort in sorts}

    def says_nothing(self, records: list[StreamRecord]) -> bool:
        """Return whether all of a batch was received before, or stands behind something withheld."""
        return all(_sequence(record) in self.counted or self._is_barred(record) for record in records)

    def _is_barred(self, record: StreamRecord) -> bool:
        kind, number = self._kind(record), _sequence(record)
        return kind is not None and any(
            number <= other and kind == self._kind(held) for other, held in self.withheld.items()
        )

    def rollback(self, moment: int) -> None:
        """Let count what counted at an earlier moment, and nothing else."""
        counted, withheld = self.moments[moment]
        received = {**self.withheld, **withheld, **self.counted}
        self.counted = dict(counted)
        self.withheld = {number: record for number, record in received.items() if number not in counted}
        self._note()

    def reapply(self) -> None:
        """Let everything count that was received."""
        self.counted, self.withheld = {**self.withheld, **self.counted}, {}
        self._note()

    def _note(self) -> None:
        self.moments.append((dict(self.counted), dict(self.withheld)))

    def _kind(self, record: StreamRecord) -> Kind | None:
        """Return what a change is about; ``None`` for one that does nothing here."""
        body = record["dynamodb"]
        pk, sk = body["Keys"]["PK"]["S"], body["Keys"]["SK"]["S"]
        if "COMPACTION_RUN" in sk:
            new, old = self._pending(body.get("NewImage")), self._pending(body.get("OldImage"))
            return (pk, sk, new) if new is not None and new != old else None
        if "PLACE" in sk or "LABEL" in sk:
            return (pk, sk, "")
        return (pk, sk, "") if record["eventName"] == "REMOVE" else None

    def _pending(self, image: dict[str, Any] | None) -> str | None:
        item = plain(image) or {}
        return (
            item.get(f"{self.collection}_delta_prefix") if item.get(f"{self.collection}_state") == "PENDING" else None
        )


def _sequence(record: StreamRecord) -> int:
    return int(record["dynamodb"]["SequenceNumber"])
