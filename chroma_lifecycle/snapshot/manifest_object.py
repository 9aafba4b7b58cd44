"""How a manifest is stored: what it is in plain text, its line of JSON compressed, and the pack that travels inside.

The line names the same digests and prefixes over and over; compressed it has a third of its length. A manifest is known
by the digest of what it says (line and pack), and not of its object, since compression has many spellings.
"""

from __future__ import annotations

import re

import zstandard

from chroma_lifecycle.errors import PAST_DAMAGE, Corrupt
from chroma_lifecycle.snapshot.frame import FORMAT_VERSION, check_format
from chroma_lifecycle.snapshot.manifest import FORMAT, LARGEST_BYTES, Manifest, encode_manifest

_HEADER = re.compile(rb"chroma-lifecycle manifest ([1-9][0-9]{0,8}) ([1-9][0-9]{0,8})\n")
_LONGEST_HEADER = 64
# Higher ones make it no shorter: what is left are digests.
_LEVEL = 1


def manifest_object(manifest: Manifest) -> bytes:
    """Return the bytes of the object that holds *manifest*."""
    line, newline, pack = encode_manifest(manifest).partition(b"\n")
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(line + newline)
    return b"%s %d %d\n%s%s" % (FORMAT.encode(), FORMAT_VERSION, len(frame), frame, pack)


def said_by(stored: bytes, name: str) -> bytes:
    """Return what a manifest's object says: the line and the pack inside. Its digest is the manifest's.

    Raises:
        Corrupt: It is no such object, or damaged; no more memory is asked for than a manifest may have.
        BadInput: A newer version of this library wrote it.
    """
    line, pack = _parts(stored, name)
    return line + pack


def pack_inside(stored: bytes, name: str) -> bytes:
    """Return the pack that travels in a manifest's object, empty if there is none.

    Raises:
        Corrupt, BadInput: As :func:`said_by`.
    """
    return _parts(stored, name)[1]


def _parts(stored: bytes, name: str) -> tuple[bytes, bytes]:
    header = _HEADER.match(stored[:_LONGEST_HEADER])
    if header is None or len(stored) > LARGEST_BYTES:
        raise _damaged(name, "its first line does not say that it is one, or it is too long")
    check_format("a manifest", int(header[1]))
    end = header.end() + int(header[2])
    if end > len(stored):
        raise _damaged(name, "it is cut off")
    frame = stored[header.end() : end]
    try:
        # The size in the frame's header decides what is allocated, so it is judged first.
        if not 0 <= (size := zstandard.frame_content_size(frame)) <= LARGEST_BYTES - len(stored) + end:
            raise _damaged(name, f"it claims to hold {size} bytes")
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False), stored[end:]
    except zstandard.ZstdError as problem:
        raise _damaged(name, str(problem)) from problem


def _damaged(name: str, problem: str) -> Corrupt:
    return Corrupt(
        f"{name} is not the manifest that was published: {problem}",
        hint=PAST_DAMAGE,
    )
