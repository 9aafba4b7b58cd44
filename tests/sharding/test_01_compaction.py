"""A batch over several shards: who is concerned, who fails, and when a message is done."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.cycle import Cycle, CycleEnd
from chroma_lifecycle.errors import BadInput, Corrupt, Defect, LifecycleError, NoRoom, StoreUnavailable
from chroma_lifecycle.intake.changes import Change
from chroma_lifecycle.intake.mapping_file import load_mapping, parse_mapping
from chroma_lifecycle.lifecycle import begin_in_shards
from chroma_lifecycle.snapshot import workspace as workspaces
from chroma_lifecycle.snapshot.workspace import Workspace
from tests.support.faults import CollectionFails
from tests.support.sharded import ShardedWorld
from tests.support.table import Table, in_sqs
from tests.support.telling import ToldTable
from tests.support.world import World, begins

A, B = "IMAGE#a#RECEIPT#00001#LINE#00001#WORD#00001", "IMAGE#b#RECEIPT#00001#LINE#00001#WORD#00001"
OF_A, OF_B = "words.1-2", "words.1-1"
"""Where the records of the two images are, by the vectors of docs/format.md: slots 3,243 and 2,636 of 3 shards."""


def run(table: Table, image: str) -> dict[str, Any]:
    return table.put(f"IMAGE#{image}", "RECEIPT#00001#COMPACTION_RUN#r", **begins(image))


def label(table: Table, image: str, name: str = "total") -> dict[str, Any]:
    return table.put(f"IMAGE#{image}", f"RECEIPT#00001#LINE#00001#WORD#00001#LABEL#{name}", validation_status="VALID")


def with_words(world: ShardedWorld, table: Table) -> None:
    """Publish a record of each image."""
    world.write_delta("a", {A: (1, "text", {})})
    world.write_delta("b", {B: (2, None, {"x": 1})})
    assert world.compact([run(table, "a"), run(table, "b")]).applied == 2


def test_each_change_is_published_in_its_shard_alone(world: ShardedWorld) -> None:
    """The records are those of one collection; a shard that no change concerns gets no version."""
    table = Table()
    with_words(world, table)
    report = world.compact([label(table, "a")])

    assert ([1, 2, 3], ["lines.1-2", OF_A]) == (world.versions(), [each.collection for each in report.collections])
    labels = {"label_total": True, "label_status": "validated"}
    assert {A: (1, "text", labels), B: (2, None, {"x": 1})} == world.records()
    assert {A} == set(World.records(world, OF_A))


def test_a_shard_that_fails_returns_its_messages_alone(world: ShardedWorld) -> None:
    """The other shard publishes in the same batch; what failed is published when it comes again."""
    table = Table()
    with_words(world, table)
    batch = [label(table, "a"), label(table, "b")]
    with world.compactor(store=CollectionFails(OF_A).store(world.store)) as machine:
        report = machine.compact(in_sqs(batch))

    assert (("message-0",), 1) == (report.failed_sources(), report.applied)
    assert ([1, 3, 2], [OF_A]) == (world.versions(), [lost.collection for lost in report.lost])
    again = world.compact(batch)
    assert (1, 1, 0) == (again.applied, again.no_op, again.failed)
    assert [1, 3, 3] == world.versions()


def test_a_batch_of_which_no_shard_published_is_raised(world: ShardedWorld) -> None:
    """To answer would tell the queue to forget what the messages asked for."""
    batch = [run(Table(), "a")]
    world.write_delta("a", {A: (1, "text", {})})
    with world.compactor(store=CollectionFails(OF_A).store(world.store)) as machine, pytest.raises(StoreUnavailable):
        machine.compact(in_sqs(batch))
    (world.home / "store" / "words" / "heads" / f"{1:016x}").write_bytes(b"{")
    (world.home / "store" / "words" / "HEAD").write_bytes(b"{")
    with pytest.raises(LifecycleError, match="HEAD of words is no sound JSON"):
        world.compact(batch)


def test_a_run_is_told_when_it_is_published(world: ShardedWorld) -> None:
    """The table learns of each run once its shard has a version; where it cannot be told, the message comes again."""
    table = Table()
    world.status = told = ToldTable(table)
    world.write_delta("a", {A: (1, "text", {})})
    batch = [run(table, "a")]
    told.away = True
    assert ("message-0",) == world.compact(batch).failed_sources()
    told.away = False
    assert [1, 1, 2] == world.versions()

    assert world.compact(batch).no_op == 1
    item = table.items["IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#r"]
    assert ("COMPLETED", 1) == (item["words_state"], item["words_merged_vectors"])


def test_a_run_that_failed_is_told_why(world: ShardedWorld) -> None:
    """L1: its delta is missing; the run of the other shard is completed."""
    table = Table()
    world.status = ToldTable(table)
    world.write_delta("a", {A: (1, "text", {})})
    assert ("message-1",) == world.compact([run(table, "a"), run(table, "b")]).failed_sources()
    assert "b.parquet" in table.items["IMAGE#b", "RECEIPT#00001#COMPACTION_RUN#r"]["words_error"]
    assert table.items["IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#r"]["words_state"] == "COMPLETED"


def test_a_defect_in_telling_is_the_loss_of_one_collection(world: ShardedWorld) -> None:
    """What is published stays, the lines are not lost with it, and the batch, which comes again, is done then."""
    table = Table()
    with_words(world, table)
    world.write_delta("c", {A: (3, None, {})})
    batch = [table.put("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#c", **begins("c")), label(table, "a")]

    def fail(*given: object) -> None:
        raise ZeroDivisionError("a text of some secrecy")

    world.status = ToldTable(table, on_completed=fail)
    report = world.compact(batch)
    assert {("words", Defect)} == {(each.collection, type(each.error)) for each in report.failures}
    assert not any("secrecy" in str(each.error) for each in report.failures)
    assert (("message-0", "message-1"), [1, 2, 3]) == (report.failed_sources(), world.versions())
    assert "lines.1-2" in {each.collection for each in report.collections}

    world.status = ToldTable(table)
    assert 0 == world.compact(batch).failed
    assert table.items["IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#c"]["words_state"] == "COMPLETED"


def test_a_refused_value_fails_once(world: ShardedWorld) -> None:
    """What cannot become a fact fails in its own shard and is named once."""
    table = Table()
    report = world.compact([table.put("IMAGE#b", "RECEIPT#00001#PLACE", merchant_name=["a", "list"])])
    assert {"words.1-1", "lines.1-1"} == {failure.collection for failure in report.failures}
    assert ("message-0",) == report.failed_sources()


def test_a_shard_that_was_begun_again_is_not_written(world: ShardedWorld) -> None:
    """The layout names lineages: another one under the same name is no part of the collection."""
    batch = [run(Table(), "a")]
    world.write_delta("a", {A: (1, "text", {})})
    shutil.rmtree(world.home / "store" / OF_A)
    with pytest.raises(LifecycleError, match=r"words.1-2 has no HEAD"):
        world.compact(batch)
    other = ShardedWorld(world.home / "other").begin()
    shutil.copytree(other.home / "store" / OF_A, world.home / "store" / OF_A)
    with pytest.raises(Corrupt, match="is of lineage"):
        world.compact(batch)


def test_a_disk_that_holds_one_shard_is_enough(world: ShardedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container gives up the copy of another shard where the disk is full, and the shards of a batch all publish."""
    table = Table()
    with_words(world, table)
    with world.compactor() as machine:
        root = world.home / "workspace"

        def full(directory: Path, needed: int, what: str) -> None:
            assert directory.is_relative_to(root)
            others = {path.parent.name for path in root.glob("*/pristine")} - {directory.relative_to(root).parts[0]}
            if others:
                raise NoRoom(f"{what} finds no room", hint="none")

        monkeypatch.setattr(workspaces, "require_room", full)
        monkeypatch.setattr(workspaces, "clone_file", lambda source, target: False)
        report = machine.compact(in_sqs([label(table, "a"), label(table, "b")]))
        assert (2, 0) == (report.applied, report.failed)
        assert machine.compact(in_sqs([label(table, "a", "date"), label(table, "b", "date")])).applied == 2
    assert [1, 4, 4] == world.versions()


def test_a_copy_that_cannot_be_given_up_is_passed_over(world: ShardedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """C15: a full disk has no room even for a lock: the batch fails where it needs room, and the rest is published."""
    table, root, asked = Table(), world.home / "workspace", []
    with_words(world, table)
    shutil.copytree(root / OF_B, root / "words.1-9")
    opened, runs = Workspace.open, Cycle.run

    def without_room_for_a_lock(place: Path, **named: Any) -> Workspace:
        if place.name == "words.1-9":
            asked.append(place.name)
            raise NoRoom(f"{place} has no room for a lock", hint="none")
        return opened(place, **named)

    def without_room_for_a(self: Cycle, changes: Sequence[Change], *, dry_run: bool = False) -> CycleEnd:
        if self._collection == OF_A:
            raise NoRoom("no room", hint="none")
        return runs(self, changes, dry_run=dry_run)

    monkeypatch.setattr(Workspace, "open", without_room_for_a_lock)
    monkeypatch.setattr(Cycle, "run", without_room_for_a)
    report = world.compact([label(table, "a"), label(table, "b")])
    assert (("message-0",), [OF_A]) == (report.failed_sources(), [lost.collection for lost in report.lost])
    assert ({"words.1-9"}, [1, 3, 2]) == (set(asked), world.versions())


def test_a_mapping_that_routes_otherwise_is_refused(world: ShardedWorld) -> None:
    """Records would be looked for where they are not: the layout keeps what decides."""
    layout = world.layout()
    assert (2, "IMAGE#{image_id}") == (layout.segments, str(world.mapping.routing("words")))
    path = world.home / "store" / "words"
    for file in (path / "HEAD", path / "heads" / f"{1:016x}"):
        file.write_bytes(file.read_bytes().replace(b'"segments":2', b'"segments":3'))
    with pytest.raises(BadInput, match=r"by 'IMAGE#\{image_id\}', and its layout by 3"):
        world.compact([run(Table(), "a")])


def begin(world: ShardedWorld, dimension: int = 4, shards: int = 3) -> None:
    begin_in_shards(
        "words",
        replace(world.mapping, shards={"words": shards}),
        CollectionSettings("l2", dimension),
        store=world.store,
        workspaces=world.home / "again",
        clock=SYSTEM_CLOCK,
        writer="test",
    )


def test_a_beginning_that_was_cut_off_goes_on(world: ShardedWorld) -> None:
    """Shards that no layout names are taken, if they are as they would be begun; a second beginning is refused."""
    with pytest.raises(BadInput, match="already initialised"):
        begin(world)
    lineages = [shard.lineage for shard in world.layout().shards]
    shutil.rmtree(world.home / "store" / "words")
    shutil.rmtree(world.home / "store" / "words.1-1")
    with pytest.raises(BadInput, match="4 dimensions"):
        begin(world, 5)
    begin(world)
    after = [shard.lineage for shard in world.layout().shards]
    assert (lineages[0], lineages[2]) == (after[0], after[2])
    assert lineages[1] != after[1]


def test_a_lost_layout_comes_back_and_a_lost_shard_is_not_made_empty(world: ShardedWorld) -> None:
    """All shards are there: they are taken as they are. One is missing, or too many are there: nothing is guessed."""
    table = Table()
    with_words(world, table)
    records = world.records()
    shutil.rmtree(world.home / "store" / "words")
    with pytest.raises(BadInput, match=r"words.1-2 is there too: words has more than 2 shards"):
        begin(world, shards=2)
    with pytest.raises(BadInput, match=r"words.1-3 is not there, and other shards of words have gone on"):
        begin(world, shards=4)
    begin(world)
    assert records == world.records()


CATALOGUE = """
mapping: 1
ordering: to_the_second
table: {partition_key: PK}
collections: {products: "PRODUCT#{id}"}
rules:
  product: {item: {PK: "PRODUCT#{id}"}, set: {products: [price]}, removal_deletes: [products]}
  run: {item: {PK: "RUN#{run}"}, merge: {products: {delta: delta, state: state, count: merged}}}
"""


def test_what_decides_about_shards_is_what_all_changes_know() -> None:
    """In exact ordering the partition key; otherwise what every item reaches, whatever a run may write."""
    assert str(parse_mapping(CATALOGUE, "c").routing("products")) == "PRODUCT#{id}"
    assert {"IMAGE#{image_id}"} == {str(load_mapping("receipts").routing(name)) for name in ("words", "lines")}
