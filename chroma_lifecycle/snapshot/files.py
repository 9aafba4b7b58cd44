"""The table of a version's files: paths that are safe, and the digest of the whole content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chroma_lifecycle.values import Digest

LEDGER = "ledger.sqlite3"
"""Path of the ledger in every version."""

CHROMA = "chroma"
"""Directory of the Chroma files in every version."""

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DEEPEST = 8


def parse_path(text: object) -> str:
    """Return *text* as the path of a file of a version.

    Raises:
        ValueError: It is neither the ledger nor a file below ``chroma/`` with plain segments,
            so it could lead out of the directory.
    """
    if text == LEDGER:
        return LEDGER
    if isinstance(text, str):
        first, *rest = text.split("/")
        if first == CHROMA and 0 < len(rest) < _DEEPEST and all(_SEGMENT.fullmatch(segment) for segment in rest):
            return text
    raise ValueError(f"a path must be {LEDGER} or lie below {CHROMA}/ with plain segments, got {text!r}")


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """One file of a version; *digest* is its file digest (over pages, see :mod:`.pages`)."""

    path: str
    size: int
    digest: Digest


def check_paths(paths: Sequence[str]) -> None:
    """Refuse a table that could not be laid out as files.

    Raises:
        ValueError: The paths are not sorted, one occurs twice, or one lies inside another.
    """
    for earlier, later in pairwise(paths):
        if earlier >= later:
            raise ValueError(f"paths must ascend: {later!r} comes after {earlier!r}")
    known = set(paths)
    for path in paths:
        parents = path.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            if (parent := "/".join(parents[:depth])) in known:
                raise ValueError(f"{path!r} lies inside the file {parent!r}")


def content_digest(files: Iterable[FileEntry]) -> Digest:
    """Return what two copies must share to be the same: the SHA-256 of the sorted table of files."""
    table = hashlib.sha256()
    for entry in sorted(files):
        table.update(f"{entry.digest} {entry.size} {entry.path}\n".encode("ascii"))
    return Digest(table.hexdigest())
