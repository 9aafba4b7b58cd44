"""The promise of the ledger and the plan: any order, batching and repetition ends in the model's records."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.changes import Change, MergeDelta
from chroma_lifecycle.intake.decode import changes_of
from chroma_lifecycle.intake.envelopes import decode_event
from chroma_lifecycle.intake.mapping import TableMapping
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.intake.sharded import shard_mapping
from chroma_lifecycle.planning.join import Joined, Outcome, join
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.planning.plan import Plan
from chroma_lifecycle.planning.planner import Planned, plan
from chroma_lifecycle.planning.withheld import left_behind, reapply
from chroma_lifecycle.publishing.layout import Layout, even_layout
from chroma_lifecycle.publishing.shard import Shard, whole_of
from chroma_lifecycle.sharding.works import by_shard
from chroma_lifecycle.values import Digest, digest_of
from tests.model.flat import flat_messages
from tests.model.histories import deltas, histories, kinds
from tests.model.reference import Record, Reference
from tests.model.undoing import Undoing
from tests.support.heads import write_id
from tests.support.table import Table, in_sqs

MAPPING = load_mapping("receipts")
COLLECTIONS = ("words", "lines")


@dataclass(frozen=True)
class Opened:
    """A delta as planning sees it."""

    digest: Digest
    ids: tuple[str, ...]


class World:
    """Both collections: a ledger each, or one for each of their shards, and the records as Chroma would hold them."""

    def __init__(self, directory: Path, pool: dict[str, dict[str, Record]], shards: int = 1) -> None:
        self._pool = pool
        self.mapping = MAPPING
        self._directory = directory
        self._layouts = {name: layout_of(name, shards) for name in COLLECTIONS} if shards > 1 else {}
        self._of_shards = {
            shard.name: shard_mapping(MAPPING, name, shard.name, partial(owned, layout, shard))
            for name, layout in self._layouts.items()
            for shard in layout.shards
        }
        names = tuple(self._of_shards) or COLLECTIONS
        self._ledgers = {name: Ledger.create(directory / f"{name}.sqlite3") for name in names}
        self._versions: dict[str, list[tuple[bytes, dict[str, Record]]]] = {name: [] for name in names}
        self.records: dict[str, dict[str, Record]] = {name: {} for name in names}
        self.outcomes: list[Outcome] = []
        self.moved: set[str] = set()
        self.day = 0
        for name in names:
            self._note(name)

    def everything(self) -> dict[str, dict[str, Record]]:
        """Return the records of each collection, of all its shards together; each is in the shard that has its slot."""
        found: dict[str, dict[str, Record]] = {name: {} for name in COLLECTIONS}
        for name, records in self.records.items():
            collection = whole_of(name) or name
            if layout := self._layouts.get(collection):
                assert {name} >= {layout.shard_of(id_).name for id_ in records}
            found[collection] |= records
        return found

    def ledger(self, name: str) -> Ledger:
        return self._ledgers[name]

    def deliver(self, records: list[dict[str, Any]]) -> None:
        """Compact one batch."""
        changes: list[Change] = []
        for received in decode_event(in_sqs(records), self.mapping).received if records else ():
            assert not isinstance(received.record, BadInput), received.record
            changes += changes_of(received.record, self.mapping)
        self.moved.clear()
        for name in COLLECTIONS:
            mine = [change for change in changes if change.origin.collection == name]
            if layout := self._layouts.get(name):
                for shard, portion in by_shard(mine, layout):
                    self._cycle(shard.name, portion)
            else:
                self._cycle(name, mine)

    def _cycle(self, name: str, changes: list[Change]) -> None:
        ledger = self._ledgers[name]
        joined = join(ledger, changes, partial(self._open, seen_by=self._of_shards.get(name)))
        self.outcomes.extend(joined.outcomes.values())
        if joined.moved():
            self.moved.add(name)
        self._bring(name, joined)

    def _bring(self, name: str, joined: Joined) -> None:
        self._carry_out(name, plan(self._ledgers[name], joined, self._of_shards.get(name, self.mapping), name))

    def _carry_out(self, name: str, planned: Planned) -> None:
        ledger = self._ledgers[name]
        self._apply(self.records[name], planned.plan)
        ledger.store(planned.changes, received_seconds=self.day * 86_400)
        assert sorted(self.records[name]) == list(ledger.record_ids())
        self._note(name)

    def _note(self, name: str) -> None:
        self._versions[name].append((self._ledgers[name].path.read_bytes(), dict(self.records[name])))

    def rollback(self, name: str, moment: int) -> None:
        """Put the version that one collection had at *moment* in the place of what it has."""
        content, records = self._versions[name][moment]
        now, path = self._ledgers[name], self._directory / f"{name}-{len(self._versions[name])}.sqlite3"
        path.write_bytes(content)
        with now, Ledger.open(path, read_only=True) as old:
            behind = left_behind(old, now)
        self._ledgers[name] = Ledger.open(path)
        self._ledgers[name].withhold(behind, received_seconds=0, version=1)
        self.records[name] = dict(records)
        self._note(name)

    def reapply(self, name: str) -> int:
        """Let what is withheld in one collection count again; return how many facts were."""
        withheld = len(self._ledgers[name].withheld())
        self._bring(name, reapply(self._ledgers[name], MAPPING, name, self._open))
        assert 0 == self._ledgers[name].counts()["withheld"]
        return withheld

    def _open(self, change: MergeDelta, seen_by: TableMapping | None = None) -> Opened:
        if change.address not in self._pool:
            raise BadInput(f"no delta at {change.address}", hint="write one")
        content = self._pool[change.address]
        return Opened(digest_of(repr(content).encode()), (seen_by or self.mapping).portion(tuple(content)))

    def _apply(self, records: dict[str, Record], todo: Plan) -> None:
        for id_ in todo.deletes:
            del records[id_]
        for write in todo.writes:
            assert write.existing == write.ids & records.keys()
            for id_ in write.ids:
                vector, document, metadata = self._pool[write.address][id_]
                records[id_] = (vector, document, merged(metadata, write.owned.get(id_, {})))
        for id_, keys in todo.updates.items():
            vector, document, metadata = records[id_]
            records[id_] = (vector, document, merged(metadata, keys))


def layout_of(name: str, shards: int) -> Layout:
    """Return the layout of a collection in so many shards."""
    segments = len(MAPPING.routing(name).segments)
    lineages, began = [write_id(number) for number in range(shards)], datetime(2026, 1, 1, tzinfo=UTC)
    return even_layout(name, lineages, segments=segments, swap_id=write_id(99), written_at=began, writer="test")


def owned(layout: Layout, shard: Shard, record_id: str) -> bool:
    return layout.shard_of(record_id) == shard


@contextmanager
def begun(pool: dict[str, dict[str, Record]], shards: int = 1) -> Iterator[World]:
    """Two empty collections, whose ledgers are closed in the end."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), pool, shards)
        try:
            yield world
        finally:
            for name in world.records:
                world.ledger(name).close()


def merged(metadata: dict[str, Any], keys: Any) -> dict[str, Any]:
    return {key: value for key, value in {**metadata, **keys}.items() if value is not None}


def typed(records: dict[str, dict[str, Record]]) -> dict[str, Any]:
    """Return *records* so that True, 1 and 1.0 differ."""
    return {
        name: {id_: (v, d, {k: (type(x), x) for k, x in m.items()}) for id_, (v, d, m) in rows.items()}
        for name, rows in records.items()
    }


@st.composite
def deliveries(draw: st.DrawFn, records: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The records in any order, some more than once, in batches of any size."""
    shuffled = draw(st.permutations([*records, *draw(st.lists(st.sampled_from(records), max_size=6))]))
    cuts = sorted(draw(st.sets(st.integers(0, len(shuffled)), max_size=4)))
    return [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_any_order_batching_and_repetition_ends_in_the_models_records(data: st.DataObject) -> None:
    """Facts join: the records equal those of a model that sorts by sequence and replays; in any number of shards."""
    pool = data.draw(deltas())
    records = data.draw(histories())
    batches = data.draw(deliveries(records))
    for kind in kinds(records):
        event(kind)

    with begun(pool, data.draw(st.sampled_from([1, 3]))) as world:
        for batch in batches:
            world.deliver(batch)

    assert typed(Reference(pool).replay(records)) == typed(world.everything())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_flat_messages_end_in_the_models_records_too(data: st.DataObject) -> None:
    """Messages without a sequence converge by their time: partial images of places, snapshots of labels."""
    pool = data.draw(deltas())
    records = data.draw(histories())
    messages = [message for record in records for message in flat_messages(record)]
    if not messages:
        return

    with begun(pool, data.draw(st.sampled_from([1, 3]))) as world:
        for batch in data.draw(deliveries(messages)):
            world.deliver(batch)

    assert typed(Reference(pool).replay(records)) == typed(world.everything())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_what_is_rolled_back_stays_away_until_it_is_reapplied(data: st.DataObject) -> None:
    """D1d: after rollbacks the records are those of the changes not withheld; after `reapply`, those of all.

    Duplicates and stragglers come before, between and after.
    """
    pool = data.draw(deltas())
    records = data.draw(histories())
    with begun(pool) as world:
        model = {name: Undoing(name) for name in COLLECTIONS}
        for action in [*data.draw(st.lists(ACTIONS, min_size=4, max_size=8)), "all", "reapply"]:
            batch = records if action == "all" else data.draw(st.lists(st.sampled_from(records), max_size=8))
            if action == "again":  # what any rollback took back comes once more, by itself
                held = [record for each in model.values() for record in each.withheld.values()]
                action, batch = "deliver", data.draw(st.lists(st.sampled_from(held), max_size=3)) if held else []
            if action in ("deliver", "all"):
                world.deliver(batch)
            for name, each in model.items():
                if action in ("deliver", "all"):
                    for kind in each.barred(batch):
                        event(f"{kind} stands in the way")
                    assert not (each.says_nothing(batch) and name in world.moved), "something withheld was moved"
                    each.deliver(batch)
                elif action == "rollback":
                    moment = data.draw(st.integers(0, len(each.moments) - 1))
                    world.rollback(name, moment)
                    each.rollback(moment)
                else:
                    event("reapplied something" if world.reapply(name) else "reapplied nothing")
                    each.reapply()
            assert typed(expected(model, pool)) == typed(world.records), action

    assert typed(Reference(pool).replay(records)) == typed(world.records)


ACTIONS = st.sampled_from(["deliver", "deliver", "again", "rollback", "rollback", "reapply"])


def expected(model: dict[str, Undoing], pool: dict[str, dict[str, Record]]) -> dict[str, dict[str, Record]]:
    """Return the records of the changes that count."""
    return {name: Reference(pool).replay(list(each.counted.values()))[name] for name, each in model.items()}


def test_the_histories_hold_every_kind_of_event() -> None:
    """The strategy really produces inserts, modifications and removals of every rule's items."""
    seen: Counter[str] = Counter()

    @settings(max_examples=200, database=None, derandomize=True)
    @given(histories())
    def collect(records: list[dict[str, Any]]) -> None:
        seen.update(kinds(records))

    collect()

    items = ("COMPACTION_RUN", "PLACE", "LABEL", "RECEIPT", "LINE", "WORD")
    wanted = {f"{item} {name}" for item in items for name in ("INSERT", "REMOVE")}
    wanted |= {f"{item} MODIFY" for item in items[:3]}
    assert wanted <= {kind for kind, count in seen.items() if count >= 5}, seen


# The counter-examples behind the rules, spelled out

WORD = "IMAGE#a#RECEIPT#00001#LINE#00001#WORD#00001"
LABEL = ("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00001#LABEL#total")
RUN = ("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#r1")
POOL: dict[str, dict[str, Record]] = {
    "a1/words": {WORD: (1, "a document", {"merchant_name": "stale", "label_total": True})},
    "a2/words": {WORD: (2, None, {})},
}
BEGIN = {"words_delta_prefix": "a1/words", "words_state": "PENDING"}


@pytest.fixture
def world() -> Iterator[World]:
    with begun(POOL) as world:
        yield world


def orders(records: list[dict[str, Any]]) -> list[list[list[dict[str, Any]]]]:
    """Return every order of *records*, one batch each and all in one."""
    from itertools import permutations

    return [way for order in permutations(records) for way in ([[r] for r in order], [list(order)])]


def ends(records: list[dict[str, Any]]) -> list[dict[str, dict[str, Record]]]:
    """Return the distinct ends that *records* come to over all their orders."""
    found: list[dict[str, dict[str, Record]]] = []
    for batches in orders(records):
        with begun(POOL) as world:
            for batch in batches:
                world.deliver(batch)
        if world.records not in found:
            found.append(world.records)
    return found


def test_a_run_that_began_after_a_removal_stands_in_any_order() -> None:
    """L18: [REMOVE at s1, run at s2] → the vectors exist; [run at s1, REMOVE at s2] → none."""
    table = Table()
    table.put("IMAGE#a", "RECEIPT#00001")
    removed, began = table.remove("IMAGE#a", "RECEIPT#00001"), table.put(*RUN, **BEGIN)
    assert [{WORD}] == [set(end["words"]) for end in ends([removed, began])]

    table.put("IMAGE#a", "RECEIPT#00001")
    removed = table.remove("IMAGE#a", "RECEIPT#00001")
    assert [set()] == [set(end["words"]) for end in ends([began, removed])]


def test_our_own_status_write_does_not_bring_records_back() -> None:
    """D1b: run at s1, REMOVE at s2, status write at s3, in any order → the records stay deleted."""
    table = Table()
    table.put("IMAGE#a", "RECEIPT#00001")
    records = [table.put(*RUN, **BEGIN), table.remove("IMAGE#a", "RECEIPT#00001")]
    records.append(table.update(*RUN, words_state="COMPLETED", words_merged_vectors=1))

    assert [{}] == [end["words"] for end in ends(records)]


def test_a_straggler_after_an_equal_value_does_not_win() -> None:
    """D1c: value X at s1, X again at s3, straggler Y at s2 → X."""
    table = Table()
    records = [table.put(*RUN, **BEGIN)]
    records += [table.put(*LABEL, validation_status=status) for status in ("VALID", "INVALID", "VALID")]

    assert [True] == [end["words"][WORD][2]["label_total"] for end in ends(records)]


def test_a_label_is_parked_until_its_vector_comes() -> None:
    """L20: an update that arrives first is applied when the vector comes; stale metadata cannot undo it."""
    table = Table()
    place = table.put("IMAGE#a", "RECEIPT#00001#PLACE", merchant_name="new")
    run = table.put(*RUN, **BEGIN)

    assert ["new"] == [end["words"][WORD][2]["merchant_name"] for end in ends([place, run])]


def test_a_removed_label_takes_its_key_from_stale_metadata_too() -> None:
    """C7: removing the last contribution removes the key, although a delta brings it."""
    table = Table()
    table.put(*LABEL, validation_status="VALID")
    records = [table.remove(*LABEL), table.put(*RUN, **BEGIN)]

    assert [{"merchant_name": "stale"}] == [end["words"][WORD][2] for end in ends(records)]


def test_labels_removed_and_added_in_one_batch_end_as_the_table() -> None:
    """L17: a word with labels A and B; A removed and C added, in any order → B and C."""
    table = Table()
    key = LABEL[1].removesuffix("total")
    records = [table.put(*RUN, **BEGIN), table.put("IMAGE#a", f"{key}b", validation_status="VALID")]
    table.put("IMAGE#a", f"{key}a", validation_status="VALID")
    records += [table.remove("IMAGE#a", f"{key}a"), table.put("IMAGE#a", f"{key}c", validation_status="VALID")]

    labels = [{key for key in end["words"][WORD][2] if key.startswith("label_")} for end in ends(records)]
    assert [{"label_total", "label_b", "label_c", "label_status"}] == labels


def test_a_place_removed_and_inserted_again_in_one_batch_is_the_new_place() -> None:
    """L19: the place inserted last counts, whatever came first."""
    table = Table()
    key = ("IMAGE#a", "RECEIPT#00001#PLACE")
    records = [table.put(*RUN, **BEGIN), table.put(*key, merchant_name="one")]
    records += [table.remove(*key), table.put(*key, place_id="7")]

    assert [{"place_id": "7", "label_total": True}] == [end["words"][WORD][2] for end in ends(records)]


def test_removal_of_a_word_deletes_it_although_its_run_is_long_gone(world: World) -> None:
    """L21: no id under the prefix remains."""
    table = Table()
    world.deliver([table.put(*RUN, **BEGIN), table.remove(*RUN)])
    table.put("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00001")
    world.deliver([table.remove("IMAGE#a", "RECEIPT#00001#LINE#00001#WORD#00001")])

    assert {} == world.records["words"]


def test_a_missing_delta_fails_alone_and_leaves_no_trace(world: World) -> None:
    """L1: the other run of the batch is merged; the failed one is tried again when it comes again."""
    table = Table()
    bad = table.put("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#r2", words_delta_prefix="gone", words_state="PENDING")
    world.deliver([bad, table.put(*RUN, **BEGIN)])
    assert [Outcome.APPLIED, Outcome.FAILED] == sorted(world.outcomes)

    world.deliver([bad])
    assert Outcome.FAILED is world.outcomes[-1]


def test_a_duplicate_and_what_a_batch_supersedes_are_no_ops(world: World) -> None:
    """D1: only the newest of a batch moves the fact; a second delivery moves nothing."""
    table = Table()
    records = [table.put(*LABEL, validation_status=status) for status in ("VALID", "INVALID", "PENDING")]
    world.deliver(records)
    # one applied and two no-ops in each of the two collections
    assert {Outcome.APPLIED: 2, Outcome.NO_OP: 4} == Counter(world.outcomes)

    world.outcomes.clear()
    world.deliver(records)
    assert {Outcome.NO_OP: 6} == Counter(world.outcomes)


def test_an_address_holds_one_content_for_ever(world: World) -> None:
    """A delta that changed since it was merged is bad input, and says so."""
    table = Table()
    world.deliver([table.put(*RUN, **BEGIN)])
    world._pool = {**POOL, "a1/words": {}}
    world.deliver([table.put("IMAGE#a", "RECEIPT#00001#COMPACTION_RUN#r2", **BEGIN)])

    assert Outcome.FAILED is world.outcomes[-1]
    assert {WORD} == set(world.records["words"])


def test_a_message_of_one_change_leaves_the_others_as_they_were() -> None:
    """In any order: what a partial image does not name is neither withdrawn nor set back."""
    table, place = Table(), ("IMAGE#a", "RECEIPT#00001#PLACE")
    records = [
        table.put(*RUN, **BEGIN),
        table.put(*place, merchant_name="a", place_id="p1"),
        table.update(*place, place_id="p2"),
        table.update(*place, merchant_name="b"),
    ]
    messages = [message for record in records for message in flat_messages(record)]

    [end] = ends(messages)
    assert {"merchant_name": "b", "place_id": "p2", "label_total": True} == end["words"][WORD][2]
