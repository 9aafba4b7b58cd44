"""Order and batching do not decide: a few of the known traps with real Chroma; the planner's tests have the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.model.reference import Record
from tests.support.table import Table, in_sqs
from tests.support.world import IMAGE, LINE, RUN, WORD, World, begins, label, with_word

Ends = Callable[..., list[dict[str, Record]]]


@pytest.fixture
def ends(begun: Path, tmp_path: Path) -> Ends:
    """Return what gives the distinct ends that records come to in both collections, over orders and batchings."""

    def ends_of(records: list[dict[str, Any]], pool: dict[str, Any], collection: str = "words") -> list[Any]:
        found: list[Any] = []
        for number, batches in enumerate(ways(records)):
            world = World(Path(shutil.copytree(begun, tmp_path / collection / str(number))))
            for address, content in pool.items():
                world.write_delta(address, content)
            with world.compactor() as machine:
                for batch in batches:
                    assert 0 == machine.compact(in_sqs(batch)).failed
            if (end := world.records(collection)) not in found:
                found.append(end)
        return found

    return ends_of


def ways(records: list[Any]) -> Iterator[list[list[Any]]]:
    """Yield a few orders: all at once and one by one, forwards and backwards; of two records, all there are."""
    orders = permutations(records) if len(records) == 2 else [records, records[::-1]]
    for order in orders:
        yield [list(order)]
        yield [[record] for record in order]


def test_labels_removed_and_added_in_one_batch_end_as_the_table(ends: Ends) -> None:
    """L17: a word with labels A and B; A removed and C added, in any order → B and C."""
    table = Table()
    run = table.put(*RUN, **begins("r1"))
    records = [run, label(table, "a"), label(table, "b")]
    records.append(table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#a"))
    records.append(label(table, "c", "INVALID"))

    owned = {"label_b": True, "label_c": False, "label_status": "validated"}
    assert [{WORD: (1, None, owned)}] == ends(records, {"r1": {WORD: (1, None, {})}})


@pytest.mark.parametrize("warm", [False, True])
def test_a_straggler_between_two_equal_values_does_not_win(world: World, warm: bool) -> None:
    """D1c: X is published, X again is a version of facts alone, the Y from between comes late and moves nothing."""
    table = Table()
    with_word(world, table)
    first, straggler, again = (label(table, "a", status) for status in ("VALID", "INVALID", "VALID"))
    machine, ends, published = world.compactor(), [], []
    for record in (first, again, straggler):
        machine = machine if warm else world.compactor()
        report = machine.compact(in_sqs([record]))
        ends.append((report.applied, report.no_op, report.failed))
        published.append((world.version(), world.records()[WORD][2]))
        if not warm:
            machine.close()
            shutil.rmtree(world.home / "workspace")
    machine.close()

    x = {"x": 1, "label_a": True, "label_status": "validated"}
    assert [(1, 0, 0), (1, 0, 0), (0, 1, 0)] == ends
    assert [(3, x), (4, x), (4, x)] == published
    assert 1 == world.compact([label(table, "a", "INVALID")]).applied
    assert {**x, "label_a": False} == world.records()[WORD][2] | {"label_status": "validated"}


def test_a_run_that_began_after_a_removal_stands(ends: Ends) -> None:
    """L18: [REMOVE at s1, run at s2] in any order and batching → the new vectors exist."""
    table = Table()
    table.put(IMAGE, "RECEIPT#00001")
    records = [table.remove(IMAGE, "RECEIPT#00001"), table.put(*RUN, **begins("r1"))]

    assert [{WORD: (1, "text", {})}] == ends(records, {"r1": {WORD: (1, "text", {})}})


def test_a_run_that_began_before_a_removal_is_gone(ends: Ends) -> None:
    """L18, D1b: [run at s1, REMOVE at s2, the run's status at s3] in any order and batching → no vectors."""
    table = Table()
    table.put(IMAGE, "RECEIPT#00001")
    records = [table.put(*RUN, **begins("r1")), table.remove(IMAGE, "RECEIPT#00001")]
    records.append(table.update(*RUN, words_state="COMPLETED", words_merged_vectors=1))

    assert [{}] == ends(records, {"r1": {WORD: (1, "text", {})}})


def test_a_place_removed_and_inserted_again_is_the_new_place(ends: Ends) -> None:
    """L19: the place inserted last counts, and nothing of the one before is left."""
    table = Table()
    place = (IMAGE, "RECEIPT#00001#PLACE")
    records = [table.put(*RUN, **begins("r1")), table.put(*place, merchant_name="one", phone_number="1")]
    records += [table.remove(*place), table.put(*place, merchant_name="two")]

    assert [{WORD: (1, None, {"merchant_name": "two"})}] == ends(records, {"r1": {WORD: (1, None, {})}})


def test_an_edit_survives_a_delta_that_was_captured_before_it(ends: Ends) -> None:
    """L20: label and place come before or after the vector; its stale metadata undoes neither edit nor removal."""
    table = Table()
    label(table, "date")
    records = [table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="new"), label(table, "total", "INVALID")]
    records.append(table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#date"))
    records.append(table.put(*RUN, **begins("r1")))
    stale = {"merchant_name": "old", "label_total": True, "label_date": True, "label_status": "validated", "x": 1}

    owned = {"merchant_name": "new", "label_total": False, "label_status": "unvalidated", "x": 1}
    assert [{WORD: (1, "text", owned)}] == ends(records, {"r1": {WORD: (1, "text", stale)}})


@pytest.mark.parametrize("below", ["RECEIPT#00001", "RECEIPT#00001#LINE#00001", "RECEIPT#00001#LINE#00001#WORD#00001"])
def test_no_id_below_what_was_removed_remains(world: World, below: str) -> None:
    """L21: a receipt, a line or a word goes long after its run's item; its neighbours of similar ids stay."""
    table = Table()
    neighbours = (f"{IMAGE}#RECEIPT#00002#LINE#00001#WORD#00001", f"{IMAGE}#RECEIPT#00001#LINE#00010#WORD#00001")
    ids = [WORD, f"{LINE}#WORD#00010", *neighbours]
    world.write_delta("r1", {id_: (number, None, {}) for number, id_ in enumerate(ids)})
    world.compact([table.put(*RUN, **begins("r1")), table.remove(*RUN)])
    table.put(IMAGE, below)

    world.compact([table.remove(IMAGE, below)])

    gone = f"{IMAGE}#{below}"
    kept = {id_ for id_ in ids if id_ != gone and not id_.startswith(f"{gone}#")}
    assert kept == set(world.records())


def test_a_shorter_delta_takes_keys_and_document_away(world: World) -> None:
    """C7: a record written again is the newest delta's alone: Chroma's upsert would keep the rest."""
    table = Table()
    world.write_delta("r1", {WORD: (1, "text", {"x": 1, "y": "old"})})
    world.write_delta("r2", {WORD: (2, None, {"y": "new"})})
    world.compact([table.put(*RUN, **begins("r1"))])

    world.compact([table.put(IMAGE, "RECEIPT#00001#COMPACTION_RUN#r2", **begins("r2"))])

    assert {WORD: (2, None, {"y": "new"})} == world.records()
