"""The image of a closed directory: the digests of its leaves, and what differs from the published copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chroma_lifecycle.snapshot.comparing import Piece, changed_pages, changed_pieces
from chroma_lifecycle.snapshot.files import FileEntry
from chroma_lifecycle.snapshot.pack import Pack
from chroma_lifecycle.snapshot.pages import (
    PAGE_BYTES,
    FilePages,
    PageNumbers,
    PageTable,
    entries,
    hash_file,
    in_groups,
    in_stretches,
    page_count,
    pages_reader,
    rehash,
)
from chroma_lifecycle.snapshot.patch import GROUP_PAGES, Draft, Presses, draft_patch
from chroma_lifecycle.snapshot.rewriting import FileChange, Remove, Replace, Rewrite


@dataclass(frozen=True, slots=True)
class Image:
    """What a directory holds, beside what was published before.

    Attributes:
        files: Where the bytes of each path lie.
        before: The pages of the published copy; empty without one.
        after: The pages of *files*.
        changed: For each path that is new or differs: its changed pages.
    """

    files: Mapping[str, Path]
    before: PageTable
    after: PageTable
    changed: Mapping[str, PageNumbers]

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """The table of files."""
        return entries(self.after)

    @property
    def removed(self) -> tuple[str, ...]:
        """Paths of the published copy that are no longer there."""
        return tuple(sorted(self.before.keys() - self.after.keys()))


def read_image(files: Mapping[str, Path], pristine: Path, before: PageTable, untouched: frozenset[str]) -> Image:
    """Compare *files* with the published copy, page by page, and hash what differs.

    Args:
        files: Where the bytes of each path lie; all of them closed.
        pristine: The published copy.
        before: Its pages; empty if there is no copy, and then every file is hashed whole.
        untouched: Paths whose bytes are the published copy's own; they are not read.
    """
    after: dict[str, FilePages] = {}
    changed: dict[str, PageNumbers] = {}
    for path, place in sorted(files.items()):
        old = before.get(path)
        if old is None:
            after[path] = hash_file(place)
            changed[path] = np.arange(page_count(after[path].size), dtype=np.int64)
        elif path in untouched:
            after[path] = old
        else:
            numbers = changed_pages(pristine / path, place)
            after[path] = rehash(place, old, numbers)
            if after[path] != old:
                changed[path] = numbers
    return Image(files, before, after, changed)


def read_pack(
    files: Mapping[str, Path], pristine: Path, before: PageTable, untouched: frozenset[str], *, most_bytes: int
) -> tuple[Image, Pack] | None:
    """Return the image, and the pack that leads to it from the published copy.

    Every file is read once, and its changed pages are compressed meanwhile.

    Args:
        files, pristine, before, untouched: As for :func:`read_image`; *before* is not empty.
        most_bytes: How much the pages of the pack may have; ``None`` is returned as soon as there is more.

    Raises:
        Corrupt: A page of the copy is not as published.
    """
    drafts: list[Draft] = []
    after = {path: pages for path, pages in before.items() if path in untouched}
    with Presses() as presses:
        for path, place in sorted((path, place) for path, place in files.items() if path not in untouched):
            old = before.get(path)
            pieces = _counted(changed_pieces(pristine / path if old else None, place, GROUP_PAGES), most_bytes)
            try:
                draft = draft_patch(path, old, place.stat().st_size, pieces, presses)
            except _TooMuch:
                return None
            most_bytes -= PAGE_BYTES * len(draft.numbers)
            after[path] = draft.after
            if draft.after != old:
                drafts.append(draft)
        image = Image(files, before, after, {draft.path: draft.numbers for draft in drafts})
        return image, Pack(image.removed, tuple(draft.patch() for draft in drafts))


class _TooMuch(Exception):
    """More has changed than goes into a pack."""


def _counted(pieces: Iterable[Piece], most_bytes: int) -> Iterator[Piece]:
    for piece in pieces:
        most_bytes -= PAGE_BYTES * len(piece.numbers)
        if most_bytes < 0:
            raise _TooMuch
        yield piece


def file_changes(image: Image) -> Iterator[FileChange]:
    """Yield what brings the published copy to *image*; pages are read when they are asked for."""
    for path in image.removed:
        yield Remove(path)
    for path in sorted(image.changed):
        if path in image.before:
            yield Rewrite(path, image.after[path].size, _pages(image.files[path], image.changed[path]))
        else:
            yield Replace(path, image.files[path])


def _pages(place: Path, numbers: PageNumbers) -> Iterator[tuple[int, memoryview]]:
    """Yield stretches of pages, by their first page."""
    with pages_reader(place) as read:
        for group in in_groups(numbers):
            yield from in_stretches(group, memoryview(read(group)))
