"""Why a record is as it is: which item, position and version gave each key, and existence, by the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chroma_lifecycle.intake.mapping import Contribution, TableMapping
from chroma_lifecycle.planning.facts import ERASED, FieldFact, RunFact, Tombstone
from chroma_lifecycle.planning.folds import fold
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.planner import prefixes, same
from chroma_lifecycle.values import ItemKey, Position, Scalar

ENDS = ("deletes", "erased")
"""What a fact may do to a record that ends it; it gives no value."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one fact says of a record.

    Attributes:
        what: The key that it owns; or what it does to the record: ``run``, ``deletes``, ``erased``.
        value: What it gives to the key; ``None`` for nothing.
        wins: Whether the key has this value, or the record exists by this run.
        withheld: Whether a rollback took it out of force.
        position: Where the newest event of its item stands.
        version: The version that the fact came with.
    """

    what: str
    value: Scalar | None
    item: ItemKey
    rule: str
    position: Position
    version: int
    wins: bool
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """A record by its facts.

    Attributes:
        writer: The run that wrote it; ``None`` if there is no such record (its facts are parked then).
        keys: Every key that a fact owns, with its value; all others are the delta's.
        given: What each fact says, the keys in their order.
    """

    record: str
    writer: RunFact | None
    keys: dict[str, Scalar | None]
    given: tuple[Given, ...]

    @property
    def ended(self) -> Given | None:
        """What deleted or erased the record, the newest of it; ``None`` if it is there, or nothing did."""
        ends = [each for each in self.given if each.what in ENDS and not each.withheld]
        return max(ends, key=lambda each: each.position.order) if ends and self.writer is None else None


def explain_record(ledger: Ledger, mapping: TableMapping, collection: str, record: str) -> Explanation:
    """Return what the facts of *ledger* say of one record, whether it exists or not."""
    reaches = prefixes(record)
    facts = [fact for found in ledger.field_facts(reaches).values() for fact in found]
    explain = _Explain(ledger, mapping, collection)
    keys = explain.keys(facts)
    writer = ledger.writers([record]).get(record)
    withheld = ledger.withheld(reaches)
    given = [
        *([explain.run(writer)] if writer else []),
        *(explain.deletion(each) for found in ledger.tombstones(reaches).values() for each in found),
        *explain.fields(facts, keys, withheld=False),
        *(explain.deletion(each, withheld=True) for each in withheld.tombstones.values()),
        *explain.fields(withheld.fields.values(), keys, withheld=True),
    ]
    return Explanation(record, writer, keys, tuple(given))


@dataclass(frozen=True, slots=True)
class _Explain:
    ledger: Ledger
    mapping: TableMapping
    collection: str

    def keys(self, facts: Iterable[FieldFact]) -> dict[str, Scalar | None]:
        folded = fold(((fact, each) for fact in facts for each in self._contributions(fact)), self.mapping.ordering)
        return dict(sorted(folded.items()))

    def fields(self, facts: Iterable[FieldFact], keys: dict[str, Scalar | None], *, withheld: bool) -> Iterator[Given]:
        found = [(each.key, each.value, fact) for fact in facts for each in self._contributions(fact)]
        for key, value, fact in sorted(found, key=lambda row: (row[0], row[2].seen.order)):
            wins = not withheld and value is not None and same(value, keys.get(key))
            yield self._given(fact, key, value, fact.rule, fact.seen, wins=wins, withheld=withheld)

    def run(self, fact: RunFact) -> Given:
        return self._given(fact, "run", fact.address, "", fact.position, wins=True)

    def deletion(self, fact: Tombstone, *, withheld: bool = False) -> Given:
        what = "erased" if fact.rule == ERASED else "deletes"
        return self._given(fact, what, None, fact.rule, fact.position, wins=False, withheld=withheld)

    def _contributions(self, fact: FieldFact) -> Iterable[Contribution]:
        return self.mapping.contributions(fact.rule, self.collection, fact.item, fact.image)

    def _given(
        self,
        fact: FieldFact | Tombstone | RunFact,
        what: str,
        value: Scalar | None,
        rule: str,
        position: Position,
        *,
        wins: bool,
        withheld: bool = False,
    ) -> Given:
        version = self.ledger.version_of(fact, withheld=withheld)
        return Given(what, value, fact.item, rule, position, version, wins, withheld)
