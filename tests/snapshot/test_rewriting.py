"""Applying a pack to a directory: proven before the first byte is written, and refused untouched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.chain import PackRef
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.pack import encode_pack
from chroma_lifecycle.snapshot.pages import PageTable, hash_file, table_digest
from chroma_lifecycle.snapshot.rewriting import changes_of_pack, make_change, remove_empty_directories
from chroma_lifecycle.values import digest_of
from tests.snapshot.test_pack import DB, pack_of
from tests.support.snapshots import files_of
from tests.support.versions import digest, object_name

BEFORE = {DB: b"a" * 9_000, "chroma/s/gone.bin": b"gone", LEDGER: b"ledger"}
AFTER = {DB: b"a" * 4_096 + b"b" * 900, "chroma/t/new.bin": b"", LEDGER: b"ledger"}


def fill(directory: Path, files: dict[str, bytes]) -> PageTable:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return {path: hash_file(directory / path) for path in files}


@pytest.fixture
def table(tmp_path: Path) -> PageTable:
    """The pages of a directory that holds BEFORE."""
    return fill(tmp_path / "d", BEFORE)


STORED = encode_pack(pack_of(BEFORE, AFTER))


@pytest.fixture
def ref(tmp_path: Path, table: PageTable) -> PackRef:
    """The reference of the pack that leads from BEFORE to AFTER."""
    after = table_digest(fill(tmp_path / "after", AFTER))
    return PackRef(table_digest(table), after, len(STORED), digest_of(STORED), object_name(digest_of(STORED)))


def test_a_pack_changes_adds_shortens_and_removes_files(tmp_path: Path, table: PageTable, ref: PackRef) -> None:
    """And the directory holds exactly what the content digest says."""
    changes, after = changes_of_pack(STORED, ref, tmp_path / "d", table)
    assert BEFORE == files_of(tmp_path / "d")  # nothing was written yet

    for change in changes:
        make_change(tmp_path / "d", change)
    remove_empty_directories(tmp_path / "d")

    assert AFTER == files_of(tmp_path / "d")
    assert after == {path: hash_file(tmp_path / "d" / path) for path in AFTER}
    assert not (tmp_path / "d" / "chroma" / "s").exists()


def test_a_pack_between_other_contents_is_refused_untouched(tmp_path: Path, table: PageTable, ref: PackRef) -> None:
    """Also where each file for itself would fit."""
    for other in (replace(ref, before=digest("x")), replace(ref, after=digest("x"))):
        with pytest.raises(Corrupt, match="it does not lead from the one content to the other"):
            changes_of_pack(STORED, other, tmp_path / "d", table)
    more = {**table, "chroma/u/more.bin": table[LEDGER]}
    with pytest.raises(Corrupt, match="does not lead"):
        changes_of_pack(STORED, ref, tmp_path / "d", more)
    assert BEFORE == files_of(tmp_path / "d")


def test_a_pack_that_removes_what_is_not_there_is_refused(tmp_path: Path, table: PageTable, ref: PackRef) -> None:
    """It was made from another directory."""
    less = {path: pages for path, pages in table.items() if "gone" not in path}

    with pytest.raises(Corrupt, match=r"it removes chroma/s/gone\.bin, which is not there"):
        changes_of_pack(STORED, ref, tmp_path / "d", less)
