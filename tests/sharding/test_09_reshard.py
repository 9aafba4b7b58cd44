"""Another number of shards while the stream goes on: nothing is lost, and nothing is half done."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.bulk import bring, resharding
from chroma_lifecycle.bulk.resharding import give_up
from chroma_lifecycle.bulk.vectors import VectorsOf
from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.errors import BadInput, Corrupt, HeadMoved, LifecycleError, NotInitialised, Retryable, Sharded
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import Vectors, publish_layout, read_layout
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.reader import ShardedReader
from chroma_lifecycle.rebuild import rebuild
from chroma_lifecycle.repair.rollback import rollback
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site
from chroma_lifecycle.values import Ordering
from tests.sharding.test_01_compaction import run
from tests.support.faults import CollectionFails
from tests.support.resharding import Reshard, read_here
from tests.support.sharded import ShardedWorld
from tests.support.table import Table, in_sqs
from tests.support.world import DIMENSION, vector

IMAGES = "abcdefgh"


def word(image: str, number: int = 1) -> str:
    return f"IMAGE#{image}#RECEIPT#00001#LINE#00001#WORD#{number:05}"


def label(table: Table, image: str, name: str = "total", number: int = 1) -> dict[str, Any]:
    key = f"RECEIPT#00001#LINE#00001#WORD#{number:05}#LABEL#{name}"
    return table.put(f"IMAGE#{image}", key, validation_status="VALID")


def fill(world: ShardedWorld) -> Table:
    """Publish two words of each of eight images, and a label that waits for a word that is not there."""
    table = Table()
    for tag, image in enumerate(IMAGES):
        world.write_delta(
            image, {word(image): (tag, f"text {image}", {"n": tag}), word(image, 2): (tag + 50, None, {})}
        )
    assert 9 == world.compact([*(run(table, image) for image in IMAGES), label(table, "a", "early", 7)]).applied
    return table


def expect_parked_label(world: ShardedWorld, table: Table) -> None:
    """Publish the word that the label waits for; it has it."""
    world.write_delta("late", {word("a", 7): (70, None, {})})
    announced = {"words_delta_prefix": "late.parquet", "words_state": "PENDING"}
    late = table.put("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#late", **announced)
    assert 1 == world.compact([late]).applied
    assert {"label_early": True, "label_status": "validated"} == world.records()[word("a", 7)][2]


@pytest.fixture(scope="session")
def begun_filled(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    """In three shards: see :func:`fill`."""
    world = ShardedWorld(Path(shutil.copytree(begun, tmp_path_factory.mktemp("filled") / "world")))
    table = fill(world)
    return world.home, table


@pytest.fixture
def filled(begun_filled: tuple[Path, Table], tmp_path: Path) -> ShardedWorld:
    return ShardedWorld(Path(shutil.copytree(begun_filled[0], tmp_path / "world")))


@pytest.fixture
def table(begun_filled: tuple[Path, Table]) -> Table:
    return deepcopy(begun_filled[1])


def ledger_of(world: ShardedWorld) -> dict[str, list[str]]:
    """Return the facts of all shards, as text: what travels, whatever the shards."""
    found: dict[str, list[str]] = {"fields": [], "runs": [], "records": [], "withheld": []}
    for shard in world.layout().shards:
        with (
            files_of(world.published(shard.name).manifest, Stores(world.store)) as files,
            Ledger.open(files / "ledger.sqlite3", read_only=True) as ledger,
        ):
            found["fields"] += map(repr, ledger.every_field_fact())
            found["runs"] += map(repr, ledger.runs())
            found["records"] += map(repr, ledger.record_runs())
            withheld = ledger.withheld()
            found["withheld"] += [
                repr(f) for kind in (withheld.fields, withheld.tombstones, withheld.runs) for f in kind
            ]
    return {kind: sorted(rows) for kind, rows in found.items()}


@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.soak), 5])
def test_facts_travel_with_their_records(filled: ShardedWorld, table: Table, shards: int) -> None:
    """To fewer and to more shards: the same records and facts; a parked one is applied when its vector comes."""
    records, facts = filled.records(), ledger_of(filled)
    Reshard(filled, shards).run()

    layout = filled.layout()
    assert (2, shards, ()) == (layout.generation, len(layout.shards), layout.coming)
    assert records == filled.records()
    assert facts == ledger_of(filled)
    expect_parked_label(filled, table)


def test_many_records_are_read_by_a_child(filled: ShardedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are read here; the records are the same."""
    before, asked = filled.records(), list[int]()

    def read(*place: Any, ids: Sequence[str]) -> None:
        asked.append(len(ids))
        read_here(*place, ids=ids)

    monkeypatch.setattr(bring, "read_chroma_delta", read)
    monkeypatch.setattr(bring, "_FEW", 5)
    Reshard(filled, 2).run()

    assert [6, 6] == asked, "and four of another shard, here"
    assert before == filled.records()


def test_what_comes_meanwhile_gets_a_new_vector_too(filled: ShardedWorld, table: Table) -> None:
    """A record that a run writes again, and one that it makes, between two rounds of a reembed."""

    def find(ids: Sequence[str], space: str, scratch: Path) -> VectorsOf:
        return lambda wanted: np.array([vector(100)] * len(wanted), np.float32)

    def between(step: str) -> None:
        if step == "close":
            filled.write_delta("again", {word("a"): (7, "again", {}), word("a", 3): (8, None, {})})
            announced = {"words_delta_prefix": "again.parquet", "words_state": "PENDING"}
            again = table.put("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#again", **announced)
            assert 1 == filled.compact([again]).applied

    Reshard(filled, 3, vectors=Vectors("tag 100", DIMENSION), find=find).run(between)

    after = filled.records()
    assert {100} == {record[0] for record in after.values()}
    assert (100, "again", {}) == after[word("a")]
    assert word("a", 3) in after


def test_what_comes_meanwhile_is_in_the_new_shards(filled: ShardedWorld, table: Table) -> None:
    """Written, changed, labelled and removed between any two steps; the readers' answer never lacks a record."""
    item = table.put("IMAGE#b", "RECEIPT#00001#LINE#00001#WORD#00001")
    comes = {
        "bring": [item, label(table, "a")],
        "close": [
            label(table, "c"),
            table.remove("IMAGE#b", "RECEIPT#00001#LINE#00001#WORD#00001"),
            table.remove("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#total"),
        ],
    }
    seen = []

    def between(step: str) -> None:
        if step in comes:
            filled.compact(comes[step])
        seen.append(filled.records())

    Reshard(filled, 2).run(between)
    after = filled.records()

    assert seen[-1] == after
    assert word("b") not in after
    assert {"n": 0} == after[word("a")][2], "a label that came in the first round, and went in the last"
    assert {"n": 2, "label_total": True, "label_status": "validated"} == after[word("c")][2]
    assert all(records.keys() >= after.keys() for records in seen)


def test_a_change_that_comes_to_a_closed_shard_waits(filled: ShardedWorld, table: Table) -> None:
    """It is handed back, not answered for; when the layout names the new shards, it is published there."""
    reshard = Reshard(filled, 2)
    change = [label(table, "a")]

    def between(step: str) -> None:
        if step in ("bring the rest", "finish"):
            report = filled.compact(change)
            assert (("message-0",), 1) == (report.failed_sources(), len(report.lost))
            assert "is closed: a reshard hands over to generation 2" in report.lost[0].error.message

    reshard.run(between)
    assert "label_total" not in filled.records()[word("a")][2]
    assert 1 == filled.compact(change).applied
    assert filled.records()[word("a")][2]["label_total"]


def test_a_writer_that_read_head_before_the_close_cannot_publish_after_it(filled: ShardedWorld, table: Table) -> None:
    """D1, C13: its swap is lost to the close, and what it reads then stops it."""
    reshard = Reshard(filled, 2)
    layout = reshard.begin()
    reshard.bring(2)
    closing = _ClosesBefore(reshard)
    with filled.compactor(store=closing) as machine:
        closing.armed = True
        report = machine.compact(in_sqs([label(table, "a")]))
    assert closing.closed
    assert ["words.1-2"] == [lost.collection for lost in report.lost]
    reshard.bring(2)
    assert [] != reshard.finish(2).shards != layout.shards
    assert "label_total" not in filled.records()[word("a")][2]


class _ClosesBefore:
    """The store of a writer; before the writer's first swap somebody closes the shards."""

    def __init__(self, reshard: Reshard) -> None:
        self._inner, self._reshard = reshard.world.store, reshard
        self.armed = self.closed = False

    def __getattr__(self, name: str) -> Any:
        if name == "swap_head" and self.armed:
            return self._swap
        return getattr(self._inner, name)

    def _swap(self, collection: str, *given: Any, **options: Any) -> Any:
        if collection.startswith("words") and not self.closed:
            self.closed = True
            self._reshard.close(2)
        return self._inner.swap_head(collection, *given, **options)


def test_shards_that_lack_a_change_are_not_put_in_force(filled: ShardedWorld, table: Table) -> None:
    """What came after they were brought last is missing from them: the layout stays, until they are brought again."""
    reshard = Reshard(filled, 2)
    reshard.begin()
    reshard.bring(2)
    filled.compact([label(table, "a")])
    with pytest.raises(Retryable, match="is not closed"):
        reshard.finish(2)
    reshard.close(2)
    with pytest.raises(Retryable, match="does not hold all that the closed shards hold"):
        reshard.finish(2)
    assert 1 == filled.layout().generation
    reshard.bring(2)
    reshard.finish(2)
    assert filled.records()[word("a")][2]["label_total"]


def test_what_a_rollback_withholds_travels(filled: ShardedWorld, table: Table) -> None:
    """L22: after the reshard the undone label is still undone, and its duplicate brings nothing back."""

    undone = [label(table, "a", "undone")]
    filled.compact(undone)
    shard = filled.layout().shard_of(word("a"))
    version = filled.published(shard.name).manifest.version
    with Workspace.open(filled.home / "operator") as workspace:
        site = Site(shard.name, filled.store, None, workspace, SYSTEM_CLOCK, "test")
        rollback(site, type(version)(version.number - 1))
    facts = ledger_of(filled)
    assert facts["withheld"]
    Reshard(filled, 4).run()

    assert facts == ledger_of(filled)
    assert 0 == filled.compact(undone).applied
    assert "label_undone" not in filled.records()[word("a")][2]


def test_shards_of_two_forms_are_refused_with_the_ways_out(filled: ShardedWorld) -> None:
    """A change of the space that was cut off between two shards; when all of them have it, the reshard goes on."""
    records, reshard = filled.records(), Reshard(filled, 2)

    def rebuilt(name: str) -> None:
        with Workspace.open(filled.home / "operator" / name) as workspace:
            site = Site(name, filled.store, None, workspace, SYSTEM_CLOCK, "test")
            rebuild(site, space="ip", tail_budget=500)

    one, *others = (shard.name for shard in filled.layout().shards)
    rebuilt(one)
    with pytest.raises(BadInput, match="the shards of words differ in their dimension, space or mapping") as refused:
        reshard.run()
    assert "bulk reshard --undo" in refused.value.hint
    for name in others:
        rebuilt(name)
    reshard.run()

    assert {"ip"} == {filled.published(shard.name).manifest.details.space for shard in filled.layout().shards}
    assert (2, records) == (len(filled.layout().shards), filled.records())


def test_the_same_again_goes_on_and_the_same_after_it_does_nothing(filled: ShardedWorld) -> None:
    """Another process, with nothing of the first one's disk; what is done is found."""
    records = filled.records()
    first = Reshard(filled, 2)
    first.begin()
    first.bring(2)
    first.close(2)
    second = Reshard(filled, 2, machine="another", keep=False)
    second.begin()
    assert [True, True] == [each.already for each in second.bring(2)]
    second.finish(2)
    again = second.begin()

    assert (2, ()) == (again.generation, again.coming)
    assert again == second.finish(2)
    assert records == filled.records()


def test_one_that_is_given_up_leaves_the_collection_as_it_was(filled: ShardedWorld, table: Table) -> None:
    """Writers go on; the next reshard takes other names, and the one that was given up cannot end any more."""
    reshard = Reshard(filled, 2)
    reshard.begin()
    reshard.bring(2)
    reshard.close(2)
    assert [shard.name for shard in filled.layout().shards] == reshard.give_up()
    assert 1 == filled.compact([label(table, "a")]).applied
    for late in (reshard.finish, reshard.close, reshard.bring):
        with pytest.raises(BadInput, match="was given up"):
            late(2)
    assert 1 == filled.compact([label(table, "b")]).applied
    layout = Reshard(filled, 4).begin()

    assert (1, 3) == (layout.generation, layout.newest_generation)
    assert ["words.3-0", "words.3-1", "words.3-2", "words.3-3"] == [shard.name for shard in layout.coming]


def test_shards_are_not_opened_under_a_swap_that_was_proven(
    filled: ShardedWorld, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: one process has proven the new shards, another lets writers go on: then the first one's swap is lost."""
    reshard = Reshard(filled, 2)
    reshard.begin()
    reshard.bring(2)
    reshard.close(2)
    change, publish = [label(table, "a")], resharding.publish_layout

    def opened_first(*given: Any) -> Any:
        monkeypatch.setattr(resharding, "publish_layout", publish)
        resharding.reopen(filled.store, "words", 2, "somebody")
        assert 1 == filled.compact(change).applied
        return publish(*given)

    monkeypatch.setattr(resharding, "publish_layout", opened_first)
    with pytest.raises(HeadMoved):
        reshard.finish(2)
    assert 1 == filled.layout().generation
    reshard.run()
    assert filled.records()[word("a")][2]["label_total"]


def test_closing_while_it_is_given_up_leaves_nothing_closed(
    filled: ShardedWorld, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes looks at the layout once more, and opens what nobody else would."""
    reshard = Reshard(filled, 2)
    reshard.begin()
    amended = resharding.amend_head

    def given_up_first(*given: Any, **options: Any) -> Any:
        monkeypatch.setattr(resharding, "amend_head", amended)
        give_up(filled.store, "words", "somebody")
        return amended(*given, **options)

    monkeypatch.setattr(resharding, "amend_head", given_up_first)
    with pytest.raises(BadInput, match="was given up"):
        reshard.close(2)
    assert 1 == filled.compact([label(table, "a")]).applied


def test_a_second_reshard_is_refused_while_one_is_under_way(filled: ShardedWorld) -> None:
    """One clear error, and the collection as it was; the first one goes on."""
    Reshard(filled, 2).begin()
    before = filled.layout()
    with pytest.raises(BadInput, match=r"to 2 shards is under way.*bulk reshard --shards 2.*--undo"):
        Reshard(filled, 4).begin()
    assert before == filled.layout()
    Reshard(filled, 2).run()
    assert 2 == len(filled.layout().shards)


def test_of_two_that_begin_at_once_one_begins(filled: ShardedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout decides: who comes second is told of the first, whatever it had read."""
    publish = resharding.publish_layout

    def somebody_first(*given: Any) -> Any:
        monkeypatch.setattr(resharding, "publish_layout", publish)
        Reshard(filled, 4).begin()
        return publish(*given)

    monkeypatch.setattr(resharding, "publish_layout", somebody_first)
    with pytest.raises(BadInput, match="to 4 shards is under way"):
        Reshard(filled, 2).begin()
    assert 4 == len(filled.layout().coming)


def test_a_shard_that_is_gone_stops_it_before_it_begins(filled: ShardedWorld) -> None:
    """The layout names a lineage that is not there: nothing is begun, and the way out is named."""
    before = filled.layout()
    for head in (filled.home / "store" / "words.1-1").glob("**/HEAD"):
        head.unlink()
    for head in (filled.home / "store" / "words.1-1" / "heads").iterdir():
        head.unlink()
    with pytest.raises(NotInitialised, match=r"names words.1-1, of lineage.*recover --collection words.1-1"):
        Reshard(filled, 2).begin()
    assert before == filled.layout()


def test_a_shard_that_is_another_lineage_is_refused(filled: ShardedWorld) -> None:
    """It was begun again: its records are not those that the layout speaks of."""
    amend_head(filled.store, "words.1-1", lambda head: replace(head, lineage="0" * 16), writer="somebody")
    with pytest.raises(Corrupt, match="the layout names lineage"):
        Reshard(filled, 2).begin()


def test_a_store_that_holds_a_shard_of_that_name_is_told(filled: ShardedWorld) -> None:
    """What lies where a new shard is to be is left alone."""

    with Workspace.open(filled.home / "beginning" / "x") as workspace:
        begin(Beginning("words.2-1", None, filled.store, workspace, SYSTEM_CLOCK, "x"), CollectionSettings("l2", 4))
    with pytest.raises(BadInput, match=r"words.2-1 is already initialised"):
        Reshard(filled, 2).run()
    assert 1 == filled.layout().generation


def test_runs_that_may_write_any_id_are_refused(filled: ShardedWorld) -> None:
    """Where no shard can say which runs are merged, facts cannot go with their records."""

    mapping = replace(filled.mapping, ordering=Ordering.TO_THE_SECOND)
    with pytest.raises(Sharded, match="may write ids of any partition"):
        resharding.begin(filled.store, mapping, "words", 2, "test")


def test_a_version_ends_what_a_shard_says_it_holds(filled: ShardedWorld, table: Table) -> None:
    """After the swap the shard is one like any other."""
    Reshard(filled, 2).run()
    shard = filled.layout().shard_of(word("a"))
    assert read_head(filled.store, shard.name).head.holds
    filled.compact([label(table, "a")])
    assert None is read_head(filled.store, shard.name).head.holds


def test_an_older_layout_does_not_bring_new_shards_back_to_old_ones(filled: ShardedWorld, table: Table) -> None:
    """Somebody brings back the layout of a reshard that came to its end: what came since is not undone by it."""
    reshard = Reshard(filled, 2)
    old = reshard.begin()
    reshard.run()
    change = [label(table, image) for image in IMAGES]
    filled.compact(change)
    seen = read_layout(filled.store, "words")
    publish_layout(filled.store, replace(old, serial=seen.layout.serial + 1), seen)

    with pytest.raises(Corrupt, match="was in force, and this layout is older"):
        Reshard(filled, 2).run()
    assert filled.compact(change).lost, "the closed shards take nothing"


@pytest.mark.soak
def test_two_that_bring_the_same_shard_do_not_mix(filled: ShardedWorld, table: Table) -> None:
    """The second finds HEAD moved; the same again ends it."""
    one, other = Reshard(filled, 2), Reshard(filled, 2, machine="other")
    one.begin()
    one.bring(2)
    filled.compact([label(table, image) for image in IMAGES])
    other.store = _Meanwhile(filled, lambda: one.bring(2))  # type: ignore[assignment]
    with pytest.raises(HeadMoved):
        other.bring(2)
    other.store = None
    other.run()
    assert all(filled.records()[word(image)][2]["label_total"] for image in IMAGES)


class _Meanwhile:
    """A store; before its first swap something happens."""

    def __init__(self, world: ShardedWorld, what: Any) -> None:
        self._inner, self._what = world.store, what

    def __getattr__(self, name: str) -> Any:
        what, self._what = (self._what, None) if name == "swap_head" else (None, self._what)
        if what:
            what()
        return getattr(self._inner, name)


def test_readers_of_the_layout_go_on(filled: ShardedWorld) -> None:
    """A reader that is open all the time gives every record at each step, and follows to the new shards."""

    records, asked = filled.records(), []
    with ShardedReader(filled.store, "words", check_seconds=0.0) as reader:
        words = reader.client().get_collection("words")

        def between(step: str) -> None:
            found = words.get()
            asked.append((step, sorted(found["ids"])))

        between("before")
        opened = reader._open
        Reshard(filled, 5).run(between)
        assert opened is not None
        assert not opened.replaced, "the layout was swapped at the beginning, and nothing was opened again"
        between("after")
        assert 5 == len(reader.status().shards)
    assert [sorted(records)] * len(asked) == [ids for _, ids in asked]


def test_the_layout_says_what_is_under_way(filled: ShardedWorld) -> None:
    """Anybody who reads it sees the shards that come."""
    Reshard(filled, 4).begin()
    layout = read_layout(filled.store, "words").layout
    assert ["words.2-0", "words.2-1", "words.2-2", "words.2-3"] == [shard.name for shard in layout.coming]
    assert [0, 1024, 2048, 3072] == [shard.first_slot for shard in layout.coming]


@pytest.mark.soak
def test_errors_leave_the_collection_as_it_was(filled: ShardedWorld) -> None:
    """A store that fails while a shard is brought: nothing is in force, and the next one ends it."""

    records = filled.records()
    failing = Reshard(filled, 2, store=CollectionFails("words.2-1").store(filled.store))
    with pytest.raises(LifecycleError):
        failing.run()
    assert (1, records) == (filled.layout().generation, filled.records())
    Reshard(filled, 2).run()
    assert records == filled.records()
