"""What a rollback leaves behind, and how it comes to count again.

A rollback takes the ledger of an older version. Every fact that the newer one has beyond it becomes
withheld: it contributes nothing, but it stands in the way of every change that is not newer, so that
no duplicate and no straggler brings back a part of what was undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from chroma_lifecycle.errors import BadInput, LifecycleError
from chroma_lifecycle.intake.changes import MergeDelta, Origin
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.planning.facts import RunFact, Tombstone, merge_fields
from chroma_lifecycle.planning.join import DeltaFacts, Joined
from chroma_lifecycle.planning.ledger import Ledger, Withheld

_NAMED = 10

K = TypeVar("K")
F = TypeVar("F")
Positioned = TypeVar("Positioned", Tombstone, RunFact)


def left_behind(old: Ledger, now: Ledger) -> Withheld:
    """Return what is withheld once *old* takes the place of *now*: every fact of *now* that *old* has not,
    or not so new, and what either of them withholds already.
    """
    groups = now.unlike(old.path), now.withheld(), old.withheld()
    fields = _joined(merge_fields, *(group.fields for group in groups))
    tombstones = _joined(_newer, *(group.tombstones for group in groups))
    runs = _joined(_newer, *(group.runs for group in groups))
    known_fields = old.field_facts({reach for reach, _ in fields}).values()
    known_tombstones = old.tombstones({reach for reach, _ in tombstones}).values()
    known_runs = {key: run for key in runs if (run := old.run(*key))}
    return Withheld(
        _beyond(merge_fields, {(fact.reach, fact.item): fact for facts in known_fields for fact in facts}, fields),
        _beyond(_newer, {(fact.reach, fact.item): fact for facts in known_tombstones for fact in facts}, tombstones),
        _beyond(_newer, known_runs, runs),
    )


def _newer(one: Positioned, other: Positioned) -> Positioned:
    return other if one.position < other.position else one


def _joined(join: Callable[[F, F], F], *groups: Mapping[K, F]) -> dict[K, F]:
    found: dict[K, F] = {}
    for group in groups:
        for key, fact in group.items():
            found[key] = join(found[key], fact) if key in found else fact
    return found


def _beyond(join: Callable[[F, F], F], known: Mapping[K, F], facts: Mapping[K, F]) -> dict[K, F]:
    """Return those of *facts* that tell more than what is known."""
    return {key: fact for key, fact in facts.items() if key not in known or join(known[key], fact) != known[key]}


def reapply(
    ledger: Ledger, mapping: TableMapping, collection: str, open_delta: Callable[[MergeDelta], DeltaFacts]
) -> Joined:
    """Return what moves when every withheld fact counts again; what was erased meanwhile stays so.

    Args:
        ledger: The facts as published; only read.
        mapping: The rules under which they were made.
        collection: Whose ledger it is.
        open_delta: Reads and checks a delta; raises a LifecycleError for one that cannot be merged.

    Raises:
        BadInput: The delta of a withheld run cannot be read any more; each is named.
    """
    withheld, joined, lost = ledger.withheld(), Joined(), []
    reaches = {reach for reach, _ in withheld.fields}
    known = {(fact.reach, fact.item): fact for facts in ledger.field_facts(reaches).values() for fact in facts}
    for key, fact in withheld.fields.items():
        joined.fields[key] = merge_fields(known[key], fact) if key in known else fact
    joined.tombstones.update(withheld.tombstones)
    for run_key, run in withheld.runs.items():
        try:
            delta = open_delta(begun(run, mapping, collection))
        except LifecycleError as problem:
            lost.append(f"{run.address} of {mapping.spell(run.item)}: {problem.message}")
            continue
        if delta.digest != run.digest:
            lost.append(f"{run.address} of {mapping.spell(run.item)}: it has other content than when it was merged")
            continue
        joined.runs[run_key] = joined.merged[run_key] = run
        # Another run of the same delta may be newer than an erasure.
        others = joined.deltas.get(run.address, ())
        joined.deltas[run.address] = tuple(dict.fromkeys((*others, *ledger.left_in(run, delta.ids))))
    if lost:
        more = f", and {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
        raise BadInput(
            f"{len(lost):,} withheld deltas of {collection} cannot be read: {'; '.join(lost[:_NAMED])}{more}",
            hint="bring the deltas back to their addresses; nothing was reapplied",
        )
    return joined


def begun(run: RunFact, mapping: TableMapping, collection: str) -> MergeDelta:
    """Return the change that *run* came from."""
    match = mapping.match(run.item)
    if match is None or collection not in match.rule.merges:
        raise BadInput(
            "no rule of the mapping takes its item any more",
            hint="use the mapping that the version was made under",
        )
    origin = Origin(run.address, collection, match.rule.name, run.item, run.position)
    return MergeDelta(origin, run.address, mapping.below(match))
