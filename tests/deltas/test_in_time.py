"""Reading a delta ends with the time that there is for it, whatever its form."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.open import open_delta
from chroma_lifecycle.deltas.parquet_pages import groups_of
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.errors import NoTime
from tests.support.deltas import record, write_jsonl, write_parquet

ROWS = [record(f"{number}") for number in range(60)]


@dataclass
class Ticking:
    """A clock that goes on by a second whenever somebody looks."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


def _directory(path: Path) -> None:
    path.mkdir()
    for name in ("chroma.sqlite3", *"abcdefgh"):
        (path / name).write_bytes(b"")


def _archive(path: Path) -> None:
    _directory(path.parent / "packed")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(path.parent / "packed", ".")


def _groups(path: Path) -> None:
    pq.write_table(pq.read_table(write_parquet(path, ROWS)), path, row_group_size=10)


def _parts(path: Path) -> None:
    for name in "abcdefgh":
        write_parquet(path / f"{name}.parquet", [record(name)])


@pytest.mark.parametrize("looks", [0, 6])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("d.parquet", _groups),
        ("run", _parts),
        ("d.jsonl", lambda path: write_jsonl(path, ROWS)),
        ("d.tar.gz", _archive),
        ("chroma", _directory),
    ],
)
def test_every_form_is_left_when_the_time_ends(
    tmp_path: Path, name: str, write: Callable[[Path], object], looks: int
) -> None:
    """L14, C11: at the first look at the clock, and at one in the middle; nothing is left of it."""
    root, scratch, clock = tmp_path / "root", tmp_path / "scratch", Ticking()
    root.mkdir()
    scratch.mkdir()
    write(root / name)
    deadline = Deadline(looks + 0.5, _clock(clock))

    with pytest.raises(NoTime, match="the time ended within"):
        open_delta(
            name, directory_deltas(root), scratch, Expectation("words", 3, None, lambda _: True), deadline=deadline
        )

    assert looks + 1 == clock.seconds
    assert [] == list(scratch.iterdir())


def test_each_header_of_a_page_is_a_look_at_the_clock(tmp_path: Path) -> None:
    """C11: a file of many pages takes long before a record of it is read."""
    path, clock = write_parquet(tmp_path / "d.parquet", ROWS), Ticking()
    table = pq.read_table(path)
    pq.write_table(table, path, data_page_size=1, write_batch_size=1, use_dictionary=False)

    [group] = groups_of(path, Allowance("d", 0, 0, Deadline(1e9, _clock(clock))))

    assert [60, 180, 60, 60] == [chunk.values for chunk in group.chunks]
    assert clock.seconds > 200


def _clock(clock: Ticking) -> Any:
    return clock
