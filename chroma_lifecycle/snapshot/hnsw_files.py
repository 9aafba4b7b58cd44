"""The files of one vector segment (HNSW): whether they fit each other and their header.

Chroma writes them in place and without fsync, and opens torn ones in every way but a clear one:
random bytes end the process, missing files give an empty search without an error. So they are
looked at before Chroma sees them.

``header.bin`` is 100 bytes, little-endian::

    0   i32  format            36  u64  offset of the label      76  u64  M
    4   u64  offset of level 0 44  u64  offset of the vector     84  f64  mult
    12  u64  maximum           52  i32  highest level            92  u64  ef at construction
    20  u64  elements          56  u32  entry point
    28  u64  size of one       60  u64  neighbours above level 0
                               68  u64  neighbours on level 0

``length.bin`` holds 4 bytes for each element, ``data_level0.bin`` the elements: of each its
neighbours (count, then ids), vector and label; both have room for the first hundred beforehand.
``index_metadata.pickle`` maps labels to record ids; it is a pickle, so its contents are never
looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.sqlite_file import RESTORE_HINT

HEADER = "header.bin"
ELEMENTS = "data_level0.bin"
LENGTHS = "length.bin"
LINKS = "link_lists.bin"
LABELS = "index_metadata.pickle"
FILES = (HEADER, ELEMENTS, LENGTHS, LINKS, LABELS)

_LAYOUT = struct.Struct("<iQQQQQQiIQQQdQ")
_LABEL_BYTES = 8
_COUNT_BYTES = 4
_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class HnswHeader:
    """What ``header.bin`` says."""

    maximum: int
    elements: int
    element_bytes: int
    label_offset: int
    vector_offset: int
    neighbours: int
    upper_neighbours: int

    @classmethod
    def parse(cls, data: bytes) -> HnswHeader:
        """Return the header.

        Raises:
            ValueError: *data* cannot be one.
        """
        if len(data) != _LAYOUT.size:
            raise ValueError(f"has {len(data)} bytes, not {_LAYOUT.size}")
        _, level0, maximum, elements, size, label, vector, level, entry, upper, neighbours, _, _, _ = _LAYOUT.unpack(
            data
        )
        header = cls(maximum, elements, size, label, vector, neighbours, upper)
        if level0 != 0 or elements > maximum:
            raise ValueError(f"says {elements} elements of at most {maximum}")
        if vector != _COUNT_BYTES * (neighbours + 1) or not vector < label == size - _LABEL_BYTES:
            raise ValueError(f"says an element of {size} bytes with its vector at {vector} and its label at {label}")
        if elements and (entry >= elements or level < 0):
            raise ValueError(f"says entry point {entry} among {elements} elements")
        return header

    @property
    def dimension(self) -> int:
        """Length of a vector (they are float32)."""
        return (self.label_offset - self.vector_offset) // 4


def check_structure(segment: Path, dimension: int | None) -> HnswHeader:
    """Check that the files of a segment are there and fit its header.

    Raises:
        Corrupt: One is missing, cut off, or of another dimension.
    """
    sizes = {name: _size(segment / name) for name in FILES}
    try:
        header = HnswHeader.parse((segment / HEADER).read_bytes())
    except ValueError as problem:
        raise Corrupt(f"{segment / HEADER} {problem}", hint=RESTORE_HINT) from problem
    _check_room(segment / LENGTHS, sizes[LENGTHS], 4, header)
    _check_room(segment / ELEMENTS, sizes[ELEMENTS], header.element_bytes, header)
    if sizes[LENGTHS] // 4 != sizes[ELEMENTS] // header.element_bytes:
        raise Corrupt(
            f"{segment}: {LENGTHS} and {ELEMENTS} have room for different numbers of elements", hint=RESTORE_HINT
        )
    if sizes[LINKS] < 4 * header.elements:
        raise Corrupt(f"{segment / LINKS} has {sizes[LINKS]} bytes for {header.elements} elements", hint=RESTORE_HINT)
    if dimension is not None and header.elements and header.dimension != dimension:
        raise Corrupt(
            f"{segment / HEADER} says {header.dimension} dimensions, its collection has {dimension}", hint=RESTORE_HINT
        )
    _check_ends(segment / LABELS)
    return header


def clear_room(segment: Path) -> None:
    """Write zeros over the room beyond the last element, where Chroma leaves whatever its memory held.

    That memory may have held records that are to be nowhere.

    Raises:
        Corrupt: The header is none.
    """
    if not (segment / HEADER).exists():
        return
    try:
        header = HnswHeader.parse((segment / HEADER).read_bytes())
    except ValueError as problem:
        raise Corrupt(f"{segment / HEADER} {problem}", hint=RESTORE_HINT) from problem
    for name, each in ((ELEMENTS, header.element_bytes), (LENGTHS, 4)):
        with (segment / name).open("r+b") as file:
            left = file.seek(0, 2) - header.elements * each
            file.seek(header.elements * each)
            while left > 0:
                left -= file.write(bytes(min(left, _CHUNK_BYTES)))


def check_links(segment: Path, header: HnswHeader) -> None:
    """Check that every element's neighbours are elements: what Chroma follows without looking.

    Raises:
        Corrupt: One is not, or the lists of the upper levels do not fit their file.
    """
    step = max(1, _CHUNK_BYTES // header.element_bytes)
    # Read, not mapped: a mapping would keep a descriptor as long as the error's traceback lives.
    with (segment / ELEMENTS).open("rb") as file:
        for start in range(0, header.elements, step):
            # What is beyond the last element was never written: whatever the memory held.
            count = min(step, header.elements - start)
            rows = np.fromfile(file, np.uint8, count * header.element_bytes).reshape(-1, header.element_bytes)
            lists = np.ascontiguousarray(rows[:, : header.vector_offset])
            if (wrong := _first_wrong(lists, header.elements)) is not None:
                raise Corrupt(
                    f"{segment / ELEMENTS}: element {start + wrong} has neighbours that are no elements",
                    hint=RESTORE_HINT,
                )
    _check_upper_levels(segment / LINKS, header)


def _check_upper_levels(path: Path, header: HnswHeader) -> None:
    """Check ``link_lists.bin``: for each element the size of its lists in bytes, then the lists."""
    data, at, count, lists = path.read_bytes(), 0, 0, []
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        lists.append(data[at + 4 : at + 4 + size])
        at, count = at + 4 + size, count + 1
    if at != len(data) or count != header.elements:
        raise Corrupt(f"{path} does not hold one list for each of {header.elements} elements", hint=RESTORE_HINT)
    words, joined = 4 * (header.upper_neighbours + 1), b"".join(lists)
    if any(len(each) % words for each in lists):
        raise Corrupt(f"{path} holds a list that is no multiple of {words} bytes", hint=RESTORE_HINT)
    if joined and _first_wrong(np.frombuffer(joined, np.uint8).reshape(-1, words), header.elements) is not None:
        raise Corrupt(f"{path}: neighbours on an upper level are no elements", hint=RESTORE_HINT)


def _first_wrong(lists: npt.NDArray[np.uint8], elements: int) -> int | None:
    """Return the first row whose neighbours (a count, then ids) are not all below *elements*."""
    words = lists.view("<u4")
    # The upper half of the count's word holds flags (deleted).
    counts = (words[:, :1] & 0xFFFF).astype(np.int64)
    used = np.arange(words.shape[1] - 1) < counts
    wrong = (counts[:, 0] >= words.shape[1]) | ((words[:, 1:] >= elements) & used).any(axis=1)
    return int(wrong.argmax()) if wrong.any() else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as problem:
        raise Corrupt(f"{path} is missing", hint=RESTORE_HINT) from problem


def _check_room(path: Path, size: int, each: int, header: HnswHeader) -> None:
    """Check that a file has room for the elements: exactly, or for the first hundred, made beforehand."""
    room, rest = divmod(size, each)
    if rest or room < header.elements:
        raise Corrupt(
            f"{path} has {size} bytes; its header says {header.elements} elements of {each} bytes",
            hint=RESTORE_HINT,
        )


def _check_ends(path: Path) -> None:
    """Check the first byte and the last one of a pickle: a cut-off file lacks its STOP."""
    with path.open("rb") as file:
        first = file.read(1)
        file.seek(-1 if first else 0, 2)
        last = file.read(1)
    if (first, last) != (b"\x80", b"."):
        raise Corrupt(f"{path} is empty or cut off", hint=RESTORE_HINT)
