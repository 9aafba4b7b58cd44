"""Join a batch of changes with the ledger: which facts move, and what becomes of each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, assert_never

from chroma_lifecycle.errors import BadInput, LifecycleError
from chroma_lifecycle.intake.changes import (
    Change,
    ContributeFields,
    DeleteRecords,
    MergeDelta,
    RefusedFields,
    WithdrawFields,
)
from chroma_lifecycle.planning.facts import (
    FieldFact,
    RunFact,
    Tombstone,
    join_fields,
    join_tombstone,
    merge_fields,
)
from chroma_lifecycle.planning.ledger import Ledger, RunKey
from chroma_lifecycle.planning.streams import of_a_left_stream
from chroma_lifecycle.values import Digest, ItemKey, Position


class Outcome(StrEnum):
    """What became of a message in one collection."""

    APPLIED = "applied"  # it moved a fact
    NO_OP = "no-op"  # a duplicate, a straggler, or superseded within its batch
    FAILED = "failed"


class DeltaFacts(Protocol):
    """What planning needs to know of a delta that was read and checked."""

    @property
    def digest(self) -> Digest: ...

    @property
    def ids(self) -> tuple[str, ...]: ...


@dataclass
class Joined:
    """What a batch moves.

    Attributes:
        fields: Field facts as they are now, by reach and item.
        tombstones: Tombstones as they are now, by reach and item.
        runs: Run facts as they are now.
        anew: Whether `fields` are all the field facts that there are from now on.
        deltas: Ids of each delta that is to be merged, by address.
        merged: Every run that a change asked for and that is merged, now or before.
        unmerged: Why a run that a change asked for failed. One that a rollback withholds is in neither.
        outcomes: What became of each change, by its source. A message with several changes
            failed if one of them did, and was applied if one of them moved a fact.
        problems: Why, by the source of each that failed.
    """

    fields: dict[tuple[str, ItemKey], FieldFact] = field(default_factory=dict)
    tombstones: dict[tuple[str, ItemKey], Tombstone] = field(default_factory=dict)
    runs: dict[RunKey, RunFact] = field(default_factory=dict)
    anew: bool = False
    deltas: dict[str, tuple[str, ...]] = field(default_factory=dict)
    merged: dict[RunKey, RunFact] = field(default_factory=dict)
    unmerged: dict[RunKey, LifecycleError] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    problems: dict[str, LifecycleError] = field(default_factory=dict)

    def moved(self) -> bool:
        """Return whether any fact moves; if not, there is nothing to publish."""
        return bool(self.fields or self.tombstones or self.runs or self.anew)


def join(ledger: Ledger, changes: Iterable[Change], open_delta: Callable[[MergeDelta], DeltaFacts]) -> Joined:
    """Join *changes* of one collection with what *ledger* knows.

    The newest goes first, so that what it supersedes is seen to be a no-op. A change that fails
    moves nothing; an older one of its item then counts.

    Args:
        ledger: The facts as published; only read.
        changes: In any order, with any repetition.
        open_delta: Reads and checks a delta; raises a LifecycleError for one that cannot be merged.
    """
    ordered = sorted(changes, key=lambda change: change.origin.position.order, reverse=True)
    batch = _Batch(ledger, ordered, open_delta)
    for change in ordered:
        batch.take(change)
    return batch.joined


class _Batch:
    def __init__(self, ledger: Ledger, changes: list[Change], open_delta: Callable[[MergeDelta], DeltaFacts]) -> None:
        self.joined = Joined()
        self._ledger = ledger
        self._open_delta = open_delta
        reaches = {change.reach for change in changes if not isinstance(change, MergeDelta)}
        self._known_fields = {
            (fact.reach, fact.item): fact for facts in ledger.field_facts(reaches).values() for fact in facts
        }
        removed = {change.reach for change in changes if isinstance(change, DeleteRecords)}
        self._known_tombstones = {
            (fact.reach, fact.item): fact for facts in ledger.tombstones(removed).values() for fact in facts
        }
        self._withheld = ledger.withheld(reaches)
        self._read_at = ledger.mappings.read_at()

    def take(self, change: Change) -> None:
        source = change.origin.source
        outcomes = self.joined.outcomes
        try:
            moved = self._join(change)
        except LifecycleError as problem:
            outcomes[source] = Outcome.FAILED
            self.joined.problems[source] = problem
            if isinstance(change, MergeDelta):
                self.joined.unmerged[change.origin.item, change.address] = problem
            return
        if outcomes.get(source) is not Outcome.FAILED and (moved or source not in outcomes):
            outcomes[source] = Outcome.APPLIED if moved else Outcome.NO_OP

    def _join(self, change: Change) -> bool:
        match change:
            case ContributeFields() | WithdrawFields():
                return self._fields(change)
            case RefusedFields():
                return self._refused(change)
            case DeleteRecords():
                return self._tombstone(change)
            case MergeDelta():
                return self._run(change)
            case _:
                assert_never(change)

    def _fields(self, change: ContributeFields | WithdrawFields) -> bool:
        key = (change.reach, change.origin.item)
        known, withheld = self._known_fields.get(key), self._withheld.fields.get(key)
        fact = join_fields(known, change, withheld, self._read_at)
        if fact is None:
            image = change.image if isinstance(change, ContributeFields) else None
            for outdoing in (known, withheld):
                if outdoing and image != outdoing.image and not outdoing.covers(change.origin.position):
                    _require_one_stream(change, outdoing.seen)
            return False
        self._known_fields[key] = self.joined.fields[key] = fact
        return True

    def _refused(self, change: RefusedFields) -> bool:
        key, position = (change.reach, change.origin.item), change.origin.position
        known, withheld = self._known_fields.get(key), self._withheld.fields.get(key)
        everything = merge_fields(known, withheld) if known and withheld else known or withheld
        if everything is None or (everything.position < position and not everything.covers(position)):
            raise change.problem
        return False

    def _tombstone(self, change: DeleteRecords) -> bool:
        key = (change.reach, change.origin.item)
        known, withheld = self._known_tombstones.get(key), self._withheld.tombstones.get(key)
        if withheld is not None and change.origin.position <= withheld.position:
            _require_one_stream(change, withheld.position)
            return False
        if (fact := join_tombstone(known, change)) is None:
            assert known is not None  # it is as new
            if self._holds_records(change.reach):
                _require_one_stream(change, known.position)
            return False
        self._known_tombstones[key] = self.joined.tombstones[key] = fact
        return True

    def _holds_records(self, reach: str) -> bool:
        """Return whether a record is there, or about to be, that a removal covers."""
        arriving = (record_id for ids in self.joined.deltas.values() for record_id in ids)
        return bool(self._ledger.records_below({reach})) or any(
            record_id == reach or record_id.startswith(f"{reach}#") for record_id in arriving
        )

    def _run(self, change: MergeDelta) -> bool:
        origin, address = change.origin, change.address
        key = (origin.item, address)
        known = self.joined.runs.get(key) or self._ledger.run(origin.item, address)
        if known is not None and origin.position <= known.position:
            if origin.position.comes_from_a_stream_left_before(known.position) and self._is_written_over(change):
                raise of_a_left_stream(origin.position, known.position)
            self.joined.merged[key] = known
            return False
        withheld = self._withheld.runs.get(key)
        if withheld is not None and origin.position <= withheld.position:
            _require_one_stream(change, withheld.position)
            return False
        delta = self._open_delta(change)
        check_content(self._ledger, address, delta.digest)
        run = RunFact(origin.item, address, origin.position, delta.digest, len(delta.ids))
        self.joined.runs[key] = self.joined.merged[key] = run
        self.joined.deltas[address] = delta.ids
        return True

    def _is_written_over(self, change: MergeDelta) -> bool:
        """Return whether another run wrote records of a delta that was merged, or is about to."""
        ids = self._open_delta(change).ids
        writers = self._ledger.writers(ids).values()
        arriving = (theirs for address, theirs in self.joined.deltas.items() if address != change.address)
        return any((run.item, run.address) != (change.origin.item, change.address) for run in writers) or any(
            not set(ids).isdisjoint(theirs) for theirs in arriving
        )


def _require_one_stream(change: Change, known: Position) -> None:
    """Refuse a change that *known* outdoes though it was made later: nothing orders their streams."""
    if change.origin.position.comes_from_a_stream_left_before(known):
        raise of_a_left_stream(change.origin.position, known)


def check_content(ledger: Ledger, address: str, digest: Digest) -> None:
    """Refuse a delta of which a run merged other content before."""
    known = ledger.digest_at(address)
    if known is not None and known != digest:
        raise BadInput(
            f"the delta at {address} has other content than when it was merged "
            f"(digest {digest[:12]}, then {known[:12]})",
            hint="an address holds one content for ever; write the corrected delta to a new address",
        )
