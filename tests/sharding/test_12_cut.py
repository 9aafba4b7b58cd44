"""A collection in one piece is cut into shards while the stream goes on: nothing is lost, and nothing is half done."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.bulk import bring, cutting
from chroma_lifecycle.bulk.leftovers import remove_left_behind
from chroma_lifecycle.bulk.resharding import begin, reopen
from chroma_lifecycle.errors import BadInput, HeadMoved, Retryable
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import Vectors
from chroma_lifecycle.publishing.swap import amend_head
from chroma_lifecycle.reader import ShardedReader, SnapshotReader
from tests.sharding.test_01_compaction import A, B, with_words
from tests.sharding.test_09_reshard import expect_parked_label, fill, label, ledger_of, word
from tests.support.one_piece import OnePieceWorld
from tests.support.resharding import Reshard, read_here
from tests.support.s3 import new_bucket, use_server
from tests.support.table import Table, in_sqs


@pytest.fixture(autouse=True)
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)


@pytest.fixture(scope="session")
def begun_whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    """In one piece."""
    world = OnePieceWorld(tmp_path_factory.mktemp("whole") / "world").begin()
    table = fill(world)
    return world.home, table


@pytest.fixture
def whole(begun_whole: tuple[Path, Table], tmp_path: Path) -> OnePieceWorld:
    return OnePieceWorld(Path(shutil.copytree(begun_whole[0], tmp_path / "world")))


@pytest.fixture
def table(begun_whole: tuple[Path, Table]) -> Table:
    return deepcopy(begun_whole[1])


def test_facts_travel_with_their_records(whole: OnePieceWorld, table: Table) -> None:
    """The same records and facts; a parked one is applied when its vector comes, by the mapping as it was."""
    records, facts, lineage = whole.records(), ledger_of(whole), read_head(whole.store, "words").head.lineage
    Reshard(whole, 3).run()

    layout = whole.layout()
    assert (1, 3, (), lineage) == (layout.generation, len(layout.shards), layout.coming, layout.came_from)
    assert records == whole.records()
    assert facts == ledger_of(whole)
    expect_parked_label(whole, table)


def test_what_comes_meanwhile_is_in_the_shards(whole: OnePieceWorld, table: Table) -> None:
    """Written, changed, labelled and removed between any two steps; the reader's answer never lacks a record."""
    comes = {
        "bring": [table.put("IMAGE#b", "RECEIPT#00001#LINE#00001#WORD#00001"), label(table, "a")],
        "close": [label(table, "c"), table.remove("IMAGE#b", "RECEIPT#00001#LINE#00001#WORD#00001")],
    }
    asked = []
    with ShardedReader(whole.store, "words", check_seconds=0.0) as reader:
        words = reader.client().get_collection("words")

        def between(step: str) -> None:
            if step in comes:
                assert not whole.compact(comes[step]).failed
            asked.append(set(words.get()["ids"]))

        Reshard(whole, 2).run(between)
        asked.append(set(words.get()["ids"]))
        assert 2 == len(reader.status().shards)
    records = whole.records()

    assert all(found >= records.keys() for found in asked)
    assert asked[-1] == records.keys()
    assert word("b") not in records
    assert {"n": 2, "label_total": True, "label_status": "validated"} == records[word("c")][2]


def test_a_change_that_comes_while_it_is_closed_waits(whole: OnePieceWorld, table: Table) -> None:
    """It is handed back, not answered for; one container goes on from HEAD to the shards without another setting."""
    change, seen = [label(table, "a")], []
    with whole.compactor() as machine:

        def between(step: str) -> None:
            if step in ("bring the rest", "finish"):
                report = machine.compact(in_sqs(change))
                seen.append((report.failed_sources(), report.lost[0].error.message))

        Reshard(whole, 2).run(between)
        report = machine.compact(in_sqs(change))
        again = machine.compact(in_sqs([label(table, "a", "more")]))

    assert [(("message-0",), "words is closed: a reshard hands over to generation 1")] * 2 == seen
    assert [1, 1] == [report.applied, again.applied]
    assert whole.records()[word("a")][2]["label_total"]


@pytest.mark.parametrize("step", [pytest.param("close", marks=pytest.mark.soak), "finish"])
def test_a_writer_that_read_head_before_a_step_cannot_publish_after_it(
    whole: OnePieceWorld, table: Table, step: str
) -> None:
    """D1, C13: its swap is lost, to the close or to the layout that lies in HEAD's place; its change comes again."""
    reshard, change = Reshard(whole, 2), [label(table, "a")]
    reshard.begin()
    reshard.bring(1)

    def meanwhile() -> None:
        reshard.close(1)
        if step == "finish":
            reshard.bring(1)
            reshard.finish(1)

    with whole.compactor(store=BeforeFirstSwap(whole, meanwhile)) as machine:
        report = machine.compact(in_sqs(change))
    assert (("message-0",), ["words"]) == (report.failed_sources(), [lost.collection for lost in report.lost])
    reshard.run()
    assert "label_total" not in whole.records()[word("a")][2]
    assert 1 == whole.compact(change).applied
    assert whole.records()[word("a")][2]["label_total"]


class BeforeFirstSwap:
    """The store of a writer; before its first swap of the words something happens."""

    def __init__(self, world: OnePieceWorld, what: Callable[[], object]) -> None:
        self._inner, self._what = world.store, [what]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def swap_head(self, collection: str, *given: Any, **options: Any) -> Any:
        while collection == "words" and self._what:
            self._what.pop()()
        return self._inner.swap_head(collection, *given, **options)


def test_shards_that_lack_a_change_are_not_put_in_force(whole: OnePieceWorld, table: Table) -> None:
    """What came after they were brought last is missing from them: HEAD stays, until they are brought again."""
    reshard = Reshard(whole, 2)
    reshard.begin()
    reshard.bring(1)
    whole.compact([label(table, "a")])
    with pytest.raises(Retryable, match="is not closed"):
        reshard.finish(1)
    reshard.close(1)
    with pytest.raises(Retryable, match="does not hold all that the closed shards hold"):
        reshard.finish(1)
    assert whole.layout().in_one_piece
    reshard.bring(1)
    reshard.finish(1)
    assert whole.records()[word("a")][2]["label_total"]


def test_one_that_is_given_up_leaves_the_collection_as_it_was(whole: OnePieceWorld, table: Table) -> None:
    """Writers go on; the next reshard takes other names, and the one that was given up cannot end any more."""
    reshard, records = Reshard(whole, 2), whole.records()
    reshard.begin()
    reshard.bring(1)
    reshard.close(1)
    assert ["words"] == reshard.give_up()
    assert [] == reshard.give_up()
    assert (records, True) == (whole.records(), whole.layout().in_one_piece)
    assert 1 == whole.compact([label(table, "a")]).applied
    for late in (reshard.finish, reshard.close, reshard.bring):
        with pytest.raises(BadInput, match="was given up"):
            late(1)
    with pytest.raises(BadInput, match="was given up"):
        reopen(whole.store, "words", 1, "somebody")
    assert 1 == whole.compact([label(table, "b")]).applied
    layout = Reshard(whole, 4).begin()
    assert (0, 2) == (layout.generation, layout.newest_generation)
    assert ["words.2-0", "words.2-1", "words.2-2", "words.2-3"] == [shard.name for shard in layout.coming]


def test_it_is_not_opened_under_a_swap_that_was_proven(
    whole: OnePieceWorld, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: one process has proven the shards, another lets writers go on: then the first one's swap is lost."""
    reshard, change = Reshard(whole, 2), [label(table, "a")]
    reshard.begin()
    reshard.bring(1)
    reshard.close(1)
    publish = cutting.publish_layout

    def opened_first(*given: Any) -> Any:
        monkeypatch.setattr(cutting, "publish_layout", publish)
        reopen(whole.store, "words", 1, "somebody")
        assert 1 == whole.compact(change).applied
        return publish(*given)

    monkeypatch.setattr(cutting, "publish_layout", opened_first)
    with pytest.raises(HeadMoved):
        reshard.finish(1)
    assert whole.layout().in_one_piece
    reshard.run()
    assert whole.records()[word("a")][2]["label_total"]


def test_closing_while_it_is_given_up_leaves_it_open(
    whole: OnePieceWorld, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes looks at what HEAD says then: nobody else would open it."""
    reshard = Reshard(whole, 2)
    reshard.begin()
    amended = cutting.amend_head

    def given_up_first(*given: Any, **options: Any) -> Any:
        monkeypatch.setattr(cutting, "amend_head", amended)
        reshard.give_up()
        return amended(*given, **options)

    monkeypatch.setattr(cutting, "amend_head", given_up_first)
    with pytest.raises(BadInput, match="was given up"):
        reshard.close(1)
    assert 1 == whole.compact([label(table, "a")]).applied


def test_a_second_reshard_is_refused_while_one_is_under_way(whole: OnePieceWorld) -> None:
    """With the number to go on with; the same number goes on, and what is in force then is left alone."""
    first = Reshard(whole, 2).begin()
    with pytest.raises(BadInput, match=r"to 2 shards is under way.*bulk reshard --shards 2.*--undo"):
        Reshard(whole, 4).begin()
    again = Reshard(whole, 2, machine="another", keep=False)
    assert first.coming == again.begin().coming
    again.run()
    assert again.begin() == again.finish(1) == whole.layout()


@pytest.mark.parametrize(("shards", "vectors"), [(None, None), (3, Vectors("x", 3))])
def test_new_vectors_are_given_by_a_rebuild(whole: OnePieceWorld, shards: int | None, vectors: Vectors | None) -> None:
    """One piece gets them in one version; both at once is not offered."""
    with pytest.raises(BadInput, match="rebuild --vectors"):
        begin(whole.store, whole.mapping, "words", shards, "test", vectors)


def test_one_piece_is_one_shard(whole: OnePieceWorld) -> None:
    """To ask for one shard is to ask for what is there."""
    head = read_head(whole.store, "words").head
    layout = Reshard(whole, 1).begin()
    assert (True, ()) == (layout.in_one_piece, layout.coming)
    assert head == read_head(whole.store, "words").head


def test_pins_keep_it_in_one_piece(whole: OnePieceWorld) -> None:
    """A version that somebody asked to keep would be out of reach: refused before it begins, or before it is closed."""

    def pin(*names: str) -> None:
        amend_head(
            whole.store, "words", lambda head: replace(head, pins=dict.fromkeys(names, head.manifest)), writer="test"
        )

    pin("audit")
    with pytest.raises(BadInput, match=r"words has pins \(audit\)"):
        Reshard(whole, 2).begin()
    pin()
    reshard = Reshard(whole, 2)
    reshard.begin()
    reshard.bring(1)
    pin("late")
    with pytest.raises(BadInput, match=r"words has pins \(late\)"):
        reshard.close(1)
    assert None is read_head(whole.store, "words").head.closed_for
    pin()
    reshard.run()
    assert 2 == len(whole.layout().shards)


def test_a_reader_of_one_piece_keeps_what_it_has_and_says_why_it_is_not_newer(whole: OnePieceWorld) -> None:
    """It serves all that was there when it was closed, and names the reader that goes on."""
    records = whole.records()
    with SnapshotReader(whole.store, "words", check_seconds=0.0) as reader:
        words = reader.client().get_collection("words")
        assert records.keys() == set(words.get()["ids"])
        Reshard(whole, 2).run()
        assert records.keys() == set(words.get()["ids"])
        status = reader.status()
        assert "is a layout: the collection is in shards" in str(status.problem)
        assert "ShardedReader" in str(status.hint)


def test_a_reader_that_begins_while_the_layout_comes_reads_the_shards(
    whole: OnePieceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read HEAD, and when it restores there is a layout: nobody is told of that."""
    from chroma_lifecycle.reader import sharded

    records, read = whole.records(), sharded.read_in_force
    reshard = Reshard(whole, 2)

    def cut_after(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(sharded, "read_in_force", read)
        seen = read(*given, **named)
        reshard.run()
        return seen

    monkeypatch.setattr(sharded, "read_in_force", cut_after)
    with ShardedReader(whole.store, "words") as reader:
        assert records.keys() == set(reader.client().get_collection("words").get()["ids"])
        assert 2 == len(reader.status().shards)


@pytest.mark.soak
def test_it_is_cut_in_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HEAD is replaced by a layout as by a HEAD, by If-Match; every version of what was before can go."""
    use_server(monkeypatch)
    world, table = OnePieceWorld(tmp_path, f"s3://{new_bucket()}/x").begin(), Table()
    with_words(world, table)
    Reshard(world, 2).run()
    assert 1 == world.compact([label(table, "a")]).applied
    assert ["words"] == [each.name for each in remove_left_behind(world.store, "words", timedelta())]
    assert ["words/HEAD"] == [row.name for row in world.store.list("words/")]
    assert {A, B} == world.records().keys()


def test_a_mapping_that_names_shards_compacts_one_piece_too(
    whole: OnePieceWorld, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store says what there is: the mapping may name the shards before the reshard, or after it."""
    from chroma_lifecycle.compactor import Compactor
    from chroma_lifecycle.wiring import surroundings

    declared = replace(surroundings(whole.settings), mapping=replace(whole.mapping, shards={"words": 2, "lines": 2}))
    with Compactor(declared, whole.home / "declared") as machine:
        assert 1 == machine.compact(in_sqs([label(table, "a")])).applied
        assert "layout not mirrored" not in capsys.readouterr().out, "there is none"
        Reshard(whole, 2).run()
        assert 1 == machine.compact(in_sqs([label(table, "b")])).applied
    records = whole.records()
    assert all(records[word(image)][2]["label_total"] for image in "ab")
