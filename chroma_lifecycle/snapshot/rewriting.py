"""Changes of the files of a directory: what they are, how a pack becomes some, and making them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.chain import PackRef
from chroma_lifecycle.snapshot.disk import clone_file, copy_file, directories_below
from chroma_lifecycle.snapshot.pack import Pack, decode_pack
from chroma_lifecycle.snapshot.pages import PAGE_BYTES, FilePages, PageTable, no_pages, pages_reader, table_digest
from chroma_lifecycle.snapshot.patch import Patch, Patched, apply_patch


@dataclass(frozen=True, slots=True)
class Replace:
    """Make the file at *path* a copy of *source*."""

    path: str
    source: Path


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write stretches of pages, given by their first page, of the file at *path*; it has *size* bytes afterwards."""

    path: str
    size: int
    pages: Iterable[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the file at *path*."""

    path: str


FileChange: TypeAlias = Replace | Rewrite | Remove


def changes_of_pack(stored: bytes, ref: PackRef, root: Path, table: PageTable) -> tuple[list[FileChange], PageTable]:
    """Return what a pack changes in the directory at *root*, and its pages afterwards.

    Every byte is proven before the caller writes the first one: the digests of the files before,
    those of the files after, and the content digest that they make.

    Raises:
        Corrupt: The pack is damaged, belongs to another content, or *root* is not as published.
    """
    pack = decode_pack(stored)
    if missing := [path for path in pack.removed if path not in table]:
        raise _unfit(ref, f"it removes {missing[0]}, which is not there")
    patched = [_patched(patch, root, table.get(patch.path)) for patch in pack.patches]
    after = {path: pages for path, pages in table.items() if path not in pack.removed}
    after |= {file.path: file.pages for file in patched}
    if table_digest(table) != ref.before or table_digest(after) != ref.after:
        raise _unfit(ref, "it does not lead from the one content to the other")
    return _changes(pack, patched), after


def _patched(patch: Patch, root: Path, before: FilePages | None) -> Patched:
    with ExitStack() as stack:
        read_old = stack.enter_context(pages_reader(root / patch.path)) if before else no_pages
        return apply_patch(patch, before, read_old)


def _changes(pack: Pack, patched: Iterable[Patched]) -> list[FileChange]:
    changes: list[FileChange] = [Remove(path) for path in pack.removed]
    return changes + [Rewrite(file.path, file.pages.size, file.writes) for file in patched]


def _unfit(ref: PackRef, problem: str) -> Corrupt:
    return Corrupt(
        f"the pack in {ref.carrier} does not fit: {problem}",
        hint="run `chroma-lifecycle verify` to see what is damaged",
    )


def make_change(root: Path, change: FileChange) -> None:
    """Make one change below *root*; nothing is brought to disk yet."""
    place = root / change.path
    match change:
        case Remove():
            place.unlink(missing_ok=True)
        case Replace(_, source):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            if not clone_file(source, place):
                copy_file(source, place)
        case Rewrite(_, size, pages):
            place.parent.mkdir(parents=True, exist_ok=True)
            _rewrite(place, size, pages)


def _rewrite(place: Path, size: int, pages: Iterable[tuple[int, bytes]]) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        for number, page in pages:
            _write_all(descriptor, page, PAGE_BYTES * number)
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    # A full disk can take a part of the bytes, and says so only when it is asked again.
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def remove_empty_directories(root: Path) -> None:
    """Remove the directories below *root* that hold nothing, since a version has files only."""
    for directory in directories_below(root):
        if directory != root and not any(directory.iterdir()):
            directory.rmdir()
