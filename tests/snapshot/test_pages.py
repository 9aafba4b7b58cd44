"""Leaf digests, and the pages that differ between two files."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot import comparing, pages
from chroma_lifecycle.snapshot.comparing import changed_pages, changed_pieces
from chroma_lifecycle.snapshot.pages import (
    LEAF_BYTES,
    LEAF_PAGES,
    PAGE_BYTES,
    FilePages,
    decode_pages,
    encode_pages,
    entries,
    hash_file,
    leaves_of,
    pages_in,
    rehash,
)
from tests.support.versions import pages_of

SIZES = st.one_of(
    st.sampled_from([0, 1, 7, 8, 4_095, 4_096, 4_097, 8_191, 8_192, 8_193, 16_383, 16_384, 16_385, 20_000, 32_768]),
    st.integers(0, 40_000),
)


def some_bytes(draw: st.DrawFn) -> bytes:
    """Return bytes without any pattern; drawing each of them would be too much for one example."""
    return random.Random(draw(st.integers(0, 1 << 32))).randbytes(draw(SIZES))


@st.composite
def two_versions(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A file before and after: another length, and some bytes changed."""
    old = some_bytes(draw)
    size = draw(st.one_of(st.just(len(old)), SIZES))
    new = bytearray(old[:size].ljust(size, b"\0"))
    for place in draw(st.lists(st.integers(0, max(0, size - 1)), max_size=5)) if size else []:
        new[place] ^= 0x5A
    return old, bytes(new)


def expected_pages(old: bytes, new: bytes) -> list[int]:
    """The rule of the format, said once more and slowly."""
    old_last, new_last = -(-len(old) // PAGE_BYTES) - 1, -(-len(new) // PAGE_BYTES) - 1
    resized = len(old) != len(new)

    def differs(n: int) -> bool:
        span = slice(PAGE_BYTES * n, PAGE_BYTES * (n + 1))
        return n > old_last or old[span] != new[span] or (resized and n in {old_last, new_last})

    return [n for n in range(new_last + 1) if differs(n)]


def test_a_file_digest_is_the_digest_over_the_digests_of_its_leaves(tmp_path: Path) -> None:
    """The last leaf counts as long as it is, and is never padded."""
    data = b"a" * 16_384 + b"b" * 10
    (tmp_path / "file").write_bytes(data)

    leaves = blake3(b"a" * 16_384).digest() + blake3(b"b" * 10).digest()
    assert FilePages(16_394, leaves) == hash_file(tmp_path / "file")
    assert hashlib.sha256(leaves).hexdigest() == hash_file(tmp_path / "file").digest


def test_an_empty_file_has_no_leaf(tmp_path: Path) -> None:
    """Its digest is the SHA-256 of nothing."""
    (tmp_path / "file").touch()

    assert FilePages(0, b"") == hash_file(tmp_path / "file")
    assert hashlib.sha256().hexdigest() == hash_file(tmp_path / "file").digest


@settings(max_examples=80, deadline=None)
@given(two_versions())
def test_changed_pages_are_those_that_differ_and_those_that_a_new_size_adds(
    tmp_path_factory: pytest.TempPathFactory, versions: tuple[bytes, bytes]
) -> None:
    """Also across the blocks in which files are read."""
    old, new = (tmp_path_factory.getbasetemp() / name for name in ("old", "new"))
    old.write_bytes(versions[0])
    new.write_bytes(versions[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "BLOCK_BYTES", LEAF_BYTES)
        patch.setattr(pages, "_GROUP_LEAVES", 1)
        changed = changed_pages(old, new)

        assert expected_pages(*versions) == changed.tolist()
        assert pages_of(versions[1]) == rehash(new, pages_of(versions[0]), changed)


@settings(max_examples=80, deadline=None)
@given(two_versions(), st.integers(1, 5), st.booleans())
def test_changed_pages_come_with_their_bytes_some_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, versions: tuple[bytes, bytes], at_once: int, is_new: bool
) -> None:
    """Those before only of pages that there were; of a new file every page counts, and nothing was before."""
    old, new = (tmp_path_factory.getbasetemp() / name for name in ("old", "new"))
    before, after = b"" if is_new else versions[0], versions[1]
    old.write_bytes(before)
    new.write_bytes(after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "BLOCK_BYTES", LEAF_BYTES)
        pieces = [*changed_pieces(None if is_new else old, new, at_once)]

    numbers = expected_pages(before, after)
    assert numbers == [number for piece in pieces for number in piece.numbers.tolist()]
    assert all(len(piece.numbers) == at_once for piece in pieces[:-1])
    for data, joined in (
        (before, b"".join(piece.old for piece in pieces)),
        (after, b"".join(piece.new for piece in pieces)),
    ):
        assert b"".join(data[PAGE_BYTES * number : PAGE_BYTES * (number + 1)] for number in numbers) == joined


@settings(max_examples=80, deadline=None)
@given(two_versions(), st.integers(1, 5))
def test_changed_pages_come_with_the_digests_of_their_leaves(
    tmp_path_factory: pytest.TempPathFactory, versions: tuple[bytes, bytes], at_once: int
) -> None:
    """Each leaf once, with the first of its pages or earlier; those before only of leaves that there were."""
    before, after = map(pages_of, versions)
    old, new = (tmp_path_factory.getbasetemp() / name for name in ("old", "new"))
    old.write_bytes(versions[0])
    new.write_bytes(versions[1])
    leaves: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "BLOCK_BYTES", 2 * LEAF_BYTES)
        for piece in changed_pieces(old, new, at_once):
            leaves += piece.leaves.tolist()
            assert {*leaves} >= {number // LEAF_PAGES for number in piece.numbers.tolist()}
            there = piece.leaves[piece.leaves < len(before.digests) // 32]
            assert (before.of(there), after.of(piece.leaves)) == (piece.old_digests, piece.new_digests)
    assert leaves == sorted({number // LEAF_PAGES for number in expected_pages(*versions)})


@settings(max_examples=80, deadline=None)
@given(st.sets(st.integers(0, 40)), SIZES)
def test_the_pages_of_leaves_are_those_within_the_file(numbers: set[int], size: int) -> None:
    """Four to a leaf, and as many as there are in the last one."""
    count = -(-size // PAGE_BYTES)
    leaves = leaves_of(np.array(sorted(number for number in numbers if number < count), np.int64))

    assert pages_in(leaves, size).tolist() == [n for n in range(count) if n // LEAF_PAGES in leaves.tolist()]


def test_a_stretch_of_a_file_has_the_digest_of_a_file_of_its_own() -> None:
    """So whether a part is in the base already is known without reading it."""
    data = bytes(range(256)) * 250
    assert pages_of(data[16_384:49_152]).digest == pages_of(data).between(16_384, 32_768)
    assert pages_of(data[32_768:]).digest == pages_of(data).between(32_768, len(data) - 32_768)


def test_leaf_digests_are_read_back_for_the_file_that_they_were_made_from() -> None:
    """The cache of leaf digests is exact."""
    for data in (b"x" * 20_000, b""):
        (entry,) = entries({"ledger.sqlite3": pages_of(data)})
        assert pages_of(data) == decode_pages(encode_pages(pages_of(data)), entry)


@pytest.mark.parametrize("place", [0, 10, 40, 70, -1])
def test_a_damaged_cache_of_leaf_digests_is_refused(place: int) -> None:
    """C8: leaf digests count only when those of each file make the digest in the manifest."""
    table = {"ledger.sqlite3": pages_of(b"x" * 20_000)}
    data = bytearray(encode_pages(table["ledger.sqlite3"]))
    data[place] ^= 1

    with pytest.raises(Corrupt, match=r"the leaf digests of ledger\.sqlite3"):
        decode_pages(bytes(data), *entries(table))


def test_the_cache_of_another_file_is_refused() -> None:
    """A sound cache of another version proves nothing about this one."""
    data = encode_pages(pages_of(b"one"))

    for other in (b"two", b"longer", b"", b"x" * 5_000):
        with pytest.raises(Corrupt):
            decode_pages(data, *entries({"ledger.sqlite3": pages_of(other)}))
