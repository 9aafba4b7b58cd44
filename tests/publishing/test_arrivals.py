"""Parts and packs arrive in any order; what the packs make of a file is found out as soon as both are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.publishing.arrivals import Arrivals
from chroma_lifecycle.snapshot.chain import Base, BaseFile, BasePart
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.pages import FilePages, PageTable
from chroma_lifecycle.snapshot.rewriting import make_change
from tests.snapshot.test_pack import DB, NOISE
from tests.snapshot.test_pack_run import Files, chain_of, fill
from tests.support.snapshots import files_of
from tests.support.versions import digest, pages_of

EMPTY, UNTOUCHED, GONE, BACK = (f"chroma/s/{name}.bin" for name in ("empty", "untouched", "gone", "back"))
STATES: list[Files] = [
    {DB: NOISE[n:90_000], LEDGER: NOISE[: 9_000 * n], EMPTY: b"", UNTOUCHED: NOISE[:50_000]} for n in range(4)
]
for state in STATES[:2]:
    state |= {GONE: b"gone", BACK: NOISE[:10_000]}
STATES[-1] |= {BACK: NOISE[5:10_000]}
PACKS = chain_of(STATES)
PART_BYTES = 4 * 4_096
DIGESTS_OF_A_PART = 32


def in_small_parts(path: str, pages: FilePages) -> BaseFile:
    """A file in parts of four pages; where they are stored does not matter here."""
    sizes = [min(PART_BYTES, pages.size - start) for start in range(0, pages.size, PART_BYTES)]
    parts = (BasePart(size, digest("part"), "objects/part", 1) for size in sizes)
    return BaseFile(path, pages.digest, tuple(parts))


@pytest.fixture
def table(tmp_path: Path) -> PageTable:
    """The pages of the base, which lies in the directory."""
    return fill(tmp_path, STATES[0])


@pytest.fixture
def base(table: PageTable) -> Base:
    """It in parts."""
    return Base(tuple(in_small_parts(path, pages) for path, pages in sorted(table.items())))


def arrivals(root: Path, base: Base) -> Arrivals:
    return Arrivals(root, base, [ref for ref, _ in PACKS], "manifests/7")


def events(here: Arrivals, base: Base, table: PageTable) -> Iterator[Callable[[], None]]:
    for file in base.files:
        for number in range(len(file.parts)):
            some = slice(DIGESTS_OF_A_PART * number, DIGESTS_OF_A_PART * (number + 1))
            yield partial(here.part, file, number, table[file.path].digests[some])
    for number, (_, stored) in enumerate(PACKS):
        yield partial(here.pack, number, stored)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_comes_last_the_same_is_made(tmp_path: Path, base: Base, table: PageTable, seed: int) -> None:
    """Of every file of the base, and without a byte written before somebody asks for it."""
    here = arrivals(tmp_path, base)
    coming = [*events(here, base, table)]
    Random(seed).shuffle(coming)
    for come in coming:
        come()

    assert STATES[0] == files_of(tmp_path)
    assert table == here.table
    assert table.keys() == here.patched.keys()
    assert {DB, LEDGER, BACK} == {path for path, patched in here.patched.items() if patched}
    (run,) = here.runs
    changes, after = run.changes(tmp_path / "is not read again", here.table, here.patched)
    for change in changes:
        make_change(tmp_path, change)
    assert STATES[-1] == files_of(tmp_path)
    assert {path: pages_of(data) for path, data in STATES[-1].items()} == after


def test_a_base_without_packs_is_whole_when_its_parts_are(tmp_path: Path, base: Base, table: PageTable) -> None:
    """There is nothing to apply."""
    here = Arrivals(tmp_path, base, [], "manifests/7")
    for come in [*events(here, base, table)][: -len(PACKS)]:
        come()

    assert (table, [], {}) == (here.table, [*here.runs], here.patched)


def test_parts_that_do_not_make_their_file_are_told_when_the_last_one_comes(
    tmp_path: Path, base: Base, table: PageTable
) -> None:
    """The manifest is named, which says that they do."""
    lying = Base(tuple(replace(file, digest=digest("x")) if file.path == DB else file for file in base.files))
    here = arrivals(tmp_path, lying)
    parts = [come for come in events(here, lying, table) if come.func == here.part and come.args[0].path == DB]
    for come in parts[:-1]:
        come()

    with pytest.raises(Corrupt, match=f"manifests/7 is damaged: the parts of {DB} do not make the file"):
        parts[-1]()
