"""What a batch costs follows what it changes: nothing, the ledger alone, or a few calls of Chroma."""

from __future__ import annotations

import gc
import random
from collections import Counter
from typing import Any

import pytest

from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.compactor import set_aside
from tests.support.table import Table, in_sqs
from tests.support.watching import CountingStore, WatchedStore, whole_store
from tests.support.world import IMAGE, LINE, RUN, World, begins, label, with_word

WRITES = {"write", "swap_head", "delete"}


def test_a_batch_that_moves_no_fact_changes_no_byte(world: World) -> None:
    """D1: duplicates and stragglers are answered for; nothing is asked of the store to be written or deleted."""
    table = Table()
    with_word(world, table)
    straggler = label(table, "total", "INVALID")
    records = [label(table, "total")]
    world.compact(records)
    before = {name: whole_store(world.home / name) for name in ("store", "mirror")}
    store = WatchedStore(world.store)

    with world.compactor(store=store) as machine:
        report = machine.compact(in_sqs([*records, straggler]))

    assert (0, 2, 0) == (report.applied, report.no_op, report.failed)
    assert before == {name: whole_store(world.home / name) for name in ("store", "mirror")}
    assert not WRITES & {call.split(" ")[0] for call in store.calls}


def test_a_warm_container_reads_head_and_nothing_else(world: World) -> None:
    """D1: the local copy is what HEAD names, so a batch of duplicates downloads nothing."""
    table = Table()
    with_word(world, table)
    store = WatchedStore(world.store)
    records = [label(table, "total")]
    with world.compactor(store=store) as machine:
        machine.compact(in_sqs(records))
        store.calls.clear()
        machine.compact(in_sqs(records))

    assert ["read_head lines", "read_head words"] == store.calls


def test_what_a_warm_container_has_loaded_is_not_looked_through_again(world: World) -> None:
    """A full round of the garbage collector takes as long as a small cycle; what is loaded stays."""
    table = Table()
    with_word(world, table)
    set_aside.cache_clear()
    gc.unfreeze()

    world.compact([label(table, "total")])

    assert gc.get_freeze_count() > 10_000
    gc.unfreeze()
    world.compact([label(table, "date")])
    assert 0 == gc.get_freeze_count()  # once in a process: it is as much work


def test_a_dry_run_changes_no_byte(world: World) -> None:
    """D1: a dry run tells what would happen, and nothing happens."""
    before = whole_store(world.home)
    world.write_delta("r1", {f"{LINE}#WORD#{number:05d}": (number, None, {}) for number in range(3)})
    run = Table().put(*RUN, **begins("r1"))

    with world.compactor() as machine:
        report = machine.compact(in_sqs([run]), dry_run=True)

    assert (1, {"added": 3, "changed": 0, "removed": 0}) == (report.applied, report.collections[0].records)
    assert before["store/words/HEAD"] == (world.home / "store/words/HEAD").read_bytes()
    assert {k: v for k, v in before.items() if k.startswith("store")} == {
        f"store/{name}": data for name, data in whole_store(world.home / "store").items()
    }
    assert 1 == world.version()


def test_facts_that_change_no_record_are_published_without_chroma(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L20: a parked label publishes the ledger alone; Chroma is not opened, and its files are not copied."""
    before = {entry.path: entry.digest for entry in world.published().manifest.files}
    with world.compactor() as machine, monkeypatch.context() as patch:
        patch.setattr(ManagedClient, "open", lambda *_, **__: pytest.fail("Chroma was opened"))
        report = machine.compact(in_sqs([label(Table(), "total")]))

    after = {entry.path: entry.digest for entry in world.published().manifest.files}
    assert 1 == report.applied
    assert 2 == world.version()
    assert {"ledger.sqlite3"} == {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def count_calls(patch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls on every collection that is opened from now on."""
    calls: Counter[str] = Counter()
    opened = ManagedClient.open

    def counted(*args: Any, **kwargs: Any) -> ManagedClient:
        client = opened(*args, **kwargs)
        calls["open"] += 1
        for name in ("add", "upsert", "update", "delete", "get", "query", "count", "peek"):
            real = getattr(client.collection, name)

            def call(*a: Any, _real: Any = real, _name: str = name, **k: Any) -> Any:
                calls[_name] += 1
                return _real(*a, **k)

            patch.setattr(client.collection, name, call, raising=False)
        return client

    patch.setattr(ManagedClient, "open", counted)
    return calls


def test_ten_thousand_label_changes_are_one_publish_and_one_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S5, D2: 10,000 changes on 50 receipts are one call of Chroma, and one version of each collection."""
    table = Table()
    lines = [f"RECEIPT#{receipt:05d}#LINE#00001" for receipt in range(1, 51)]
    words = [f"{line}#WORD#{word:05d}" for line in lines for word in range(1, 5)]
    world.write_delta("all", {f"{IMAGE}#{word}": (1, None, {}) for word in words})
    world.compact([table.put(*RUN, **begins("all"))])
    names = [f"{word}#LABEL#{number}" for word in words for number in range(50)]
    records = [table.put(IMAGE, name, validation_status="VALID") for name in names]
    store = WatchedStore(world.store)

    with monkeypatch.context() as patch, world.compactor(store=store) as machine:
        calls = count_calls(patch)
        report = machine.compact(in_sqs(records))

    assert 10_000 == report.applied
    assert {"open": 1, "update": 1} == calls
    assert {"lines": 2, "words": 3} == {name: world.version(name) for name in ("lines", "words")}
    assert ["swap_head lines", "swap_head words"] == [call for call in store.calls if call.startswith("swap_head")]


def test_bytes_written_follow_the_change(world: World) -> None:
    """D2: one label on one of 500 records writes a small part of what the records took."""
    table = Table()
    ids = [f"{LINE}#WORD#{number:05d}" for number in range(1, 501)]
    chance = random.Random(1)  # what real documents hold cannot be packed to nothing
    texts = [chance.randbytes(250).hex() for _ in ids]
    world.write_delta("all", {id_: (n, text, {"n": n}) for n, (id_, text) in enumerate(zip(ids, texts, strict=True))})
    store = CountingStore(world.store)
    with world.compactor(store=store) as machine:
        machine.compact(in_sqs([table.put(*RUN, **begins("all"))]))
        first, told = store.written, world.published().manifest.stored_bytes
        store.written = 0
        report = machine.compact(in_sqs([label(table, "total")]))

    assert 0 < store.written < first / 50
    # What is told is the content: beside it there are manifests and HEAD, some of them of the other collection.
    assert 0 < store.written - sum(each.bytes_written for each in report.collections) < 10_000
    assert told <= first < told + 20_000
