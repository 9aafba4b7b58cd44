"""From facts made under one mapping to facts made anew under another: what follows for the records.

Every field fact is made anew, so every record is looked at: what the old facts owned on it, under the
old mapping, beside what the new ones own. A key that no fact owns any more is the delta's again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.facts import FieldFact, RunFact
from chroma_lifecycle.planning.join import Joined
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.plan import OwnedKeys
from chroma_lifecycle.planning.planner import Planned, Planner, Resolver, owned_below, planned_by, same
from chroma_lifecycle.values import Ordering, Scalar

ReadMetadata = Callable[[RunFact, Collection[str]], Mapping[str, Mapping[str, Scalar]] | None]
"""Returns what the delta of a run says of some records; ``None`` where it cannot be read any more."""


def remap(
    ledger: Ledger,
    joined: Joined,
    old: TableMapping,
    new: TableMapping,
    collection: str,
    read_metadata: ReadMetadata,
) -> Planned:
    """Return the smallest plan that brings the records of *collection* to what the facts say that were made anew.

    Args:
        ledger: The facts as published, made under *old*; only read.
        joined: Every field fact, made under *new*, and what else moves.
        old, new: The mappings.
        collection: Name of the collection.
        read_metadata: Reads a delta again, for the keys that no fact owns any more.
    """
    planner = _Remapper(ledger, joined, new, collection)
    planner.before = _by_reach(Resolver(old, collection), ledger.every_field_fact())
    planner.now = _by_reach(Resolver(new, collection), joined.fields.values())
    planner.read_metadata = read_metadata
    return planned_by(planner, joined)


def require_remappable(ledger: Ledger, old: TableMapping, new: TableMapping, collection: str) -> None:
    """Refuse a mapping to which the records of *ledger* cannot be brought.

    Raises:
        BadInput: Its ids are others, it orders items otherwise, or facts of the old one are withheld.
    """
    if withheld := len(ledger.withheld()):
        raise BadInput(
            f"a rollback withholds {withheld:,} facts of {collection}, and they were made under the mapping in force",
            hint="run `chroma-lifecycle reapply` with the mapping in force first; what it brings back "
            "the table says too",
        )
    if old.ordering is Ordering.TO_THE_SECOND and new.ordering is Ordering.EXACT and _is_written(ledger):
        raise BadInput(
            f"the runs of {collection} were ordered to the second, also those of other partitions, "
            "and exact ordering cannot compare them",
            hint="keep 'ordering: to_the_second', or begin the collection anew with init",
        )
    others = (record_id for record_id in ledger.record_ids() if not new.fits(collection, record_id))
    if (other := next(others, None)) is not None:
        raise BadInput(
            f"{collection} has records whose ids the mapping does not make, {other!r} to begin with: "
            f"they are {new.ids[collection]} there",
            hint="keep the pattern of the ids; records with other ids need deltas that have them, and a collection "
            "that is begun anew with init",
        )


def _is_written(ledger: Ledger) -> bool:
    return next(ledger.runs(), None) is not None


def _by_reach(resolver: Resolver, facts: Iterable[FieldFact]) -> dict[str, OwnedKeys]:
    found: dict[str, list[FieldFact]] = defaultdict(list)
    for fact in facts:
        found[fact.reach].append(fact)
    return {reach: resolver.resolve(each) for reach, each in found.items()}


class _Remapper(Planner):
    """Attributes:
    before: What the facts as published own, by reach.
    now: What those that were made anew own.
    """

    before: Mapping[str, OwnedKeys]
    now: Mapping[str, OwnedKeys]
    read_metadata: ReadMetadata

    def updates(self, besides: set[str]) -> dict[str, OwnedKeys]:
        updates: dict[str, dict[str, Scalar | None]] = {}
        freed: dict[str, OwnedKeys] = {}
        for record_id in self._ledger.record_ids():
            if record_id in besides:
                continue
            was, now = owned_below(self.before, record_id), owned_below(self.now, record_id)
            if changed := {key: value for key, value in now.items() if key not in was or not same(value, was[key])}:
                updates[record_id] = changed
            if left := {key: value for key, value in was.items() if key not in now}:
                freed[record_id] = left
        for record_id, values in self._of_deltas(freed):
            updates.setdefault(record_id, {}).update(values)
        return dict(updates)

    def _of_deltas(self, freed: Mapping[str, OwnedKeys]) -> Iterator[tuple[str, dict[str, Scalar | None]]]:
        """Yield what changes by what the deltas say of keys that are theirs again; nothing, where one is gone."""
        by_run: dict[RunFact, list[str]] = defaultdict(list)
        for record_id, run in self._ledger.writers(freed).items():
            by_run[run].append(record_id)
        for run, ids in by_run.items():
            metadata = self.read_metadata(run, frozenset(ids)) or {}
            for record_id in ids:
                said = metadata.get(record_id, {})
                values = {key: (value, said.get(key)) for key, value in freed[record_id].items()}
                if changed := {key: now for key, (was, now) in values.items() if not same(was, now)}:
                    yield record_id, changed
