"""What differs between the files of two versions that lie side by side: digests tell which files, bytes which pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chroma_lifecycle.snapshot.comparing import changed_pages
from chroma_lifecycle.snapshot.pages import FilePages, PageTable, page_count


class Change(StrEnum):
    """What became of something from one version to another."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FileDifference:
    """A file that is not the same in two versions.

    Attributes:
        pages: Pages that it has now and had not, or not so; and the last one, if it has another size.
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


def file_differences(before: Path, old: PageTable, after: Path, new: PageTable) -> Iterator[FileDifference]:
    """Yield the files that differ, by path.

    Args:
        before: The directory of the earlier version; nobody has its files open.
        old: Its pages.
        after: That of the later version.
        new: Its pages.
    """
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path, _NOTHING), new.get(path, _NOTHING)
        if path not in old:
            yield FileDifference(path, Change.ADDED, page_count(now.size), page_count(now.size), 0, now.size)
        elif path not in new:
            yield FileDifference(path, Change.REMOVED, 0, 0, was.size, 0)
        elif was != now:
            count = len(changed_pages(before / path, after / path))
            yield FileDifference(path, Change.CHANGED, count, page_count(now.size), was.size, now.size)
