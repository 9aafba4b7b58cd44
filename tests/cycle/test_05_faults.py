"""Something fails: the batch comes again or its message is named, HEAD is whole, and the same batch then ends right."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle import cycle
from chroma_lifecycle.chroma import tail
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.errors import (
    BadInput,
    Corrupt,
    LifecycleError,
    NoRoom,
    NotClosed,
    NotInitialised,
    StoreUnavailable,
)
from chroma_lifecycle.ports import Store, SwapUnanswered
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.watching import WatchedStore, whole_store
from tests.support.world import COLLECTIONS, IMAGE, RUN, WORD, World, begins, label, with_word


def versions(world: World) -> dict[str, int]:
    return {collection: world.version(collection) for collection in COLLECTIONS}


def parked(number: int) -> dict[str, Any]:
    """Return a record that moves a fact of both collections, and no record."""
    return Table().put(IMAGE, f"RECEIPT#{number:05d}#PLACE", merchant_name="parked")


def kind_of(call: str) -> str:
    """Return a call without the name of the object: ``write words/manifests``."""
    verb, _, name = call.partition(" ")
    return " ".join([verb, "/".join(name.split("/")[:2])]).strip()


def failing_once(store: Store, kind: str, after: bool) -> WatchedStore:
    """Return *store* with one fault, at the first call of this kind, before or after it took effect."""
    done: list[str] = []

    def fail(number: int, call: str) -> None:
        if kind_of(call) == kind and not done:
            done.append(call)
            if kind.startswith("swap_head"):
                raise SwapUnanswered(call)
            raise StoreUnavailable(f"no answer to {call}", hint="run the batch again")

    return WatchedStore(store, **{"after" if after else "before": fail})


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_store_that_fails_at_any_call_loses_nothing(begun: Path, tmp_path: Path, after: bool) -> None:
    """L3: a fault before or after each kind of call: raised or every message named, or the batch is done.

    HEAD of each collection is as before or one further, and the same batch then ends right.
    """
    records = story(Table())
    worlds = (World(Path(shutil.copytree(begun, tmp_path / str(number)))) for number in count())
    first = next(worlds)
    write_pool(first)
    seen = WatchedStore(first.store)
    with first.compactor(store=seen) as machine:
        machine.compact(in_sqs(records))
    kinds = sorted({kind_of(call) for call in seen.calls})
    ends = Counter[str]()
    for kind in kinds:
        world = next(worlds)
        write_pool(world)
        with world.compactor(store=failing_once(world.store, kind, after)) as machine:
            report = machine.compact(in_sqs(records))
            ends["named" if report.failed else "done"] += 1
            failed = {failure.collection for failure in report.failures}
            assert {name: 1 if name in failed else 2 for name in COLLECTIONS} == versions(world)
            assert all("no answer" in failure.error.message for failure in report.failures)
            assert 0 == machine.compact(in_sqs(records)).failed
        expect_model(world, records, mirrored=False)

    assert {f"{verb} {name}" for verb in ("read_head", "swap_head") for name in COLLECTIONS} < set(kinds)
    assert ends["named"] >= 6
    assert ends["done"] >= 2  # swaps without an answer were read back


def test_a_store_that_is_away_raises(world: World) -> None:
    """L3: when no collection could be compacted there is no answer, so the queue keeps every message."""
    write_pool(world)
    records = story(Table())

    def away(number: int, call: str) -> None:
        raise StoreUnavailable(f"no answer to {call}", hint="run the batch again")

    with (
        world.compactor(store=WatchedStore(world.store, before=away)) as machine,
        pytest.raises(StoreUnavailable, match="no answer"),
    ):
        machine.compact(in_sqs(records))

    assert 0 == world.compact(records).failed
    expect_model(world, records)


def fails(problem: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise problem

    return fail


STEPS: dict[str, tuple[Any, str, LifecycleError]] = {
    "restore": (cycle, "bring_forward", Corrupt("a block is damaged", hint="")),
    "merge": (ManagedClient, "apply", NoRoom("no room on the disk", hint="")),
    "close": (ManagedClient, "close_proven", NotClosed("it is still open", hint="")),
    "tail": (tail, "settle_tail", Corrupt("the queue is damaged", hint="")),
    "seal": (cycle, "seal", Corrupt("the header is torn", hint="")),
    "publish": (cycle, "publish", StoreUnavailable("no answer", hint="")),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_is_never_a_success(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """L3: a fault in restore, merge, close, seal or upload raises; HEAD stays, and the same batch then ends right."""
    write_pool(world)
    records = story(Table())
    before = whole_store(world.home / "store")
    owner, name, problem = STEPS[step]
    with world.compactor() as machine:
        with monkeypatch.context() as patch:
            # What fails to close must be closed all the same, or the test would go on with it open.
            close = ManagedClient.close_proven
            if step == "close":
                patch.setattr(ManagedClient, name, lambda *a, **k: (close(*a, **k), fails(problem)())[1])
            else:
                patch.setattr(owner, name, fails(problem))
            with pytest.raises(type(problem), match=problem.message):
                machine.compact(in_sqs(records))
        assert before == whole_store(world.home / "store")

        assert 0 == machine.compact(in_sqs(records)).failed

    expect_model(world, records)


def test_chroma_refusing_a_call_fails_the_cycle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: an error of the engine half-way through the merge leaves nothing of it in any version."""
    table = Table()
    with_word(world, table)
    opened = ManagedClient.open

    def spoiled(*args: Any, **kwargs: Any) -> ManagedClient:
        client = opened(*args, **kwargs)
        monkeypatch.setattr(client.collection, "update", fails(ValueError("not today")), raising=False)
        return client

    with world.compactor() as machine:
        with monkeypatch.context() as patch:
            patch.setattr(ManagedClient, "open", spoiled)
            report = machine.compact(in_sqs([label(table, "total")]))
        assert ("message-0",) == report.failed_sources()
        assert {WORD: (1, "text", {"x": 1})} == world.records()

        table.items.clear()
        assert 1 == machine.compact(in_sqs([label(table, "total")])).applied
    assert {"x": 1, "label_total": True, "label_status": "validated"} == world.records()[WORD][2]


# L13: a store that is not as it should be


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_missing_head_is_an_error(world: World, warm: bool) -> None:
    """L13: only `init` creates a HEAD; the error says what to run."""
    table = Table()
    with world.compactor() as machine:
        if warm:
            machine.compact(in_sqs([label(table, "total")]))
        for collection in COLLECTIONS:
            shutil.rmtree(world.home / "store" / collection / "heads")
            (world.home / "store" / collection / "HEAD").unlink()
        before = whole_store(world.home / "store")

        with pytest.raises(NotInitialised, match="lines has no HEAD") as told:
            machine.compact(in_sqs([label(table, "date")]))

    assert "init" in told.value.hint
    assert before == whole_store(world.home / "store")


def removal() -> dict[str, Any]:
    """Return a record that concerns words alone."""
    table = Table()
    table.put(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001")
    return table.remove(IMAGE, "RECEIPT#00001#LINE#00001#WORD#00001")


def each_head(world: World) -> list[Path]:
    """Return every file that HEAD of words is read from."""
    home = world.home / "store" / "words"
    return [home / "HEAD", *(home / "heads").iterdir()]


def tear_head(world: World) -> None:
    for path in each_head(world):
        path.write_bytes(path.read_bytes()[:-20])


def flip_head(world: World) -> None:
    for path in each_head(world):
        path.write_bytes(path.read_bytes().replace(b'"floor"', b'"flour"'))


def newer_head(world: World) -> None:
    for path in each_head(world):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))


def empty_head(world: World) -> None:
    for path in each_head(world):
        path.write_bytes(b"")


def no_manifest(world: World) -> None:
    shutil.rmtree(world.home / "store" / "words" / "manifests")


def flip_manifest(world: World) -> None:
    (path,) = (world.home / "store" / "words" / "manifests").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def no_objects(world: World) -> None:
    shutil.rmtree(world.home / "store" / "words" / "objects")
    shutil.rmtree(world.home / "mirror")


def flip_objects(world: World) -> None:
    for path in (world.home / "store" / "words" / "objects").rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(bytes(data))
    shutil.rmtree(world.home / "mirror")


def no_store(world: World) -> None:
    shutil.rmtree(world.home / "store")


def store_is_a_file(world: World) -> None:
    no_store(world)
    (world.home / "store").write_text("x")


def head_is_a_directory(world: World) -> None:
    for path in each_head(world):
        path.unlink()
        path.mkdir()


DAMAGES: dict[Callable[[World], None], tuple[tuple[type[LifecycleError], ...], str]] = {
    tear_head: ((Corrupt,), "HEAD of words"),
    flip_head: ((Corrupt,), "HEAD of words"),
    newer_head: ((BadInput,), "version 2 of its format, and this library knows 1"),
    empty_head: ((Corrupt,), "HEAD of words"),
    no_manifest: ((Corrupt,), "names words/manifests"),
    flip_manifest: ((Corrupt,), "words/manifests"),
    no_objects: ((Corrupt,), "words/objects"),
    flip_objects: ((Corrupt,), "words/objects"),
    no_store: ((StoreUnavailable,), "store"),
    store_is_a_file: ((StoreUnavailable, BadInput), "store"),
    head_is_a_directory: ((Corrupt, BadInput, StoreUnavailable), "words"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_store_that_is_not_whole_is_named(world: World, damage: Callable[[World], None]) -> None:
    """L13, C12: HEAD torn, newer, dangling or unreadable, a block gone or damaged: it is named, and no write."""
    damage(world)
    before = whole_store(world.home) if damage is not no_store else {}
    kinds, name = DAMAGES[damage]

    with pytest.raises(kinds, match=name) as told:
        world.compact([removal()])

    assert told.value.hint
    after = whole_store(world.home)
    stored = {path: data for path, data in after.items() if path.startswith("store")}
    assert {path: data for path, data in before.items() if path.startswith("store")} == stored


# S8: one collection fails


def test_one_collection_without_a_head_does_not_hold_up_the_other(world: World) -> None:
    """S8: the messages of the other collection are done; those of both come again."""
    table = Table()
    shutil.rmtree(world.home / "store" / "lines")
    world.write_delta("r1", {WORD: (1, None, {})})

    report = world.compact([table.put(*RUN, **begins("r1")), label(table, "total"), removal()])

    assert ("message-1",) == report.failed_sources()
    assert ["words"] == [each.collection for each in report.collections]


@pytest.mark.parametrize("call", ["read_head lines", "write lines", "swap_head lines"])
def test_one_collection_whose_store_fails_does_not_hold_up_the_other(world: World, call: str) -> None:
    """S8: whatever fails for lines, words are published; only the messages that concern lines come again."""
    write_pool(world)
    records = [*story(Table()), removal()]

    def fail(number: int, found: str) -> None:
        if found.startswith(call):
            raise StoreUnavailable(f"no answer to {found}", hint="run the batch again")

    with world.compactor(store=WatchedStore(world.store, before=fail)) as machine:
        report = machine.compact(in_sqs(records))

    assert {"words": 2, "lines": 1} == versions(world)
    answered = set(report.outcomes) - set(report.failed_sources())
    # The second run, and the removal of a word, are about words alone.
    assert {f"message-{number}" for number in (12, 13, 14)} == answered
    assert 0 == world.compact(records).failed
    expect_model(world, records[:-1], mirrored=True)


# The mirror


def test_what_is_published_is_mirrored_and_comes_back(world: World) -> None:
    """L24: the mirror equals the store, and a lost one comes back with the next cycle."""
    table = Table()
    with_word(world, table)
    assert world.records() == world.records(store=world.mirror)

    shutil.rmtree(world.home / "mirror" / "words")
    world.compact([label(table, "total")])

    assert world.published().manifest == world.published(store=world.mirror).manifest
    assert world.records() == world.records(store=world.mirror)


def test_a_mirror_that_is_away_for_ten_cycles_catches_up(world: World) -> None:
    """L24, S7: each cycle succeeds and says that the mirror is behind; the one after it returned heals it."""
    table = Table()
    away = world.home / "away"
    (world.home / "mirror").rename(away)
    world.write_delta("r1", {WORD: (1, None, {})})
    with world.compactor() as machine:
        report = machine.compact(in_sqs([table.put(*RUN, **begins("r1"))]))
        for number in range(9):
            assert str(report.collections[-1].mirror).startswith("failed")
            report = machine.compact(in_sqs([label(table, f"l{number}")]))
            assert 0 == report.failed
        away.rename(world.home / "mirror")
        report = machine.compact(in_sqs([label(table, "last")]))

    assert ["brought forward"] * 2 == [each.mirror and str(each.mirror.state) for each in report.collections]
    for collection in COLLECTIONS:
        assert world.published(collection).manifest == world.published(collection, world.mirror).manifest
    assert world.everything() == world.everything(world.mirror)


def test_records_that_chroma_did_not_take_are_not_published(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: ledger and records are counted against each other after every cycle that adds or removes some."""
    world.write_delta("r1", {WORD: (1, "text", {"x": 1})})
    record = Table().put(*RUN, **begins("r1"))
    monkeypatch.setattr(ManagedClient, "apply", lambda *_: None)

    with pytest.raises(Corrupt, match="holds 0 records, its ledger has 1"):
        world.compact([record])
    assert 1 == world.version()
    monkeypatch.undo()
    assert 1 == world.compact([record]).applied
