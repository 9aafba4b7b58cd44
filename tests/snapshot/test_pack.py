"""Packs: every change of every file is carried, and nothing else can be done with one."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.clock import wait_until
from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot.applying import apply_patches
from chroma_lifecycle.snapshot.comparing import Piece
from chroma_lifecycle.snapshot.frame import Kind, press, unwrap, wrap
from chroma_lifecycle.snapshot.pack import LARGEST_RAW_BYTES, Pack, decode_pack, encode_pack, encode_raw
from chroma_lifecycle.snapshot.pages import (
    LEAF_BYTES,
    PAGE_BYTES,
    FilePages,
    PageNumbers,
    ReadPages,
    in_groups,
    leaf_digests,
    leaves_of,
)
from chroma_lifecycle.snapshot.patch import GROUP_PAGES, FileState, Patch, Presses, draft_patch
from tests.snapshot.test_pages import expected_pages, two_versions
from tests.support.versions import pages_of

GOLDEN = Path(__file__).parent / "golden" / "v1"
DB = "chroma/chroma.sqlite3"


def reader(data: bytes) -> ReadPages:
    return lambda numbers: b"".join(data[PAGE_BYTES * number : PAGE_BYTES * (number + 1)] for number in numbers)


def pieces_of(old: bytes, new: bytes) -> Iterator[Piece]:
    for group in in_groups(numbers(*expected_pages(old, new)), GROUP_PAGES):
        leaves = leaves_of(group)
        old_digests, new_digests = (
            leaf_digests(b"".join(data[LEAF_BYTES * leaf : LEAF_BYTES * (leaf + 1)] for leaf in leaves.tolist()))
            for data in (old, new)
        )
        data = (memoryview(reader(old)(group)), memoryview(reader(new)(group)))
        yield Piece(group, *data, leaves, old_digests, new_digests)


def patch_of(path: str, old: bytes | None, new: bytes) -> Patch:
    before = None if old is None else pages_of(old)
    with Presses() as presses:
        draft = draft_patch(path, before, len(new), pieces_of(old or b"", new), presses)
        assert pages_of(new) == draft.after
        return draft.patch()


def numbers(*values: int) -> PageNumbers:
    return np.array(values, np.int64)


def pack_of(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Pack:
    changed = [path for path in sorted(after) if after[path] != before.get(path)]
    patches = [patch_of(path, before.get(path), after[path]) for path in changed]
    return Pack(tuple(sorted(before.keys() - after.keys())), tuple(patches))


def apply(pack: Pack, before: Mapping[str, bytes]) -> dict[str, bytes]:
    """What a directory of these files holds after *pack*."""
    after = {path: data for path, data in before.items() if path not in pack.removed}
    for patch in pack.patches:
        old = before.get(patch.path)
        patched = apply_patches([patch], None if old is None else pages_of(old), reader(old or b""))
        data = bytearray((old or b"")[: patched.pages.size].ljust(patched.pages.size, b"\0"))
        for number, page in patched.writes:
            data[PAGE_BYTES * number : PAGE_BYTES * number + len(page)] = page
        assert patched.pages == pages_of(bytes(data))
        after[patch.path] = bytes(data)
    return after


PATHS = st.sampled_from([DB, "ledger.sqlite3", "chroma/x-1/data_level0.bin", "chroma/x-1/header.bin"])


@st.composite
def two_directories(draw: st.DrawFn) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Files before and after: some changed, some new, some gone, some as they were."""
    before, after = {}, {}
    for path in draw(st.lists(PATHS, unique=True, max_size=4)):
        old, new = draw(two_versions())
        kind = draw(st.sampled_from(["changed", "new", "gone", "same"]))
        if kind != "new":
            before[path] = old
        if kind != "gone":
            after[path] = old if kind == "same" else new
    return before, after


@settings(max_examples=60, deadline=None)
@given(two_directories())
def test_a_pack_leads_from_what_was_to_what_is(directories: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    """Whatever was changed, added, removed, cut or lengthened."""
    before, after = directories
    pack = pack_of(before, after)

    assert after == apply(decode_pack(encode_pack(pack)), before)


@settings(max_examples=60, deadline=None)
@given(two_directories())
def test_a_pack_is_decoded_to_what_was_encoded(directories: tuple[dict[str, bytes], dict[str, bytes]]) -> None:
    """Encoding is canonical: decoding and encoding again gives the same bytes."""
    pack = pack_of(*directories)

    assert encode_raw(pack) == encode_raw(decode_pack(encode_pack(pack)))


@settings(max_examples=60, deadline=None)
@given(two_versions())
def test_a_pack_cannot_be_applied_twice_or_to_another_parent(versions: tuple[bytes, bytes]) -> None:
    """A file that is not the one before is refused, and nothing is written."""
    old, new = versions
    if old == new:
        return
    patch = patch_of(DB, old, new)

    with pytest.raises(Corrupt, match="made from another"):
        apply_patches([patch], pages_of(new), reader(new))
    with pytest.raises(Corrupt, match="made from another"):
        apply_patches([patch], None, reader(b""))


NOISE = b"".join(struct.pack("<Q", (i * 2_654_435_761 + 12_345) ** 3 % (1 << 64)) for i in range(50_000))


@pytest.mark.parametrize("moved", [0, 7, 100])
def test_what_is_kept_of_a_page_costs_next_to_nothing_wherever_it_lies_now(moved: int) -> None:
    """A page in which a byte changes, or a cell is put before others, costs a few bytes."""
    old = NOISE[:8_192]
    new = (b"x" * moved + bytes([old[0] ^ 1]) + old[1:])[:8_192]

    assert len(encode_pack(Pack((), (patch_of(DB, old, new),)))) < 550


@pytest.mark.parametrize("waiting", [1, 16])
@pytest.mark.parametrize("pages", [1, GROUP_PAGES, GROUP_PAGES + 1, 97])
def test_pages_are_compressed_in_groups(pages: int, monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
    """So that what a page shares with the one before it lies near, in whatever pace they are compressed."""
    monkeypatch.setattr("chroma_lifecycle.snapshot.patch._MOST_WAITING", waiting)
    old = NOISE[: 4_096 * pages]
    new = b"".join(b"x" + old[start : start + 4_095] for start in range(0, len(old), 4_096))

    patch = patch_of(DB, old, new)

    assert -(-pages // GROUP_PAGES) == len(patch.frames)
    assert {DB: new} == apply(decode_pack(encode_pack(Pack((), (patch,)))), {DB: old})
    assert sum(map(len, patch.frames)) < 60 * pages + 200


def test_few_groups_wait_in_memory_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads faster than zstd compresses waits for it."""
    go_on, piece = threading.Event(), next(pieces_of(b"a" * 4_096, b"b" * 4_096))
    monkeypatch.setattr("chroma_lifecycle.snapshot.patch.press", lambda new, old: bytes(go_on.wait()))
    monkeypatch.setattr("chroma_lifecycle.snapshot.patch._MOST_WAITING", 3)
    taken: list[object] = []

    with Presses() as presses:
        reader = threading.Thread(target=lambda: [taken.append(presses.press(piece)) for _ in range(8)])
        reader.start()
        came = wait_until(lambda: len(taken) == 3, timeout_seconds=20)
        too_many = wait_until(lambda: len(taken) > 3, timeout_seconds=0.2)
        go_on.set()
        reader.join()

    assert (True, False, 8) == (came, too_many, len(taken))


def test_a_page_that_is_not_as_published_is_never_the_base_of_a_difference() -> None:
    """What was made from a damaged local copy must not be published."""
    old = b"a" * 20_000
    new = b"b" + old[1:]
    damaged = old[:10_000] + b"c" + old[10_001:]  # beside the page that changed, in its leaf

    with Presses() as presses, pytest.raises(Corrupt, match="sqlite3 is not as published at pages 0 to 3"):
        draft_patch(DB, pages_of(old), len(new), pieces_of(damaged, new), presses)


def test_a_patch_is_not_applied_to_a_damaged_page() -> None:
    """What comes of it is not what the pack promises, and is seen before a byte is written."""
    old = bytes(range(256)) * 16
    new = b"\1" + old[1:]
    patch = patch_of(DB, old, new)

    with pytest.raises(Corrupt):
        apply_patches([patch], pages_of(old), reader(b"d" * 4_096))


def test_a_pack_that_does_not_make_what_it_promises_is_refused() -> None:
    """The digest after is computed from the pages before any is written."""
    patch = patch_of(DB, b"a" * 4_096, b"b" * 4_096)
    lying = Patch(DB, patch.before, FileState(4_096, pages_of(b"x" * 4_096).digest), (0,), patch.frames)

    with pytest.raises(Corrupt, match="does not make"):
        apply_patches([lying], pages_of(b"a" * 4_096), reader(b"a" * 4_096))


# Hostile bytes.


def raw_pack(files: list[dict[str, object]], *, removed: list[object] | None = None, rest: bytes = b"") -> bytes:
    table = json.dumps({"files": files, "removed": removed or []}).encode()
    return wrap(Kind.PACK, struct.pack("<I", len(table)) + table + rest)


def held(steps: tuple[int, ...], *pages: bytes) -> bytes:
    """Page numbers, each less the one before it, and the frames of groups of pages."""
    return framed(steps, *(press(each, b"") for each in pages))


def framed(steps: tuple[int, ...], *frames: bytes) -> bytes:
    words = [*steps, *map(len, frames)]
    return struct.pack(f"<{len(words)}I", *words) + b"".join(frames)


def row(path: str = DB, before: object = None, size: int = 4_096, pages: int = 1, **more: object) -> dict[str, object]:
    after = {"size": size, "digest": "ab" * 32}
    return {"path": path, "before": before, "after": after, "pages": pages, **more}


def _unclaimed(data: bytes) -> bytes:
    """A zstd frame whose header does not say how long its content is."""
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return compressor.compress(data) + compressor.flush()


NAME = wrap(Kind.PACK, b"")[: 8 + len(b"chroma-lifecycle pack 1\n")]
OLD = {"size": 4_096, "digest": "cd" * 32}
PAGE = b"p" * 4_096
HOSTILE = {
    "a path above": raw_pack([row("../ledger.sqlite3")], rest=held((0,), PAGE)),
    "an absolute path": raw_pack([row("/etc/passwd")], rest=held((0,), PAGE)),
    "a path through chroma": raw_pack([row("chroma/../x")], rest=held((0,), PAGE)),
    "another file": raw_pack([row("notes.txt")], rest=held((0,), PAGE)),
    "a removed path above": raw_pack([], removed=["../x"]),
    "a removed path that is a number": raw_pack([], removed=[7]),
    "a file twice": raw_pack([row(), row()], rest=held((0, 0), PAGE, PAGE)),
    "a file in a file": raw_pack([row("chroma/a"), row("chroma/a/b")], rest=held((0, 0), PAGE, PAGE)),
    "changed and removed": raw_pack([row()], removed=[DB], rest=held((0,), PAGE)),
    "no table": wrap(Kind.PACK, b"\xff\xff\xff\xff"),
    "no bytes": wrap(Kind.PACK, b""),
    "a table that is no JSON": wrap(Kind.PACK, struct.pack("<I", 3) + b"{{{"),
    "a table without end": wrap(Kind.PACK, struct.pack("<I", 200_000) + b"[" * 200_000),
    "an unknown field": raw_pack([row(more=1)], rest=held((0,), PAGE)),
    "no lengths": raw_pack([row()], rest=b"\0" * 4),
    "a page too short": raw_pack([row()], rest=held((0,), PAGE[:-1])),
    "bytes at the end": raw_pack([row()], rest=held((0,), PAGE) + b"x"),
    "a page past the end": raw_pack([row()], rest=held((1,), PAGE)),
    "a page twice": raw_pack([row(size=8_192, pages=2)], rest=held((0, 0), PAGE * 2)),
    "a page too long": raw_pack([row()], rest=held((0,), PAGE + b"x")),
    "a group too many": raw_pack([row()], rest=held((0,), PAGE, PAGE)),
    "a group too few": raw_pack([row(size=4_096 * 65, pages=65)], rest=held((0, *[1] * 64), PAGE * 65)),
    "a length past the end": raw_pack([row()], rest=framed((0,), press(PAGE, b""))[:-1]),
    "pages that are no frame": raw_pack([row()], rest=framed((0,), PAGE)),
    "a frame without a claim": raw_pack([row()], rest=framed((0,), _unclaimed(PAGE))),
    "more pages than a pack may hold": raw_pack(
        [row(before={**OLD, "size": (1 << 28) + 4_096}, size=(1 << 28) + 4_096, pages=(1 << 16) + 1)],
        rest=framed((0, *[1] * (1 << 16)), *[press(bytes(64 * 4_096), b"")] * 1_024, press(PAGE, b"")),
    ),
    "no change": raw_pack([row(before={"size": 4_096, "digest": "ab" * 32})], rest=held((0,), PAGE)),
    "new pages missing": raw_pack([row(before=OLD, size=12_288, pages=2)], rest=held((0, 2), PAGE * 2)),
    "the last page before missing": raw_pack([row(before=OLD, size=4_097)], rest=held((1,), b"p")),
    "the last page after missing": raw_pack([row(before={"size": 9_000, "digest": "cd" * 32}, pages=0)]),
    "an endless file": raw_pack([row(size=1 << 42)], rest=held((0,), PAGE)),
    "a count of pages without pages": raw_pack([row(pages=1 << 27)]),
    "a size below nothing": raw_pack([row(size=-1, pages=0)]),
    "a size that is no number": raw_pack([{**row(), "after": {"size": 1.5, "digest": "ab" * 32}}]),
    "a block": wrap(Kind.BLOCK, b"x"),
    "a claim of a terabyte": NAME + b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 40) + b"\1\0\0",
    "a claim that is just too large": NAME
    + b"\x28\xb5\x2f\xfd\xe0"
    + struct.pack("<Q", LARGEST_RAW_BYTES + 1)
    + b"\1\0\0",
    "no claim at all": NAME + _unclaimed(bytes(1 << 20)),
    "a bomb that claims to be small": NAME
    + b"\x28\xb5\x2f\xfd\xe0"
    + struct.pack("<Q", 9)
    + _unclaimed(bytes(1 << 20))[6:],
    "two frames": wrap(Kind.PACK, encode_raw(Pack((), ()))) + zstandard.ZstdCompressor().compress(b"x"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_pack_is_refused(what: str) -> None:
    """With an error that says so, whatever the bytes are, and within bounded memory."""
    with pytest.raises(Corrupt):
        decode_pack(HOSTILE[what])


def test_the_hostile_packs_differ_from_a_sound_one_in_what_they_are_named_after() -> None:
    """The builder of hostile packs builds sound ones too."""
    assert decode_pack(raw_pack([row()], rest=held((0,), PAGE))).patches[0].numbers == (0,)
    assert decode_pack(raw_pack([row(before=OLD)], rest=held((0,), PAGE))).patches[0].numbers == (0,)
    many = raw_pack([row(size=4_096 * 65, pages=65)], rest=held((0, *[1] * 64), PAGE * 64, PAGE))
    assert len(decode_pack(many).patches[0].frames) == 2


BOMB = press(b"", b"")[:4] + b"\xa0" + struct.pack("<I", 4_096) + press(bytes(1 << 20), b"")[6:]


@pytest.mark.parametrize(
    "frame", [BOMB, press(b"p" * 4_096, b"q" * 4_096)[:-1] + b"\0", press(b"p" * 4_096, b"") + b"x"]
)
def test_pages_that_are_not_what_their_frame_claims_are_refused(frame: bytes) -> None:
    """When they are unpacked, within the memory that was claimed; a frame that was cut, or has a rest, too."""
    pack = decode_pack(raw_pack([row()], rest=framed((0,), frame)))

    with pytest.raises(Corrupt):
        apply(pack, {})


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(1, 255))
def test_no_bytes_make_the_decoder_fail_otherwise(noise: bytes, place: int, flip: int) -> None:
    """C3: noise, and a flipped byte anywhere, are refused or decoded; nothing else happens."""
    sound = bytearray(encode_pack(pack_of({DB: b"a" * 5_000}, {DB: b"b" * 9_000, "ledger.sqlite3": b"new"})))
    sound[place % len(sound)] ^= flip
    for data in (noise, wrap(Kind.PACK, noise), bytes(sound), bytes(sound[:place])):
        try:
            decode_pack(data)
        except (Corrupt, BadInput):
            continue


def test_a_newer_pack_is_refused_with_both_versions() -> None:
    """C12: a format from the future is no damage: newer software reads it."""
    newer = wrap(Kind.PACK, b"").replace(b"pack 1", b"pack 7")

    with pytest.raises(BadInput, match="format version 7; this chroma-lifecycle knows versions up to 1"):
        decode_pack(newer)


def test_an_object_can_be_read_by_plain_zstd() -> None:
    """The name of the format travels in a skippable frame."""
    stored = wrap(Kind.BLOCK, b"bytes of a file")

    decompressor = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    assert decompressor.decompress(stored) == b"bytes of a file"


def test_the_golden_pack_is_read_for_ever() -> None:
    """A pack that version 1 of the format wrote leads where it did then."""
    before = {DB: b"a" * 40_000, "chroma/s/gone.bin": b"gone"}
    after = {DB: b"a" * 36_864 + b"b" * 20_000, "ledger.sqlite3": b"new"}
    stored = (GOLDEN / "pack").read_bytes()

    assert after == apply(decode_pack(stored), before)
    assert unwrap(Kind.PACK, stored, limit_bytes=1 << 20) == encode_raw(decode_pack(stored))


def test_file_pages_of_another_length_are_refused() -> None:
    """A table of digests that does not fit its file cannot be made."""
    with pytest.raises(ValueError, match="do not have"):
        FilePages(16_385, b"x" * 32)
