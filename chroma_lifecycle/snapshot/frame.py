"""The envelope of every object: its format's name and version, then one zstd frame.

The name travels in a skippable zstd frame, so that the plain ``zstd -d`` reads an object too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import StrEnum

import zstandard

from chroma_lifecycle.errors import PAST_DAMAGE, BadInput, Corrupt

FORMAT_VERSION = 1
"""The newest version of every stored format that this library knows."""

PIECE_BYTES = 256 << 10
"""Whole pages, and so few that they are in the processor's own memory when they are hashed and written."""

_SKIPPABLE = b"\x50\x2a\x4d\x18"
_NAME = re.compile(r"chroma-lifecycle ([a-z]{1,16}) ([1-9][0-9]{0,8})\n")
_LONGEST_NAME = 64
# Fast, and stored vectors hardly become smaller with a higher one.
_LEVEL = 1
# Of level 1, with room to remember nearly all of what lies beside; its own table would forget three quarters, and one
# twice as large takes a third longer to fill with vectors.
_BESIDE = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST, window_log=19, hash_log=15, chain_log=16, search_log=1, min_match=5
)
_LARGEST_WINDOW_BYTES = 8 << 20


class Kind(StrEnum):
    """What an object holds."""

    BLOCK = "block"
    PACK = "pack"


def wrap(kind: Kind, raw: bytes | memoryview) -> bytes:
    """Return *raw* as the bytes of an object."""
    name = f"chroma-lifecycle {kind} {FORMAT_VERSION}\n".encode("ascii")
    return _SKIPPABLE + struct.pack("<I", len(name)) + name + zstandard.ZstdCompressor(level=_LEVEL).compress(raw)


def unwrap(kind: Kind, stored: bytes, *, limit_bytes: int) -> bytes:
    """Return the raw bytes of an object; never more than *limit_bytes* of memory are asked for.

    Raises:
        Corrupt: It is no object of this kind, is damaged, or is larger than the limit.
        BadInput: A newer version of this library wrote it.
    """
    try:
        frame, _ = _judged(kind, stored, limit_bytes)
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as problem:
        raise _damaged(kind, str(problem)) from problem


def pieces(kind: Kind, stored: bytes, *, limit_bytes: int) -> Iterator[memoryview]:
    """Yield the raw bytes of an object in pieces of `PIECE_BYTES`, the last one shorter; each is gone with the next.

    Raises:
        Corrupt, BadInput: As :func:`unwrap`; what was yielded before may be wrong too.
    """
    try:
        frame, left = _judged(kind, stored, limit_bytes)
        buffer = memoryview(bytearray(min(left, PIECE_BYTES)))
        with zstandard.ZstdDecompressor().stream_reader(frame) as reader:
            while left:
                piece, filled = buffer[:left], 0
                while filled < len(piece) and (count := reader.readinto(piece[filled:])):
                    filled += count
                if filled < len(piece):
                    raise _damaged(kind, f"it ends {left - filled} bytes early")
                yield piece  # never more than is claimed: zstd itself refuses such a frame
                left -= filled
    except zstandard.ZstdError as problem:
        raise _damaged(kind, str(problem)) from problem


def _judged(kind: Kind, stored: bytes, limit_bytes: int) -> tuple[memoryview, int]:
    """Return the frame of an object, and how much it claims to hold."""
    frame = memoryview(stored)[_check_name(kind, stored) :]
    parameters = zstandard.get_frame_parameters(frame)
    # The size in the frame's header decides what is allocated, so it is judged first.
    if not 0 <= parameters.content_size <= limit_bytes or parameters.window_size > _LARGEST_WINDOW_BYTES:
        raise _damaged(kind, f"it claims {parameters.content_size} bytes where at most {limit_bytes} can be")
    return frame, parameters.content_size


def press(pages: bytes | memoryview, like: bytes | memoryview) -> bytes:
    """Return *pages* as a zstd frame that is read beside *like*, the pages before: what they share is only named."""
    return zstandard.ZstdCompressor(compression_params=_BESIDE, dict_data=_as_dictionary(like)).compress(pages)


def unpress(frame: bytes | memoryview, like: bytes | memoryview) -> bytes:
    """Return what :func:`press` made *frame* of; it takes the memory that :func:`require_claim` has judged.

    Raises:
        Corrupt: It is damaged, or made beside other pages.
    """
    try:
        return zstandard.ZstdDecompressor(dict_data=_as_dictionary(like)).decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as problem:
        raise _damaged(Kind.PACK, str(problem)) from problem


def require_claim(frame: bytes | memoryview, size: int) -> None:
    """Refuse a zstd frame whose header does not say that it holds exactly *size* bytes.

    Raises:
        Corrupt: It says something else, or is none.
    """
    try:
        parameters = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as problem:
        raise _damaged(Kind.PACK, str(problem)) from problem
    if parameters.content_size != size or parameters.window_size > _LARGEST_WINDOW_BYTES:
        raise _damaged(Kind.PACK, f"a frame claims {parameters.content_size} bytes where {size} must be")


def _as_dictionary(like: bytes | memoryview) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(like, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if like else None


def _check_name(kind: Kind, stored: bytes) -> int:
    """Return where the frame begins."""
    length = struct.unpack_from("<I", stored, 4)[0] if len(stored) >= 8 and stored[:4] == _SKIPPABLE else 0
    name = stored[8 : 8 + min(length, _LONGEST_NAME)].decode("latin-1")
    match = _NAME.fullmatch(name)
    if not match or match[1] != kind:
        raise _damaged(kind, "its first bytes do not say so")
    check_format(f"a {kind}", int(match[2]))
    return 8 + len(name)


def check_format(what: str, found: int) -> None:
    """Refuse a format that is newer than this library, naming both versions.

    Raises:
        BadInput: It is newer.
    """
    if found > FORMAT_VERSION:
        raise BadInput(
            f"{what} has format version {found}; this chroma-lifecycle knows versions up to {FORMAT_VERSION}",
            hint="use the version of chroma-lifecycle that wrote it, or a newer one",
        )


def _damaged(kind: Kind, problem: str) -> Corrupt:
    return Corrupt(f"an object is no sound {kind}: {problem}", hint=PAST_DAMAGE)
