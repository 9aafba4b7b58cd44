"""A mapping changes, on real parts: what resync brings over, what it refuses, and what comes before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.errors import BadInput, Retryable
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping, parse_mapping
from chroma_lifecycle.intake.scanned import Page
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.repair.resyncing import Resynced, resync
from chroma_lifecycle.report import Report
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.values import ItemKey
from tests.model.changed import CHANGED, ChangedReference
from tests.model.reference import Reference, typed
from tests.support.repairs import roll_back
from tests.support.scanned import LATER, Scan, images, resync_with
from tests.support.story import POOL, WORDS, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.world import IMAGE, LINE, RUN, World, begins, label

OTHER = parse_mapping(CHANGED, "changed.yaml")
PLACE = "RECEIPT#00001#PLACE"
WORD_1 = "RECEIPT#00001#LINE#00001#WORD#00001"


def changed(*edits: str) -> TableMapping:
    """Return the receipts mapping with some texts in the places of others."""
    text = Path("chroma_lifecycle/intake/mappings/receipts.yaml").read_text("utf-8")
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return parse_mapping(text, "test.yaml")


def late(record: dict[str, Any]) -> dict[str, Any]:
    """Return *record* as of a time when no reading can have seen it."""
    record["dynamodb"]["ApproximateCreationDateTime"] = LATER + 500
    return record


def compact(world: World, mapping: TableMapping, records: list[Any]) -> Report:
    """Compact one batch under another mapping than receipts."""
    with world.compactor() as made, Compactor(replace(made._around, mapping=mapping), made._root) as machine:
        return machine.compact(in_sqs(records))


def bring(world: World, table: Table, mapping: TableMapping = OTHER) -> dict[str, Resynced]:
    """Bring both collections to a mapping; each version says how many facts there are."""
    done = {name: resync_with(world, table, name, mapping=mapping) for name in ("words", "lines")}
    for name in done:
        with Ledger.open(world.home / "workspace" / name / "pristine" / "ledger.sqlite3", read_only=True) as ledger:
            assert ledger.counts()["facts"] == world.published(name).manifest.details.counts.facts
    return done


def expect(world: World, kind: type[Reference], records: list[Any]) -> None:
    assert typed(kind(POOL).replay(records)) == typed(world.everything())


def differ(done: Resynced) -> dict[str, int]:
    return {kind: len(items) for kind, items in asdict(done.differences).items() if items}


@pytest.fixture
def table(world: World) -> Table:
    write_pool(world)
    return Table()


def test_every_kind_of_change_is_carried_over_and_back(world: World, table: Table) -> None:
    """C7: keys renamed, added and dropped, a rule renamed, another fold; a dropped key has what its delta says again.

    The version under the new mapping is followed by cycles under it, and by none under the old one. With the old
    mapping the same command goes back.
    """
    words = [table.put(IMAGE, sort.removeprefix(f"{IMAGE}#"), text=sort[-2:]) for sort in WORDS]
    records = [*words, *story(table)]
    world.compact(records)
    before = world.stored()

    said = resync_with(world, table, apply=False, mapping=OTHER)
    assert before == world.stored()
    done = bring(world, table)

    assert differ(said) == differ(done["words"]) == {"missing": 39, "stale": 11, "withdrawn": 1, "unwritten": 2}
    assert {"left": 10, "stale": 1, "unwritten": 1} == differ(done["lines"])
    assert {"merchant_name": "stale", "merchant": "Zoë"} == world.records("lines")[LINE][2]
    assert 'rules: place: set: words: merchant: is new: {"from": "merchant_name"}' in said.mapping
    expect(world, ChangedReference, records)
    after = [label(table, "total", "INVALID"), table.put(IMAGE, PLACE, merchant_name="new", ignored="no more")]
    after = [late(record) for record in after]
    assert (2, 0) == (compact(world, OTHER, after).applied, compact(world, OTHER, records).applied)
    expect(world, ChangedReference, [*records, *after])
    with pytest.raises(BadInput, match=r"merchant: was .* is gone") as refused:
        world.compact(after)
    assert "`chroma-lifecycle resync` with it" in refused.value.hint

    back = bring(world, table, load_mapping("receipts"))

    assert 4 == world.published().manifest.version.number - 1 == len({*"abcd"})
    assert "resync" == world.published().manifest.details.summary.action
    assert not back["words"].differences.missed
    expect(world, Reference, [*records, *after])


def test_a_collection_in_which_nothing_changes_comes_under_the_mapping_too(world: World, table: Table) -> None:
    """A version is published although no record and no fact differs: only then may cycles go on."""
    mapping = changed("RECEIPT_WORD: {rule: word}", "RECEIPT_TOKEN: {rule: word}")
    table.put(IMAGE, WORD_1)

    done = bring(world, table, mapping)

    assert [(True, 2), (True, 2)] == [(each.report.published, each.report.version) for each in done.values()]
    assert [mapping.digest] * 2 == [world.published(name).manifest.details.mapping for name in done]
    assert 1 == compact(world, mapping, [late(label(table, "a"))]).applied


def test_an_item_that_no_rule_took_before_and_that_is_gone_brings_nothing_late(world: World, table: Table) -> None:
    """Its removal was ignored under the old mapping and comes no more; what was written before the reading is over."""
    records = [table.put(*RUN, **begins("r1"))]
    note = table.put(IMAGE, "RECEIPT#00001#NOTE#1", note="gone again")
    removal = table.remove(IMAGE, "RECEIPT#00001#NOTE#1")
    kept = table.put(IMAGE, "RECEIPT#00001#NOTE#2", note="kept")
    world.compact([*records, removal])
    mapping = changed(
        "  receipt:\n",
        '  note:\n    item: {PK: "IMAGE#{image_id}", SK: "RECEIPT#{receipt_id:05d}#NOTE#{n}"}\n'
        "    set: {words: {'note_{n}': note}}\n  receipt:\n",
    )
    assert {"missing": 1, "withdrawn": 1, "unwritten": 1} == differ(resync_with(world, table, mapping=mapping))

    resync_with(world, table, "lines", mapping=mapping)
    assert 0 == compact(world, mapping, [note, kept]).applied
    assert {"x", "note_2"} == set(world.records()[f"{LINE}#WORD#00002"][2])
    newer = table.put(IMAGE, "RECEIPT#00001#NOTE#1", note="back")
    assert 1 == compact(world, mapping, [late(newer)]).applied
    assert "back" == world.records()[f"{LINE}#WORD#00002"][2]["note_1"]


@pytest.mark.parametrize("content", [None, {LINE: (7, "a line", {"merchant_name": "another"})}])
def test_a_delta_that_is_not_as_it_was_is_named_and_its_keys_go(world: World, table: Table, content: Any) -> None:
    """Gone, or other content: what it said of a key that no rule sets is not known; everything else is carried over."""
    place = table.put(IMAGE, PLACE, merchant_name="Zoë")
    world.compact([table.put(*RUN, **begins("lines", "lines")), place])
    (world.home / "deltas" / "lines.parquet").unlink()
    if content:
        world.write_delta("lines", content)

    done = resync_with(world, table, "lines", mapping=OTHER)

    assert (ItemKey(*RUN),) == done.unread
    assert {"merchant": "Zoë"} == world.records("lines")[LINE][2]


def test_a_value_that_the_new_mapping_cannot_take_gives_nothing(world: World, table: Table) -> None:
    """The item is told, what it gave goes, and its next sound change counts."""
    records = [table.put(*RUN, **begins("r1")), table.put(IMAGE, PLACE, merchant_name="Zoë", ignored=["a", "list"])]
    world.compact(records)

    done = bring(world, table)

    assert [ItemKey(IMAGE, PLACE)] == done["words"].differences.refused
    assert {"x": 1} == world.records()[f"{LINE}#WORD#00002"][2]
    assert 0 == compact(world, OTHER, records).applied
    sound = table.put(IMAGE, PLACE, merchant_name="Zoë")
    assert 1 == compact(world, OTHER, [sound]).applied
    assert {"x": 1, "merchant": "Zoë"} == world.records()[f"{LINE}#WORD#00002"][2]


class WhileReading(Scan):
    """A scan in whose middle somebody acts."""

    def __init__(self, items: list[Any], act: Any, as_of: int = LATER) -> None:
        super().__init__(items, as_of)
        self._act = act

    def pages(self) -> Iterator[Page]:
        for page in super().pages():
            yield page
            self._act()
            self._act = lambda: None


def resync_while(world: World, table: Table, act: Any) -> Resynced:
    with world.compactor("unused") as machine, Workspace.open(world.home / "mending" / "words") as local:
        around = replace(machine._around, mapping=OTHER)
        return resync(around, local, "words", WhileReading(images(table), act), dry_run=False)


def test_what_is_published_under_the_old_mapping_meanwhile_is_not_guessed(world: World, table: Table) -> None:
    """An old function goes on during the scan: what it noted lacks what the new mapping reads; the way out is told.

    What it noted of things created before the scan is in the scan.
    """
    records = [table.put(*RUN, **begins("r1")), table.put(IMAGE, PLACE, merchant_name="Zoë")]
    world.compact(records)
    early = table.put(IMAGE, PLACE, merchant_name="early", ignored="!")
    before = world.version()

    assert resync_while(world, table, lambda: world.compact([early])).report.published
    assert (before + 2, "early") == (world.version(), world.records()[f"{LINE}#WORD#00002"][2]["merchant"])
    bring(world, table, load_mapping("receipts"))
    version = world.version()
    newer = late(table.put(IMAGE, PLACE, merchant_name="newer", ignored="!"))
    with pytest.raises(Retryable, match="PLACE changed while the table was read") as unsettled:
        resync_while(world, table, lambda: world.compact([newer]))

    assert version + 1 == world.version()
    assert "chroma-lifecycle pause" in unsettled.value.hint
    again = resync_while(world, table, lambda: None)
    assert (True, version + 2) == (again.report.published, again.report.version)


def test_a_mapping_to_which_the_records_cannot_be_brought_is_refused_before_the_scan(
    world: World, table: Table
) -> None:
    """Other ids, another order, withheld facts: each has a way out, and nothing is written."""
    world.compact(story(table))
    others = changed(
        "mapping: 1\n", "mapping: 1\nordering: to_the_second\n", "words: IMAGE#{image_id}#", "words: PAGE#{image_id}#"
    )

    def refused(mapping: TableMapping, match: str) -> str:
        before = world.stored()
        never = WhileReading([], lambda: pytest.fail("the table was read"))
        with (
            world.compactor("unused") as machine,
            Workspace.open(world.home / "mending" / "words") as local,
            pytest.raises(BadInput, match=match) as found,
        ):
            resync(replace(machine._around, mapping=mapping), local, "words", never, dry_run=False)
        assert before == world.stored()
        return found.value.hint

    assert "begun anew with init" in refused(others, "ids the mapping does not make")
    loose = changed("mapping: 1\n", "mapping: 1\nordering: to_the_second\n")
    bring(world, table, loose)
    assert "keep 'ordering: to_the_second'" in refused(load_mapping("receipts"), "cannot compare them")
    compact(world, loose, [late(label(table, "new"))])
    roll_back(world, world.version() - 1)
    assert "`chroma-lifecycle reapply`" in refused(OTHER, "a rollback withholds 1 facts")


def test_a_collection_that_was_only_begun_takes_any_mapping(world: World, table: Table) -> None:
    """No fact was made under the first one, so nobody has to know what it said."""
    with Workspace.open(world.home / "beginning" / "fresh") as local:
        digest = changed("phone_number, ", "").digest
        begin(
            Beginning("fresh", digest, world.store, local, SYSTEM_CLOCK, "test"),
            CollectionSettings("l2", world.dimension),
        )
    fresh = changed("collections:", "collections:\n  fresh: IMAGE#{image_id}#X#{n:d}\n ")
    assert {} == table.items

    done = resync_with(world, table, "fresh", mapping=fresh)

    assert (True, 1) == (done.report.published, len(done.mapping))
    assert fresh.digest == world.published("fresh").manifest.details.mapping


def test_a_rollback_to_the_beginning_still_knows_what_the_mapping_said(world: World, table: Table) -> None:
    """The ledger of a version that knew no mapping holds what is withheld; what their mapping said is there too."""
    world.compact([table.put(IMAGE, PLACE, merchant_name="Zoë")])
    roll_back(world, 1)

    with pytest.raises(BadInput, match="merchant: is new"):
        compact(world, OTHER, [table.put(IMAGE, PLACE, merchant_name="B")])
