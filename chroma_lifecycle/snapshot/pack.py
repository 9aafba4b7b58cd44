"""Packs: what a cycle changed, as pages. Pure: bytes go in and bytes come out.

A pack leads from one content to another. It names the files that are gone and, for each changed
file, its size and digest before and after, the numbers of its changed pages, and those pages,
compressed beside the same pages before: of what is moved or kept only the place is told.
``docs/format.md`` specifies it to the byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chroma_lifecycle.errors import PAST_DAMAGE, Corrupt
from chroma_lifecycle.snapshot.fields import Fields, canonical, parse_json
from chroma_lifecycle.snapshot.files import check_paths, parse_path
from chroma_lifecycle.snapshot.frame import Kind, unwrap, wrap
from chroma_lifecycle.snapshot.pages import PAGE_BYTES
from chroma_lifecycle.snapshot.patch import FileState, Patch, check_patch, group_count
from chroma_lifecycle.values import parse_digest

LARGEST_RAW_BYTES = 256 << 20
"""A pack is made and applied in memory; a larger change is published as a base."""

_MOST_FILES = 10_000
_LARGEST_TABLE_BYTES = 4 << 20
_LARGEST_FILE_BYTES = 1 << 43
_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Pack:
    """A step from one content to another."""

    removed: tuple[str, ...]
    patches: tuple[Patch, ...]

    @property
    def held_bytes(self) -> int:
        """How much of it is in memory while it is applied: the frames, and the pages before or after."""
        return sum(PAGE_BYTES * len(patch.numbers) + sum(map(len, patch.frames)) for patch in self.patches)


# The bytes of a pack.


def encode_pack(pack: Pack) -> bytes:
    """Return *pack* as the bytes that are stored."""
    return wrap(Kind.PACK, encode_raw(pack))


def encode_raw(pack: Pack) -> bytes:
    """Return what is framed: the table, all page numbers, the lengths of all frames, and the frames."""
    table = _encode_table(pack)
    numbers = [np.diff(np.array(patch.numbers, "<i8"), prepend=0).astype("<u4").tobytes() for patch in pack.patches]
    frames = [frame for patch in pack.patches for frame in patch.frames]
    lengths = np.array([len(frame) for frame in frames], "<u4").tobytes()
    return b"".join([struct.pack("<I", len(table)), table, *numbers, lengths, *frames])


def _encode_table(pack: Pack) -> bytes:
    def state(file: FileState | None) -> object:
        return file and {"size": file.size, "digest": file.digest}

    files = [
        {"path": patch.path, "before": state(patch.before), "after": state(patch.after), "pages": len(patch.numbers)}
        for patch in pack.patches
    ]
    table = {"files": files, "removed": list(pack.removed)}
    return canonical(table)


def decode_pack(stored: bytes) -> Pack:
    """Return the pack that *stored* holds.

    Raises:
        Corrupt: It is damaged, or says what no encoder would say.
        BadInput: A newer version of this library wrote it.
    """
    raw = unwrap(Kind.PACK, stored, limit_bytes=LARGEST_RAW_BYTES)
    try:
        pack = _decode_raw(memoryview(raw))
        _check_table(pack)
    except ValueError as problem:
        raise _unsound(str(problem)) from problem
    return pack


def _check_table(pack: Pack) -> None:
    check_paths(pack.removed)
    check_paths([patch.path for patch in pack.patches])
    if both := set(pack.removed) & {patch.path for patch in pack.patches}:
        raise ValueError(f"{min(both)} is both changed and removed")


def _decode_raw(raw: memoryview) -> Pack:
    if len(raw) < 4 or (length := struct.unpack_from("<I", raw)[0]) > min(len(raw) - 4, _LARGEST_TABLE_BYTES):
        raise ValueError("its table is cut off")
    table = Fields(parse_json(bytes(raw[4 : 4 + length]), "a pack's table"), "a pack's table")
    rows = [_decode_row(row) for row in table.objects("files", limit=_MOST_FILES)]
    removed = tuple(parse_path(path) for path in table.items("removed", limit=_MOST_FILES))
    table.done()
    return Pack(removed, tuple(_decode_patches(rows, raw[4 + length :])))


_Row = tuple[str, FileState | None, FileState, int]


def _decode_row(row: Fields) -> _Row:
    before, after = row.optional("before"), row.object("after")
    decoded = (
        row.parsed("path", parse_path),
        _decode_state(before) if before else None,
        _decode_state(after),
        row.integer("pages", 0, LARGEST_RAW_BYTES),
    )
    row.done()
    return decoded


def _decode_state(state: Fields) -> FileState:
    decoded = FileState(state.integer("size", 0, _LARGEST_FILE_BYTES), state.parsed("digest", parse_digest))
    state.done()
    return decoded


def _decode_patches(rows: Sequence[_Row], rest: memoryview) -> Iterator[Patch]:
    """Yield the patches; what follows the table is all numbers, then the lengths of all frames, then all frames."""
    total, groups = sum(count for *_, count in rows), sum(group_count(count) for *_, count in rows)
    numbers_end, lengths_end = _NUMBER_BYTES * total, _NUMBER_BYTES * (total + groups)
    if len(rest) < lengths_end or total * PAGE_BYTES > LARGEST_RAW_BYTES:
        raise ValueError("its page numbers are cut off, or too many")
    steps = np.frombuffer(rest[:numbers_end], "<u4")
    ends = lengths_end + np.cumsum(np.frombuffer(rest[numbers_end:lengths_end], "<u4"), dtype=np.int64)
    if (int(ends[-1]) if groups else lengths_end) != len(rest):
        raise ValueError("its pages are cut off, or bytes follow the last one")
    frames = [rest[start:end] for start, end in pairwise([lengths_end, *ends.tolist()])]
    page, group = 0, 0
    for path, before, after, count in rows:
        numbers = np.cumsum(steps[page : page + count], dtype=np.int64)
        held = frames[group : group + group_count(count)]
        patch = Patch(path, before, after, tuple(numbers.tolist()), tuple(held))
        check_patch(patch)
        yield patch
        page, group = page + count, group + len(held)


def _unsound(problem: str) -> Corrupt:
    return Corrupt(f"a pack is not sound: {problem}", hint=PAST_DAMAGE)
