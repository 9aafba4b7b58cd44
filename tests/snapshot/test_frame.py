"""Blocks are unpacked piece by piece, in a memory that no bytes of theirs can make larger."""

from __future__ import annotations

import struct

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot.frame import PIECE_BYTES, Kind, pieces, wrap

LIMIT = 3 * PIECE_BYTES
NAME = wrap(Kind.BLOCK, b"")[: 8 + len(b"chroma-lifecycle block 1\n")]


def unpacked(stored: bytes) -> list[bytes]:
    return [bytes(piece) for piece in pieces(Kind.BLOCK, stored, limit_bytes=LIMIT)]


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, LIMIT])
def test_a_block_comes_in_whole_pieces(size: int) -> None:
    """Only the last one is shorter, so that pages do not lie across two of them."""
    raw = bytes(number % 251 for number in range(size))

    found = unpacked(wrap(Kind.BLOCK, raw))

    assert raw == b"".join(found)
    assert all(len(piece) == PIECE_BYTES for piece in found[:-1])


def unclaimed(data: bytes) -> bytes:
    """A frame whose header does not say how long its content is."""
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return compressor.compress(data) + compressor.flush()


def claiming(size: int, data: bytes) -> bytes:
    """A block of a frame whose header claims *size* bytes, whatever is in it."""
    return NAME + b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + unclaimed(data)[6:]


def with_window(log: int) -> bytes:
    """A block whose frame wants so much memory to be decoded."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log, write_content_size=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=LIMIT)
    return NAME + compressor.compress(bytes(LIMIT)) + compressor.flush()


SOUND = wrap(Kind.BLOCK, bytes(range(256)) * 2_000)
HOSTILE = {
    "no bytes": b"",
    "no frame": NAME,
    "noise": NAME + b"noise" * 100,
    "a pack": wrap(Kind.PACK, b"x"),
    "cut off": SOUND[:-1],
    "cut off in its header": SOUND[: len(NAME) + 5],
    "more than the limit": wrap(Kind.BLOCK, bytes(LIMIT + 1)),
    "a claim of a terabyte": claiming(1 << 40, b"x"),
    "a claim of more than there is": claiming(LIMIT, bytes(PIECE_BYTES)),
    "a claim of less than there is": claiming(9, bytes(1 << 20)),
    "a claim of a piece less than there is": claiming(PIECE_BYTES, bytes(2 * PIECE_BYTES)),
    "no claim": NAME + unclaimed(b"x"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_block_is_refused(what: str) -> None:
    """And never gives more than it claims."""
    with pytest.raises(Corrupt):
        unpacked(HOSTILE[what])


def test_a_block_that_wants_too_much_memory_is_refused() -> None:
    """What is allocated to decode it is judged before."""
    assert b"".join(unpacked(with_window(19))) == bytes(LIMIT)
    stored = bytearray(with_window(19))
    stored[len(NAME) + 4] &= ~0x20  # no single segment: the window's size is told in a byte of its own
    window = len(NAME) + 5
    stored[window] = (27 - 10) << 3

    with pytest.raises(Corrupt, match="claims"):
        unpacked(bytes(stored))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4_000), st.integers(1, 255), st.integers(0, 4_000))
def test_no_bytes_make_the_decoder_fail_otherwise(place: int, flip: int, end: int) -> None:
    """C3: a flipped byte and a cut anywhere are refused or give bytes within the limit; nothing else happens."""
    harmed = bytearray(SOUND)
    harmed[place % len(harmed)] ^= flip
    for data in (bytes(harmed), bytes(harmed[: end % len(harmed)])):
        try:
            assert sum(map(len, unpacked(data))) <= LIMIT
        except (Corrupt, BadInput):
            continue
