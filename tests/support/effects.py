"""What took effect of all that befell a table and its collections: what a machine's statistics count.

What was asked for and did nothing is not counted: a duplicate of what was never applied, a call that was never made.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from chroma_lifecycle.report import CollectionReport
from tests.model.expected import Key, Message, StreamRecord
from tests.model.lineage import Pool
from tests.model.reference import Record, typed


@dataclass
class Effects:
    """Counts in *seen*, by what it is told of deliveries and of what was published.

    Attributes:
        pool: What each delta holds, by its address.
    """

    pool: Pool
    seen: Counter[str]
    _applied: set[tuple[str, str | None]] = field(default_factory=set)
    _merged: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _ills: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    # Messages

    def answered(
        self, messages: Iterable[Message], outcomes: Mapping[str, str], is_overtaken: Callable[[StreamRecord], bool]
    ) -> None:
        """A batch was answered.

        Args:
            is_overtaken: Whether something newer counts of what a record tells of.
        """
        found: dict[tuple[str, str | None], set[str]] = defaultdict(set)
        for name, record in messages:
            outcome = outcomes.get(name, "ignored")
            found[record["eventID"], record.get("collection")].add(outcome)
            if outcome == "no-op":
                self.seen["overtaken"] += is_overtaken(record)
        for which, told in found.items():
            self.seen["duplicate"] += "no-op" in told and which in self._applied
            self.seen["duplicate in a batch"] += {"applied", "no-op"} <= told
            if "applied" in told:
                self._applied.add(which)

    # Deltas

    def merging(self, lineage: str, moved: Iterable[Key], there: Iterable[str]) -> None:
        """A version merges the deltas of what *moved*, where records were *there* before."""
        before = set(there)
        for address in (key[3] for key in moved if key[0] == "run"):
            self._merged[lineage].append(address)
            self.seen["delta merged"] += 1
            self.seen["empty delta"] += not self.pool[address]
            self.seen["overlapping delta"] += not before.isdisjoint(self.pool[address])

    def published(self, lineage: str, rows: Callable[[], Mapping[str, Record]], records: Mapping[str, Record]) -> None:
        """A version was compared with the models.

        Args:
            rows: Returns the records as the deltas told them that are theirs; called if some were merged.
        """
        if merged := self._merged.pop(lineage, None):
            told = rows()
            for address in merged:
                theirs = {id_: row for id_, row in self.pool[address].items() if told.get(id_) is row}
                self.seen["stale metadata"] += any(_is_beaten(row, records[id_]) for id_, row in theirs.items())

    # Mirrors

    def befell_mirror(self, what: str, lineages: Iterable[str]) -> None:
        """The mirror of some lineages is not what a cycle left there."""
        for lineage in lineages:
            self._ills[lineage].add(what)

    def mirrored(self, reports: Iterable[CollectionReport]) -> None:
        """Cycles came to their end, and those that published looked at the mirror."""
        for report in reports:
            if report.mirror is not None:
                self.seen.update(f"{what} mirror" for what in self._ills.pop(report.collection, ()))


def _is_beaten(row: Record, record: Record) -> bool:
    """Return whether a record holds another value than its delta told, or none."""
    told, found = (typed({"": {"": each}})[""][""][2] for each in (row, record))
    return any(found.get(key) != value for key, value in told.items())
