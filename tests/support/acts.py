"""Acts for the grid: batches, what mends, what is done by tasks, what brings HEAD and mirror back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.bulk.vectors import VectorsOf, read_vectors, reembedded
from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.head import find_head
from chroma_lifecycle.publishing.history import verify_store
from chroma_lifecycle.publishing.layout import Vectors, read_layout
from chroma_lifecycle.publishing.mirror import look_at_mirror, repair_mirror
from chroma_lifecycle.publishing.recover import recover
from chroma_lifecycle.rebuild import Renewal, rebuild
from chroma_lifecycle.repair.rollback import rollback
from chroma_lifecycle.snapshot.chain import Chain
from chroma_lifecycle.values import Version
from tests.model.reference import Record, Reference, typed
from tests.support.act_grid import Act, Case, Ends, Way
from tests.support.repairs import reapply_all, roll_back, site
from tests.support.resharding import Reshard
from tests.support.s3 import client
from tests.support.scanned import resync_with
from tests.support.sharded import ShardedWorld
from tests.support.story import POOL, story, write_pool
from tests.support.table import Table, in_sqs
from tests.support.world import World

TABLE = Table()
RECORDS = story(TABLE)
LOST = slice(5, 8)
"""Labels that no message brought."""
HEARD = [*RECORDS[: LOST.start], *RECORDS[LOST.stop :]]


def model(records: list[Any]) -> dict[str, dict[str, Record]]:
    """Return what the model makes of some records."""
    return Reference(POOL).replay(records)


def told(world: World) -> World:
    """Begin a world, and let it hear of the story in two batches."""
    world.begin()
    write_pool(world)
    for batch in (HEARD[:3], HEARD[3:]):
        world.compact(batch)
    return world


@dataclass
class Publishes(Act):
    """Makes so many versions of collections.

    Attributes:
        after: The records of each when it is done.
        most: How many versions there may be of one; those after the first hold the same.
    """

    after: Mapping[str, Mapping[str, Record]]
    most: int = 1

    def look(self, case: Case) -> dict[str, tuple[int, dict[str, Record]]]:
        return {name: (self._version(case, name), case.world.records(name, case.beside.store)) for name in self.after}

    def expect(self, case: Case, before: Any, ends: Ends | None, failed: str | None) -> None:
        for name, (version, records) in before.items():
            ended = failed or (ends or {}).get(name, "done")
            made = self._version(case, name) - version
            some = set(range(1, self.most + 1))
            assert made in {"done": some, "OutcomeUnknown": {0, *some}}.get(ended, {0}), f"{name}: {made} versions"
            found = case.world.published(name, case.beside.store)
            assert not verify_store(found, case.beside.store, every_version=True).damage
            assert typed({name: self.after[name] if made else records}) == typed(
                {name: case.world.records(name, case.beside.store)}
            )

    def expect_done(self, case: Case) -> None:
        found = {name: case.world.records(name, case.beside.store) for name in self.after}
        assert typed(self.after) == typed(found)

    def _version(self, case: Case, name: str) -> int:
        return case.world.published(name, case.beside.store).manifest.version.number


@dataclass
class Batch(Publishes):
    """A batch of a queue in a cold container, its deltas in S3.

    Attributes:
        heard: What was published before.
        batch: The stream records.
        rebases: Whether the chain is due for a new base.
    """

    heard: Sequence[Any] = ()
    batch: Sequence[Any] = ()
    rebases: bool = False

    def prepare(self, home: Path) -> World:
        world = World(home).begin()
        write_pool(world)
        assert not world.compact([*self.heard]).failures
        shutil.rmtree(home / "workspace")
        return world

    def do(self, case: Case, way: Way) -> Ends:
        cold = case.world.compactor("workspace", store=way.store)
        with (
            Compactor(replace(cold._around, deltas=way.deltas), cold._root) as machine,
            pytest.MonkeyPatch.context() as patch,
        ):
            if self.rebases:
                patch.setattr(Chain, "wants_rebase", property(lambda chain: bool(chain.packs)))
            report = machine.compact(in_sqs([*self.batch]))
        assert len(self.batch) == report.applied + report.no_op + report.failed + report.ignored
        return {str(failure.collection): type(failure.error).__name__ for failure in report.failures}


@dataclass
class Mends(Publishes):
    """A command on the words of a world that heard not all of the story."""

    act: Callable[[World, Way], object] = lambda *_: None
    rolled_back: bool = False

    def prepare(self, home: Path) -> World:
        world = told(World(home))
        if self.rolled_back:
            roll_back(world, 2)
        shutil.rmtree(home / "workspace")
        return world

    def do(self, case: Case, way: Way) -> Ends:
        self.act(case.world, way)
        return {}


def _resync(world: World, way: Way) -> None:
    resync_with(world, TABLE, store=way.store)


def _reapply(world: World, way: Way) -> None:
    reapply_all(world, store=way.store)


def _rollback(world: World, way: Way) -> None:
    with site(world, store=way.store) as there:
        rollback(there, Version(2))


def _rebuild(world: World, way: Way) -> None:
    with site(world, store=way.store) as there:
        rebuild(there, tail_budget=250)


NEW = 200
"""What is added to the tag of a record that has a new vector."""


def write_vectors(world: World, tags: Mapping[str, int]) -> None:
    """Write a data set of new vectors."""
    world.write_delta("vectors/part", {id_: (tag + NEW, None, {}) for id_, tag in tags.items()})


def new_vectors(way: Way, ids: Any, space: str, scratch: Path) -> VectorsOf:
    """Read the data set of new vectors."""
    address = f"{way.deltas.roots}vectors"
    return read_vectors(Vectors(address, 4), "words", way.deltas, address, ids, space, scratch)


@dataclass
class NewVectors(Mends):
    """A rebuild with the vectors of a data set in S3."""

    def prepare(self, home: Path) -> World:
        world = super().prepare(home)
        write_vectors(world, {id_: tag for id_, (tag, _, _) in world.records().items()})
        return world

    def do(self, case: Case, way: Way) -> Ends:
        def renewed(records: Delta, space: str, scratch: Path) -> Delta:
            return reembedded(records, new_vectors(way, records.ids, space, scratch), 4)

        with site(case.world, store=way.store) as there:
            rebuild(there, tail_budget=250, action="reembed", renewal=Renewal(4, renewed))
        return {}


PEOPLE = "abcdefgh"
SHARDED_POOL: dict[str, Any] = {
    f"{who}.parquet": {
        f"IMAGE#{who}#RECEIPT#00001#LINE#00001#WORD#{number:05}": (10 * tag + number, f"text {who}", {"n": tag})
        for number in (1, 2)
    }
    for tag, who in enumerate(PEOPLE)
}


def _label(table: Table, who: str, name: str) -> dict[str, Any]:
    key = f"RECEIPT#00001#LINE#00001#WORD#00001#LABEL#{name}"
    return table.put(f"IMAGE#{who}", key, validation_status="VALID")


@dataclass
class Reshards(Act):
    """All tasks of a reshard of three shards to two; then one more change.

    Attributes:
        reembeds: Whether the records get vectors of a data set in S3; the shards are as many as before.
    """

    reembeds: bool = False

    def prepare(self, home: Path) -> World:
        world, table = ShardedWorld(home).begin(), Table()
        for address, records in SHARDED_POOL.items():
            world.write_delta(address.removesuffix(".parquet"), records)
        runs = [
            table.put(f"IMAGE#{who}", "RECEIPT#00001#COMPACTION_RUN#r", words_delta_prefix=f"{who}.parquet",
                      words_state="PENDING")
            for who in PEOPLE
        ]  # fmt: skip
        self._heard = [*runs, _label(table, "a", "total"), _label(table, "b", "early")]
        self._late = _label(table, "c", "late")
        assert not world.compact(self._heard).failures
        write_vectors(world, {id_: tag for records in SHARDED_POOL.values() for id_, (tag, _, _) in records.items()})
        shutil.rmtree(home / "workspace")
        return world

    def do(self, case: Case, way: Way) -> Ends:
        assert isinstance(case.world, ShardedWorld)
        find = (lambda *given: new_vectors(way, *given)) if self.reembeds else None
        vectors = Vectors(f"{way.deltas.roots}vectors", 4) if self.reembeds else None
        shards = 3 if self.reembeds else 2
        Reshard(case.world, shards, store=way.store, vectors=vectors, find=find).run()
        return {}

    def look(self, case: Case) -> None:
        """The records are always the same."""

    def expect(self, case: Case, before: Any, ends: Ends | None, failed: str | None) -> None:
        new = self._is_new(case)
        assert failed is not None or new
        assert not new or failed in (None, "OutcomeUnknown"), failed
        self._expect(case, self._heard, new=new)

    def expect_done(self, case: Case) -> None:
        assert self._is_new(case)
        self._expect(case, self._heard, new=True)
        with case.world.compactor("late", store=case.beside.store) as machine:
            assert not machine.compact(in_sqs([self._late])).failures
        self._expect(case, [*self._heard, self._late], new=True)

    def _is_new(self, case: Case) -> bool:
        shards = read_layout(case.beside.store, "words").layout.shards
        return all(".2-" in shard.name for shard in shards)

    def _expect(self, case: Case, records: list[Any], *, new: bool) -> None:
        more = NEW if new and self.reembeds else 0
        expected = {
            id_: (tag + more, document, metadata)
            for id_, (tag, document, metadata) in Reference(SHARDED_POOL).replay(records)["words"].items()
        }
        assert typed({"words": expected}) == typed({"words": in_shards(case.world, case.beside.store)})


def in_shards(world: World, store: Store) -> dict[str, Record]:
    """Return the records of all shards; each of them is where the layout says."""
    layout = read_layout(store, "words").layout
    found: dict[str, Record] = {}
    for shard in layout.shards:
        records = World.records(world, shard.name, store)
        assert {shard} >= {layout.shard_of(record_id) for record_id in records}
        assert not verify_store(world.published(shard.name, store), store).damage
        found |= records
    return found


@dataclass
class Recovers(Act):
    """HEAD is gone, and is made again from what is left.

    Attributes:
        mirrored: Whether there is a mirror to ask.
        told: The manifests that the last recovery named beside the one that it took.
    """

    mirrored: bool
    told: tuple[str, ...] = ()

    def prepare(self, home: Path) -> World:
        return told(World(home))

    def spoil(self, case: Case) -> None:
        client().delete_object(Bucket=case.bucket, Key="store/words/HEAD")

    def do(self, case: Case, way: Way) -> Ends:
        if find_head(case.beside.store, "words") is None:
            mirror = case.world.mirror if self.mirrored else None
            done = recover(way.store, mirror, "words", writer="test")
            self.told = (*done.rivals, *(each.manifest for each in done.given_up))
        return {}

    def look(self, case: Case) -> None:
        """There is no HEAD."""

    def expect(self, case: Case, before: Any, ends: Ends | None, failed: str | None) -> None:
        there = find_head(case.beside.store, "words") is not None
        assert there if failed is None else not there or failed == "OutcomeUnknown", failed
        if there:
            self._expect_whole(case)

    def expect_done(self, case: Case) -> None:
        self._expect_whole(case)
        with case.world.compactor("late", store=case.beside.store) as machine:
            report = machine.compact(in_sqs(RECORDS))
        assert not report.failures
        assert typed({"words": model(RECORDS)["words"]}) == typed(
            {"words": case.world.records("words", case.beside.store)}
        )

    def _expect_whole(self, case: Case) -> None:
        found = case.world.published("words", case.beside.store)
        assert not verify_store(found, case.beside.store, every_version=True).damage
        heard = HEARD
        if found.manifest.version < Version(3):  # no reading of the newest was sound: it is told, and still there
            [newest] = [name for name in self.told if f"/manifests/{3:016x}-" in name]
            assert case.beside.store.present({newest})
            heard = HEARD[:3]
        assert typed({"words": model(heard)["words"]}) == typed(
            {"words": case.world.records("words", case.beside.store)}
        )


@dataclass
class RepairsMirror(Act):
    """An object of the mirror is damaged, another is gone; both come from the store again."""

    def prepare(self, home: Path) -> World:
        return told(World(home))

    def spoil(self, case: Case) -> None:
        manifest, *_ = sorted((case.world.home / "mirror/words/manifests").iterdir())
        manifest.unlink()
        flipped, *_ = sorted(path for path in (case.world.home / "mirror/words/objects").rglob("*") if path.is_file())
        flipped.chmod(0o600)
        body = bytearray(flipped.read_bytes())
        body[len(body) // 2] ^= 1
        flipped.write_bytes(body)

    def do(self, case: Case, way: Way) -> Ends:
        repair_mirror(way.store, case.world.mirror, "words", deadline=Deadline(), writer="test")
        return {}

    def look(self, case: Case) -> bytes:
        return encode_head(case)

    def expect(self, case: Case, before: Any, ends: Ends | None, failed: str | None) -> None:
        assert before == encode_head(case)
        if failed is None:
            self.expect_done(case)

    def expect_done(self, case: Case) -> None:
        mirror = case.world.mirror
        assert "up to date" == look_at_mirror(case.beside.store, mirror, "words").state
        published = case.world.published("words", mirror)
        assert case.world.published("words", case.beside.store).manifest == published.manifest
        assert not verify_store(published, mirror, every_version=True).damage


def encode_head(case: Case) -> bytes:
    """Return HEAD of the store, as it lies there."""
    body: bytes = client().get_object(Bucket=case.bucket, Key="store/words/HEAD")["Body"].read()
    return body


_AFTER, _BEFORE = model(HEARD), model(HEARD[:3])
_MERGED = {"words": {id_: (tag + NEW, text, metadata) for id_, (tag, text, metadata) in _AFTER["words"].items()}}
ACTS: dict[str, Callable[[], Act]] = {
    "labels": lambda: Batch(model(RECORDS[:12]), heard=RECORDS[:2], batch=RECORDS[2:12]),
    "upserts": lambda: Batch({"words": model(RECORDS)["words"]}, heard=RECORDS[:-1], batch=RECORDS[-1:]),
    "new base": lambda: Batch(
        {"words": model(RECORDS)["words"]}, 2, heard=RECORDS[:-1], batch=RECORDS[-1:], rebases=True
    ),
    "resync": lambda: Mends({"words": model(RECORDS)["words"]}, act=_resync),
    "reapply": lambda: Mends({"words": _AFTER["words"]}, act=_reapply, rolled_back=True),
    "rollback": lambda: Mends({"words": _BEFORE["words"]}, act=_rollback),
    "rebuild": lambda: Mends({"words": _AFTER["words"]}, act=_rebuild),
    "rebuild with new vectors": lambda: NewVectors(_MERGED),
    "reshard": Reshards,
    "reembed": lambda: Reshards(reembeds=True),
    "recover by the mirror": lambda: Recovers(mirrored=True),
    "recover": lambda: Recovers(mirrored=False),
    "mirror": RepairsMirror,
}
