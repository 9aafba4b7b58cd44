"""Reshards in real processes: killed at each step, begun at the same moment, read from all the time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.bulk import bring
from chroma_lifecycle.errors import LifecycleError
from chroma_lifecycle.reader import ShardedReader
from tests.sharding.test_09_reshard import IMAGES, begun_filled, filled, label, table, word
from tests.support.dying_reshards import STEPS, die_resharding, race_to_begin
from tests.support.resharding import Reshard, read_here
from tests.support.schemas import problems
from tests.support.sharded import ShardedWorld
from tests.support.table import Table, in_sqs

__all__ = ["begun_filled", "filled", "table"]

PROGRAM = Path(sys.executable).with_name("chroma-lifecycle")
QUICK = [("close one", True)]
EVERY = [(step, after) for step in STEPS for after in (False, True)]


@pytest.fixture(autouse=True)
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)


def killed_and_done_again(world: ShardedWorld, table: Table, step: str, *, after: bool, generation: int = 2) -> None:
    late, later = [label(table, image) for image in IMAGES[:4]], [label(table, image, "later") for image in IMAGES]
    assert -signal.SIGKILL == die_resharding(world, 2, step, late, after=after)

    owed = [*late, *later]
    report = world.compact(owed)  # whatever lies there, writers and readers are as before, or wait
    assert {word(image) for image in IMAGES} <= world.records().keys()
    waiting = {f"message-{number}" for number in range(len(owed))} & {*report.failed_sources()}
    Reshard(world, 2).run()
    if rest := [record for number, record in enumerate(owed) if f"message-{number}" in waiting]:
        assert not world.compact(rest).failed

    assert (generation, 2, ()) == (world.layout().generation, len(world.layout().shards), world.layout().coming)
    records = world.records()
    assert all(records[word(image)][2]["label_later"] for image in IMAGES)
    assert all(records[word(image)][2]["label_total"] for image in IMAGES[:4])
    assert {word(image, number) for image in IMAGES for number in (1, 2)} == records.keys()


@pytest.mark.parametrize(("step", "after"), QUICK)
def test_killed_at_a_step_the_same_again_ends_it(filled: ShardedWorld, table: Table, step: str, after: bool) -> None:
    """D1: after a SIGKILL nothing is lost that was answered for, and the same command ends the reshard."""
    killed_and_done_again(filled, table, step, after=after)


@pytest.mark.soak
@pytest.mark.parametrize(("step", "after"), EVERY)
def test_killed_at_every_step_the_same_again_ends_it(
    filled: ShardedWorld, table: Table, step: str, after: bool
) -> None:
    """D1: the same for every named step, before and after it."""
    killed_and_done_again(filled, table, step, after=after)


def test_of_two_processes_that_begin_at_once_one_begins(filled: ShardedWorld) -> None:
    """Both have read the layout when either swaps it: one is told of the other, and the collection is as it was."""
    records, ends = filled.records(), race_to_begin(filled, 2, 4)

    assert ["begun"] == [end for end in ends if end == "begun"], ends
    (other,) = [end for end in ends if end != "begun"]
    assert other.startswith("BadInput: a reshard of words to ")
    assert (1, records) == (filled.layout().generation, filled.records())


class Life:
    """Readers and a writer, in threads, until it is over.

    Attributes:
        problems: What must not happen: an error of a reader, or records that it did not see.
        asked: How often readers asked.
        labels: How many labels the writer was given.
    """

    def __init__(self, world: ShardedWorld, table: Table) -> None:
        self._world, self._table = world, table
        self._over = threading.Event()
        self._expected = {word(image, number) for image in IMAGES for number in (1, 2)}
        self._threads = [threading.Thread(target=each) for each in (self._read, self._read, self._write)]
        self.problems: list[object] = []
        self.asked = self.labels = 0

    def __enter__(self) -> Life:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        with ShardedReader(self._world.store, "words", check_seconds=0.1) as reader:
            words = reader.client().get_collection("words")
            while not self._over.is_set():
                self.asked += 1
                try:
                    if missed := self._expected ^ set(words.get(include=[])["ids"]):
                        self.problems.append(missed)
                    words.query(query_embeddings=[[1.0, 1.0, 0.0, 0.5]], n_results=3)
                except Exception as problem:
                    self.problems.append(problem)

    def _write(self) -> None:
        """Hand labels over as a queue does, until all of them are answered for."""
        owed: list[Any] = []
        with self._world.compactor() as machine:
            while owed or not self._over.is_set():
                if not self._over.is_set():
                    owed.append(label(self._table, IMAGES[self.labels % len(IMAGES)], f"n{self.labels}"))
                    self.labels += 1
                try:
                    failed = {*machine.compact(in_sqs(owed)).failed_sources()}
                except LifecycleError:
                    continue
                owed = [record for number, record in enumerate(owed) if f"message-{number}" in failed]


def reshard_by_command(world: ShardedWorld, shards: int, declared: str = "shards: {words: 3, lines: 3}") -> None:
    mapping = world.home / "mapping.yaml"
    shipped = (files("chroma_lifecycle") / "intake/mappings/receipts.yaml").read_text()
    mapping.write_text(f"{shipped}\n{declared}\n")
    at = {"store": world.store.address, "mapping": mapping, "workspace": world.home / "bulk", "collection": "words"}
    options = [word for name, value in at.items() for word in (f"--{name}", str(value))]
    ended = subprocess.run(
        [str(PROGRAM), "bulk", "reshard", "--shards", str(shards), "--workers", "2", "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stderr
    assert [] == problems("bulk reshard", json.loads(ended.stdout))


@pytest.mark.soak
def test_readers_never_fail_and_never_miss_a_record_while_the_command_runs(filled: ShardedWorld, table: Table) -> None:
    """Threads ask all the time, changes come all the time, and the command cuts to five shards, then to two."""
    with Life(filled, table) as life:
        for shards in (5, 2):
            reshard_by_command(filled, shards)

    assert [] == life.problems[:3]
    assert life.asked > 20
    assert 3 == filled.layout().generation
    records = filled.records()
    for number in range(life.labels):
        assert records[word(IMAGES[number % len(IMAGES)])][2][f"label_n{number}"]
