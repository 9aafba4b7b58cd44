"""Applying packs to a directory: proven before the first byte is written, and refused untouched."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot import pack_run
from chroma_lifecycle.snapshot.chain import PackRef
from chroma_lifecycle.snapshot.files import LEDGER
from chroma_lifecycle.snapshot.pack import encode_pack
from chroma_lifecycle.snapshot.pack_run import PackRun, runs_of
from chroma_lifecycle.snapshot.pages import PageTable, hash_file, table_digest
from chroma_lifecycle.snapshot.rewriting import Rewrite, make_change, remove_empty_directories
from chroma_lifecycle.values import Digest, digest_of
from tests.snapshot.test_pack import DB, NOISE, pack_of
from tests.snapshot.test_pages import SIZES, some_bytes
from tests.support.snapshots import files_of
from tests.support.versions import digest, object_name, pages_of

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


def run_of(ref: PackRef) -> PackRun:
    (run,) = runs_of([(ref, STORED)])
    return run


@pytest.fixture
def ref(tmp_path: Path, table: PageTable) -> PackRef:
    """The reference of the pack that leads from BEFORE to AFTER."""
    after = table_digest(fill(tmp_path / "after", AFTER))
    return PackRef(table_digest(table), after, len(STORED), digest_of(STORED), object_name(digest_of(STORED)))


def test_a_pack_changes_adds_shortens_and_removes_files(tmp_path: Path, table: PageTable, ref: PackRef) -> None:
    """And the directory holds exactly what the content digest says."""
    changes, after = run_of(ref).changes(tmp_path / "d", table, {})
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
            run_of(other).changes(tmp_path / "d", table, {})
    more = {**table, "chroma/u/more.bin": table[LEDGER]}
    with pytest.raises(Corrupt, match="does not lead"):
        run_of(ref).changes(tmp_path / "d", more, {})
    assert BEFORE == files_of(tmp_path / "d")


def test_a_pack_that_removes_what_is_not_there_is_refused(tmp_path: Path, table: PageTable, ref: PackRef) -> None:
    """It was made from another directory."""
    less = {path: pages for path, pages in table.items() if "gone" not in path}

    with pytest.raises(Corrupt, match=r"it removes chroma/s/gone\.bin, which is not there"):
        run_of(ref).changes(tmp_path / "d", less, {})


# Several packs.

Files = dict[str, bytes]


def next_state(draw: st.DrawFn, files: Files) -> Files:
    """Files after a cycle: some as they were, some edited, cut, lengthened or gone, some new or there again."""
    after = {}
    for path in (DB, LEDGER, "chroma/s/data_level0.bin"):
        old = files.get(path)
        kind = draw(st.sampled_from(["same", "edited", "edited", "other", "gone"]))
        if kind == "other" or (kind == "edited" and old is None):
            after[path] = some_bytes(draw)
        elif kind == "edited" and old is not None:
            size = draw(st.one_of(st.just(len(old)), SIZES))
            new = bytearray(old[:size].ljust(size, b"\0"))
            for place in draw(st.lists(st.integers(0, size - 1), max_size=3)) if size else []:
                new[place] ^= 0x5A
            after[path] = bytes(new)
        elif kind == "same" and old is not None:
            after[path] = old
    return after


@st.composite
def histories(draw: st.DrawFn) -> list[Files]:
    """What a directory holds, cycle after cycle; no two neighbours are the same."""
    states = [next_state(draw, {})]
    for _ in range(draw(st.integers(1, 5))):
        state = next_state(draw, states[-1])
        states += [state] if state != states[-1] else []
    return states


def content(files: Files) -> Digest:
    return table_digest({path: pages_of(data) for path, data in files.items()})


def chain_of(states: list[Files]) -> list[tuple[PackRef, bytes]]:
    """The packs that lead through *states*, as they are stored."""
    packs = [encode_pack(pack_of(before, after)) for before, after in pairwise(states)]
    return [
        (PackRef(content(before), content(after), len(pack), digest_of(pack), object_name(digest_of(pack))), pack)
        for pack, (before, after) in zip(packs, pairwise(states), strict=True)
    ]


@settings(max_examples=100, deadline=None)
@given(histories(), st.sampled_from([1, 20_000, 40_000, 1 << 30]), st.sets(st.sampled_from([DB, LEDGER])))
def test_packs_lead_to_what_is_however_many_are_applied_as_one(
    states: list[Files], at_once: int, early: set[str]
) -> None:
    """Whatever each of them changes, removes or brings back, and whichever files were looked at before."""
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patching:
        patching.setattr(pack_run, "_RUN_BYTES", at_once)
        root = Path(name)
        table = fill(root, states[0])
        for run in runs_of(chain_of(states)):
            known = {path: run.patched(path, root, table[path]) for path in early & table.keys()}
            changes, table = run.changes(root, table, known)
            for change in changes:
                make_change(root, change)

        assert states[-1] == files_of(root)
        assert {path: pages_of(data) for path, data in states[-1].items()} == table


def test_a_page_that_many_packs_change_is_written_once(tmp_path: Path) -> None:
    """And the pages between are neither hashed nor written."""
    states = [{DB: bytes([n]) * 8_192} for n in range(5)]
    (run,) = runs_of(chain_of(states))

    (change,), after = run.changes(tmp_path, fill(tmp_path, states[0]), {})

    assert isinstance(change, Rewrite)
    assert [(0, states[-1][DB])] == list(change.pages)
    assert {DB: pages_of(states[-1][DB])} == after


def test_packs_are_applied_together_as_far_as_memory_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is larger than that is applied alone."""
    sizes = [4, 4, 4, 40, 4]
    states = [{DB: b""}, *({DB: NOISE[n : n + 4_096 * size]} for n, size in enumerate(sizes))]
    monkeypatch.setattr(pack_run, "_RUN_BYTES", 60_000)

    assert [2, 1, 1, 1] == [len(run.packs) for run in runs_of(chain_of(states))]


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_pack_that_is_missing_between_others_is_told(tmp_path: Path, left_out: int) -> None:
    """Each continues what the one before it leaves, although nothing of that is on the disk."""
    states = [{DB: NOISE[n : n + 8_192], LEDGER: b"x" * n} for n in range(4)]
    packs = chain_of(states)
    (run,) = runs_of(packs[:left_out] + packs[left_out + 1 :])
    table = fill(tmp_path, states[0])

    with pytest.raises(Corrupt, match="does not lead from the one content to the other"):
        run.changes(tmp_path, table, {})
    with pytest.raises(Corrupt, match=f"made from another {DB}"):
        run.patched(DB, tmp_path, table[DB])


def test_a_page_that_is_damaged_below_several_packs_is_seen(tmp_path: Path) -> None:
    """By what they make of it in the end."""
    states = [{DB: bytes([n]) + NOISE[:9_000]} for n in range(4)]
    (run,) = runs_of(chain_of(states))
    table = fill(tmp_path, states[0])
    (tmp_path / DB).write_bytes(states[0][DB][:100] + b"!" + states[0][DB][101:])

    with pytest.raises(Corrupt, match="it does not make the"):
        run.changes(tmp_path, table, {})
