"""A collection made anew from its own records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chroma_lifecycle.bulk.vectors import reembedded
from chroma_lifecycle.chroma.client import ManagedClient
from chroma_lifecycle.chroma.deep import verify_deep
from chroma_lifecycle.clock import SYSTEM_CLOCK, Deadline
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.errors import BadInput, HeadMoved, NoRoom
from chroma_lifecycle.planning.ledger import Ledger
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.unpack import Stores, files_of
from chroma_lifecycle.reader import SnapshotReader
from chroma_lifecycle.rebuild import Rebuilt, Renewal, rebuild
from chroma_lifecycle.snapshot import disk, workspace
from chroma_lifecycle.snapshot.hnsw_files import HnswHeader
from chroma_lifecycle.snapshot.waste import waste_of
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.upkeep import Site
from tests.support.repairs import roll_back
from tests.support.story import expect_model, story, write_pool
from tests.support.table import Table
from tests.support.watching import WatchedStore
from tests.support.world import IMAGE, LINE, World, begins, label

MANY = {f"{LINE}#WORD#{number:05d}": (number, f"text {number}", {"n": number}) for number in range(1_200)}


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    """What works on words, from a workspace of its own."""
    with Workspace.open(world.home / "rebuilding") as local:
        yield Site("words", world.store, world.mirror, local, SYSTEM_CLOCK, "test")


def rebuilt(site: Site, **given: Any) -> Rebuilt:
    return rebuild(site, tail_budget=500, **given)


def merge(world: World, table: Table, run: str, records: dict[str, Any]) -> dict[str, Any]:
    """Publish a delta; return what announced it."""
    world.write_delta(run, records)
    record = table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{run}", **begins(run))
    assert 1 == world.compact([record]).applied
    return record


def facts_of(world: World) -> Any:
    """Return everything that the ledger of the newest version says of facts."""
    with (
        files_of(world.published().manifest, Stores(world.store)) as files,
        Ledger.open(files / "ledger.sqlite3", read_only=True) as ledger,
    ):
        tables = ("field_facts", "tombstones", "runs", "records", "mappings")
        return {name: sorted(ledger._file.connection.execute(f"SELECT * FROM {name}"), key=repr) for name in tables}


def test_the_records_stay_and_what_was_deleted_goes(world: World, site: Site) -> None:
    """Ids, documents, metadata, vectors and the ledger are the same; HNSW and database shrink, in the mirror too."""
    table = Table()
    merge(world, table, "r1", MANY)
    merge(world, table, "r2", {id_: (number + 2_000, None, {}) for id_, (number, _, _) in MANY.items() if number < 500})
    for number in range(500, 1_200):
        table.put(IMAGE, f"RECEIPT#00001#LINE#00001#WORD#{number:05d}")
    removed = [table.remove(IMAGE, f"RECEIPT#00001#LINE#00001#WORD#{number:05d}") for number in range(500, 1_200)]
    world.compact([*removed, label(table, "total", word=7)])
    before, records, facts = world.published().manifest, world.records(), facts_of(world)
    assert 500 == len(records)

    result = rebuilt(site)

    after = world.published().manifest
    assert (records, facts) == (world.records(), facts_of(world))
    assert after == result.published.manifest == world.published(store=world.mirror).manifest
    assert ("rebuild", (), True) == (after.details.summary.action, after.chain.packs, after.details.verified)
    assert before.details.counts.elements >= 1_200 > 500 >= after.details.counts.elements
    assert after.size < before.size * 0.8
    waste, left = waste_of(before), waste_of(after)
    assert waste.dead_elements >= 700 > left.dead_elements == 0
    assert waste.dead_bytes + waste.free_bytes > left.dead_bytes + left.free_bytes
    assert not verify_store(world.published(), world.store, every_version=True).damage


def test_nothing_that_memory_held_is_published(world: World, site: Site) -> None:
    """Chroma writes room for later elements as its memory is; a rebuild leaves zeros, and records find themselves."""
    table = Table()
    merge(world, table, "r1", dict([*MANY.items()][:50]))

    rebuilt(site)

    with files_of(world.published().manifest, Stores(world.store)) as files:
        segment = next(path for path in (files / "chroma").iterdir() if path.is_dir())
        header = HnswHeader.parse((segment / "header.bin").read_bytes())
        for name, each in (("data_level0.bin", header.element_bytes), ("length.bin", 4)):
            data = (segment / name).read_bytes()
            assert len(data) > header.elements * each, "there should be room"
            assert not any(data[header.elements * each :])
        probe = verify_deep(files / "chroma")[0]
        assert (50, probe.asked) == (probe.records, probe.found)
    merge(world, table, "r2", {f"{LINE}#WORD#{number:05d}": (number, None, {}) for number in range(2_000, 2_600)})
    assert 650 == len(world.records())


def test_cycles_go_on_after_it(world: World, site: Site) -> None:
    """The container that was warm, and a new one, apply what comes; duplicates of before stay no-ops."""
    write_pool(world)
    table = Table()
    records = story(table)
    with world.compactor() as warm:
        warm.compact({"Records": records[:6]})
        rebuilt(site)
        warm.compact({"Records": records})
        assert 0 == warm.compact({"Records": records}).applied
    more = [label(table, "late", word=9), table.put(IMAGE, "RECEIPT#00001#PLACE", merchant_name="new")]
    assert 2 == world.compact(more).applied
    expect_model(world, [*records, *more])


def test_another_space(world: World, site: Site) -> None:
    """The same vectors are measured otherwise from here on; what is merged afterwards is too."""
    table = Table()
    merge(world, table, "r1", dict([*MANY.items()][:50]))
    records = world.records()

    result = rebuilt(site, space="ip")

    assert "ip" == result.published.manifest.details.space
    assert records == world.records()
    merge(world, table, "r2", {f"{LINE}#WORD#09999": (77, None, {})})
    assert "ip" == world.published().manifest.details.space
    with (
        files_of(world.published().manifest, Stores(world.store)) as files,
        ManagedClient.open(files / "chroma", "words") as client,
    ):
        found = client.collection.query(query_embeddings=[[1.0, 0.0, 0.0, 0.0]], n_results=1)
    assert [f"{LINE}#WORD#09999"] == found["ids"][0], "the largest product, and not the smallest distance"


def test_a_cosine_space_gives_vectors_back_as_chroma_does(world: World, site: Site) -> None:
    """Chroma keeps direction and length apart there: what comes back is rounded, before and after."""
    table = Table()
    ids = [f"{LINE}#WORD#{number:05d}" for number in range(20)]
    merge(world, table, "r1", {id_: (number, None, {}) for number, id_ in enumerate(ids)})
    rebuilt(site, space="cosine")
    first = vectors(world, ids)

    rebuilt(site)

    assert np.allclose(first, vectors(world, ids), rtol=1e-6, atol=0)
    assert np.allclose(first, [[float(number), 1.0, 0.0, 0.5] for number in range(20)], rtol=1e-6, atol=0)


def test_new_vectors_of_another_dimension(world: World, site: Site, tmp_path: Path) -> None:
    """Everything else stays; a reader goes from one version to the other; what is merged later must have the new one.

    A delta of the old dimension fails alone, and a rollback leads back.
    """
    table = Table()
    merge(world, table, "r1", dict([*MANY.items()][:40]))
    world.compact([label(table, "total", word=7)])
    before, facts = world.records(), facts_of(world)
    asked = list[int]()

    def renewed(records: Delta, space: str, scratch: Path) -> Delta:
        asked.append(len(records.ids))
        assert ("l2", True) == (space, scratch.is_dir())
        tags = {id_: wide(n) for n, id_ in enumerate(records.ids)}
        return reembedded(records, lambda ids: np.array([tags[id_] for id_ in ids], np.float32), 6)

    with SnapshotReader(world.store, "words", workspace=tmp_path / "reader", check_seconds=None) as reader:
        with reader.collection() as words:
            assert 40 == len(words.query(query_embeddings=[[1.0, 0.0, 0.0, 0.0]], n_results=40)["ids"][0])
            result = rebuilt(site, renewal=Renewal(6, renewed), action="reembed")
        reader.refresh()
        with reader.collection() as words:
            assert 40 == len(words.query(query_embeddings=[wide(3)], n_results=40)["ids"][0])

    details = result.published.manifest.details
    assert ([40], 6, "reembed", 40) == (asked, details.dimension, details.summary.action, details.summary.changed)
    assert facts == facts_of(world)
    after = sorted(before)
    assert np.array_equal([wide(n) for n in range(40)], vectors(world, after))
    with (
        files_of(world.published(store=world.mirror).manifest, Stores(world.mirror)) as files,
        ManagedClient.open(files / "chroma", "words") as client,
    ):
        found = client.collection.get(ids=after)
    others = zip(found["documents"], found["metadatas"], strict=True)
    assert {id_: record[1:] for id_, record in before.items()} == dict(zip(found["ids"], others, strict=True))

    world.write_delta("old", {f"{LINE}#WORD#05000": (1, None, {})})
    replace(world, dimension=6).write_delta("new", {f"{LINE}#WORD#06000": (1, None, {})})
    runs = [table.put(IMAGE, f"RECEIPT#00001#COMPACTION_RUN#{name}", **begins(name)) for name in ("old", "new")]
    report = world.compact(runs)
    assert (1, 1) == (report.failed, report.applied)
    assert [[1.0, 1.0, 0.0, 0.5, 0.0, 0.0]] == vectors(world, [f"{LINE}#WORD#06000"]).tolist()

    roll_back(world, 3)
    assert (4, before) == (world.published().manifest.details.dimension, world.records())


def wide(tag: int) -> list[float]:
    return [float(tag), 1.0, 0.0, 0.5, 0.0, 0.25]


def vectors(world: World, ids: list[str]) -> Any:
    with (
        files_of(world.published().manifest, Stores(world.store)) as files,
        ManagedClient.open(files / "chroma", "words") as client,
    ):
        found = client.collection.get(ids=ids, include=["embeddings"])
    at = dict(zip(found["ids"], found["embeddings"], strict=True))
    return np.array([at[id_] for id_ in ids])


def test_an_empty_collection(world: World, site: Site) -> None:
    """No record is no reason to fail."""
    assert {} == world.records()

    assert 2 == rebuilt(site).published.manifest.version.number

    assert {} == world.records()


def test_what_others_publish_meanwhile_wins(world: World, site: Site) -> None:
    """L5: the swap is lost, and it begins again from the newer version: both are there."""
    table = Table()
    merge(world, table, "r1", dict([*MANY.items()][:30]))
    late = [label(table, "late", word=3)]
    pauses = ["swap_head words"]

    def publish_first(number: int, call: str) -> None:
        if call in pauses:
            pauses.clear()
            assert 1 == world.compact(late).applied

    watched = WatchedStore(world.store, before=publish_first)
    busy = Site("words", watched, None, site.workspace, SYSTEM_CLOCK, "test")  # type: ignore[arg-type]

    assert 4 == rebuilt(busy).published.manifest.version.number
    assert "label_late" in world.records()[f"{LINE}#WORD#00003"][2]


def test_a_collection_that_is_never_quiet_is_given_up(world: World, site: Site) -> None:
    """It says so, and nothing is lost."""
    table = Table()
    merge(world, table, "r1", dict([*MANY.items()][:3]))
    names = iter("abcdefg")

    def publish_first(number: int, call: str) -> None:
        if call == "swap_head words":
            world.compact([label(table, next(names))])

    watched = WatchedStore(world.store, before=publish_first)
    busy = Site("words", watched, None, site.workspace, SYSTEM_CLOCK, "test")  # type: ignore[arg-type]
    with pytest.raises(HeadMoved):
        rebuilt(busy)
    assert 5 == world.version()


def test_no_room_is_told_before_anything_is_copied(world: World, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: with the numbers: three copies of the version beside its own, and what new vectors take more."""
    merge(world, Table(), "r1", dict([*MANY.items()][:3]))
    size = world.published().manifest.size
    needed = 3 * size + workspace.HEADROOM_BYTES
    site.restored(Deadline())
    monkeypatch.setattr(disk, "free_bytes", lambda directory: needed - 1)

    with pytest.raises(NoRoom, match=f"rebuilding words needs {needed:,} bytes .* 1 bytes are missing"):
        rebuilt(site)
    # Three vectors of 4 numbers become such of 6: their file, and how much longer they are where they go.
    more = 3 * 4 * (6 + 2)
    with pytest.raises(NoRoom, match=f"rebuilding words needs {needed + more:,} bytes"):
        rebuilt(site, renewal=Renewal(6, lambda *_: pytest.fail("it was asked for vectors")))

    monkeypatch.setattr(disk, "free_bytes", lambda directory: needed)
    rebuilt(site)
    left = {path.name.partition("-")[0] for path in site.workspace.root.iterdir()}
    assert {"lock", "manifest", "pages", "pristine", "stamp"} >= left


def test_a_space_that_does_not_exist(site: Site) -> None:
    """It is refused before anything is read."""
    with pytest.raises(BadInput, match="no space 'hamming'"):
        rebuilt(site, space="hamming")
