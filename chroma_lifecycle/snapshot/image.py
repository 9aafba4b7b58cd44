"""The image of a closed directory: the digests of its pages, and what differs from the published copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chroma_lifecycle.snapshot.files import FileEntry
from chroma_lifecycle.snapshot.pack import Pack
from chroma_lifecycle.snapshot.pages import (
    PAGE_BYTES,
    FilePages,
    PageNumbers,
    PageTable,
    changed_pages,
    entries,
    hash_file,
    in_groups,
    in_stretches,
    no_pages,
    page_count,
    pages_reader,
    rehash,
)
from chroma_lifecycle.snapshot.patch import Patch, make_patch
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
    def size(self) -> int:
        return sum(pages.size for pages in self.after.values())

    @property
    def changed_bytes(self) -> int:
        """About how many bytes a pack holds before compression."""
        return PAGE_BYTES * sum(len(numbers) for numbers in self.changed.values())

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


def make_pack(image: Image, pristine: Path) -> Pack:
    """Return the pack that leads from the published copy to *image*.

    Raises:
        Corrupt: A page of the copy is not as published.
    """
    return Pack(image.removed, tuple(_patch(image, path, pristine) for path in sorted(image.changed)))


def _patch(image: Image, path: str, pristine: Path) -> Patch:
    before, after, numbers = image.before.get(path), image.after[path], image.changed[path]
    with pages_reader(image.files[path]) as read_new:
        if before is None:
            return make_patch(path, None, after, numbers, no_pages, read_new)
        with pages_reader(pristine / path) as read_old:
            return make_patch(path, before, after, numbers, read_old, read_new)


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
