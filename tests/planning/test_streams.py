"""Changes of two streams: one after the other they have an order, and both at once they have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import ContributeFields, Origin, WithdrawFields
from chroma_lifecycle.planning.facts import FieldFact
from chroma_lifecycle.planning.join import Joined, Outcome, join
from chroma_lifecycle.planning.ledger import Ledger, LedgerChanges
from chroma_lifecycle.values import ItemKey, Position

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
