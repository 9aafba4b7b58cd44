"""Changes of the files of a directory: what they are, and making them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from chroma_lifecycle.snapshot.disk import clone_file, copy_file, directories_below, write_at
from chroma_lifecycle.snapshot.pages import PAGE_BYTES


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
    pages: Iterable[tuple[int, bytes | memoryview]]


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the file at *path*."""

    path: str


FileChange: TypeAlias = Replace | Rewrite | Remove


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


def _rewrite(place: Path, size: int, pages: Iterable[tuple[int, bytes | memoryview]]) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        for number, page in pages:
            write_at(descriptor, page, PAGE_BYTES * number)
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def remove_empty_directories(root: Path) -> None:
    """Remove the directories below *root* that hold nothing, since a version has files only."""
    for directory in directories_below(root):
        if directory != root and not any(directory.iterdir()):
            directory.rmdir()
