"""Changes of two streams: one after the other they have an order, and both at once they have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import ContributeFields, Origin, WithdrawFields
from chroma_lifecycle.planning.facts import FieldFact
from chroma_lifecycle.planning.join import Joined, Outcome, join
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges, Withheld
from chroma_lifecycle.planning.planner import plan
from chroma_lifecycle.values import ItemKey, Position
from tests.support.mappings import TAG, mapping_of

ITEM, REACH = ItemKey("IMAGE#a", "RECEIPT#00001#PLACE"), "IMAGE#a#RECEIPT#00001"
KNOWN, OTHER = {"merchant_name": {"S": "known"}}, {"merchant_name": {"S": "other"}}
OLDER, NEWER, NEWEST = "2026-01-01T00:00:00.000", "2027-01-01T00:00:00.000", "2028-01-01T00:00:00.000"


def joined(directory: Path, change: ContributeFields | WithdrawFields, *, as_of: int = 0) -> Joined:
    """Join *change* with what the newer stream told at second 1,000."""
    position = Position.of_stream(NEWER, 5, 1_000)
    fact = FieldFact("place", ITEM, REACH, position, position, present=True, attributes=KNOWN, as_of=as_of)
    with Ledger.create(directory / "ledger") as ledger:
        ledger.store(LedgerChanges(fields=(fact,)), received_seconds=1)
        return join(ledger, [change], lambda _: pytest.fail("there is no delta"))


def origin(label: str, sequence: int, created_seconds: int) -> Origin:
    return Origin("m", "words", "place", ITEM, Position.of_stream(label, sequence, created_seconds))


@pytest.mark.parametrize(
    "change",
    [
        ContributeFields(origin(OLDER, 9, 1_001), REACH, OTHER, partial=False),
        WithdrawFields(origin(OLDER, 9, 1_001), REACH),
    ],
    ids=["a value", "a removal"],
)
def test_an_older_stream_that_says_something_later_is_refused(
    tmp_path: Path, change: ContributeFields | WithdrawFields
) -> None:
    """It would never count, and as a straggler nobody would hear of it."""
    end = joined(tmp_path, change)

    assert ({"m": Outcome.FAILED}, False) == (end.outcomes, end.moved())
    assert isinstance(end.problems["m"], BadInput)
    assert "left for a newer one" in end.problems["m"].message


@pytest.mark.parametrize(
    ("label", "sequence", "created", "image", "as_of", "outcome"),
    [
        (OLDER, 9, 1_000, OTHER, 0, Outcome.NO_OP),
        (OLDER, 9, 1_001, KNOWN, 0, Outcome.NO_OP),
        (OLDER, 9, 1_001, OTHER, 1_004, Outcome.NO_OP),
        (NEWER, 4, 1_001, OTHER, 0, Outcome.NO_OP),
        (NEWEST, 1, 999, OTHER, 0, Outcome.APPLIED),
    ],
    ids=["made before", "says the same", "seen by a resync", "of the same stream", "of the next stream"],
)
def test_all_else_of_another_stream_is_as_ever(
    tmp_path: Path,
    label: str,
    sequence: int,
    created: int,
    image: dict[str, dict[str, str]],
    as_of: int,
    outcome: Outcome,
) -> None:
    """Stragglers and duplicates of the stream before are no-ops, and the next stream is the newer one."""
    change = ContributeFields(origin(label, sequence, created), REACH, image, partial=False)

    assert {"m": outcome} == joined(tmp_path, change, as_of=as_of).outcomes


def test_what_is_withheld_orders_as_what_counts(tmp_path: Path) -> None:
    """A rollback withheld what the newer stream told: the older one's later change would be taken for undone, too."""
    position = Position.of_stream(NEWER, 5, 1_000)
    fact = FieldFact("place", ITEM, REACH, position, position, present=True, attributes=KNOWN)
    changes = [
        ContributeFields(origin(OLDER, 9, 1_001), REACH, OTHER, partial=False),
        ContributeFields(replace(origin(OLDER, 8, 1_000), source="before"), REACH, OTHER, partial=False),
    ]
    with Ledger.create(tmp_path / "ledger") as ledger:
        ledger.withhold(Withheld({(REACH, ITEM): fact}), received_seconds=1, version=1)
        end = join(ledger, changes, lambda _: pytest.fail("there is no delta"))

    assert {"m": Outcome.FAILED, "before": Outcome.NO_OP} == end.outcomes


@pytest.mark.parametrize(
    ("fold", "created_seconds", "image", "unordered"),
    [
        ("newest", 1_001, {"note": {"S": "later"}}, True),
        ("newest", 1_000, {"note": {"S": "later"}}, False),
        ("newest", 1_001, {"note": {"S": "newer"}}, False),
        ("newest", 1_001, {}, False),
        ("count", 1_001, {"note": {"S": "later"}}, False),
    ],
    ids=["outdone", "made before", "says the same", "gives nothing", "where order is nothing"],
)
def test_items_of_two_streams_give_to_one_key(
    tmp_path: Path, fold: str, created_seconds: int, image: dict[str, dict[str, str]], unordered: bool
) -> None:
    """Its value is that of the newest item: another item's later change in the older stream would never be seen."""
    mapping = mapping_of(f"tag: {{{TAG}, set: {{docs: {{note: {{from: note, fold: {fold}}}}}}}}}")
    items = ItemKey("TENANT#t", "DOC#d#TAG#a"), ItemKey("TENANT#t", "DOC#d#TAG#b")
    reach = "TENANT#t#DOC#d"
    first, second = (
        ContributeFields(Origin(item.sort, "docs", "tag", item, position), reach, said, partial=False)
        for item, position, said in (
            (items[0], Position.of_stream(NEWER, 5, 1_000), {"note": {"S": "newer"}}),
            (items[1], Position.of_stream(OLDER, 9, created_seconds), image),
        )
    )
    with Ledger.create(tmp_path / "ledger") as ledger:
        for changes in ([first], [second]):
            moved = join(ledger, changes, lambda _: pytest.fail("there is no delta"))
            planned = plan(ledger, moved, mapping, "docs")
            ledger.store(planned.changes, received_seconds=1)

    expected = {(items[1], second.origin.position): first.origin.position} if unordered else {}
    assert expected == planned.unordered
