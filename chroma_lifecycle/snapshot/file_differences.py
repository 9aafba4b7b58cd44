"""What differs between the files of two versions, page by page. Pure: the digests of the pages tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from chroma_lifecycle.snapshot.pages import DIGEST_BYTES, FilePages, PageTable, page_count


class Change(StrEnum):
    """What became of something from one version to another."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file that is not the same in two versions.

    Attributes:
        pages: Pages that it has now, and had not, or not so.
        of_pages: Pages that it has now.
        before_bytes: Its size before; 0 if it was not there.
        after_bytes: Its size now; 0 if it is not there.
    """

    path: str
    change: Change
    pages: int
    of_pages: int
    before_bytes: int
    after_bytes: int


_NOTHING = FilePages(0, b"")


def file_differences(before: PageTable, after: PageTable) -> Iterator[FileDifference]:
    """Yield the files that differ, by path."""
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        change = Change.ADDED if old is None else Change.REMOVED if new is None else Change.CHANGED
        old, new = old or _NOTHING, new or _NOTHING
        yield FileDifference(path, change, _pages(old, new), page_count(new.size), old.size, new.size)


def _pages(before: FilePages, after: FilePages) -> int:
    """Return how many pages *after* has that *before* has not in their place."""
    old, new = (np.frombuffer(file.digests, f"V{DIGEST_BYTES}") for file in (before, after))
    common = min(len(old), len(new))
    return int(np.count_nonzero(old[:common] != new[:common])) + len(new) - common
