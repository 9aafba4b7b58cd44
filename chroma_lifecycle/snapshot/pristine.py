"""The pristine copy: the bytes of a published version on the local disk, and the stamp that says which.

The stamp is removed, and its removal brought to disk, before the first byte changes; it is written
last, when everything else is on disk. So a kill leaves the old version or none, and no stamp means:
restore anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from chroma_lifecycle.errors import Corrupt
from chroma_lifecycle.snapshot.disk import (
    clone_file,
    copy_file,
    directories_below,
    disk_errors,
    remove_tree,
    require_room,
    sync,
    sync_all,
    write_synced,
)
from chroma_lifecycle.snapshot.fields import Fields, canonical, parse_json
from chroma_lifecycle.snapshot.files import FileEntry
from chroma_lifecycle.snapshot.manifest import Manifest, encode_manifest, parse_manifest
from chroma_lifecycle.snapshot.pages import PAGE_BYTES, PageTable, decode_table, encode_table, hash_file
from chroma_lifecycle.values import Digest, digest_of, parse_digest

_FORMAT = "chroma-lifecycle stamp"
_MANIFEST = "manifest-"
_AGAIN = "nothing to do: the version is restored anew"


@dataclass(frozen=True, slots=True)
class LocalVersion:
    """A version whose bytes are on the local disk.

    Attributes:
        digest: Of the manifest's bytes; two versions are the same when theirs are.
        pages: Of every file.
    """

    manifest: Manifest
    digest: Digest
    pages: PageTable

    @classmethod
    def of(cls, manifest: Manifest, pages: PageTable) -> LocalVersion:
        return cls(manifest, digest_of(encode_manifest(manifest)), pages)


@dataclass(frozen=True, slots=True)
class Replace:
    """Make the file at *path* a copy of *source*."""

    path: str
    source: Path


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write some pages of the file at *path*, which has *size* bytes afterwards."""

    path: str
    size: int
    pages: Iterable[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the file at *path*."""

    path: str


FileChange: TypeAlias = Replace | Rewrite | Remove


class Pristine:
    """The pristine copy below a workspace, with its stamp, manifest and page digests beside it.

    Only the process that owns the workspace may use it; nobody may open its files with Chroma or
    SQLite, which change a file by opening it.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self.root = workspace / "pristine"
        self._stamp = workspace / "stamp"
        self._pages = workspace / "pages"
        self._known: LocalVersion | None = None

    def version(self) -> LocalVersion | None:
        """Return the version that the copy is, or ``None`` if it is none that is proven."""
        if self._known is None and self._stamp.exists():
            with disk_errors(self._workspace):
                try:
                    self._known = self._read()
                except (Corrupt, FileNotFoundError):
                    self.forget()
        return self._known

    def _read(self) -> LocalVersion:
        stamp = Fields(parse_json(self._stamp.read_bytes(), "the stamp"), "the stamp")
        manifest_digest, pages_digest = stamp.parsed("manifest", parse_digest), stamp.parsed("pages", parse_digest)
        manifest_bytes, pages_bytes = self._manifest(manifest_digest).read_bytes(), self._pages.read_bytes()
        if (digest_of(manifest_bytes), digest_of(pages_bytes)) != (manifest_digest, pages_digest):
            raise Corrupt("the stamp belongs to other files", hint=_AGAIN)
        manifest = parse_manifest(manifest_bytes)
        if self._stamp.read_bytes() != _spell_stamp(manifest, manifest_digest, pages_digest):
            raise Corrupt("the stamp belongs to another version", hint=_AGAIN)
        _check_sizes(self.root, manifest.files)
        return LocalVersion(manifest, manifest_digest, decode_table(pages_bytes, manifest.files))

    def forget(self) -> None:
        """Take the stamp away: from here on the copy is of no version."""
        self._known = None
        with disk_errors(self._workspace):
            self._stamp.unlink(missing_ok=True)
            sync(self._workspace)

    def change(self, changes: Sequence[FileChange], version: LocalVersion) -> None:
        """Bring the copy to *version* by *changes*.

        Raises:
            NoRoom: The disk lacks the room; the copy stays as it was, or is of no version.
            Corrupt: The files are not those of the version afterwards; the copy is of no version.
        """
        require_room(self._workspace, self._growth(changes), f"bringing {self.root} forward")
        self.forget()
        with disk_errors(self.root):
            written = [self._apply(change) for change in changes]
            _remove_empty_directories(self.root)
            _check_sizes(self.root, version.manifest.files)
            self._finish(version, [*filter(None, written), *directories_below(self.root)])

    def adopt(self, directory: Path, version: LocalVersion) -> None:
        """Put *directory*, which holds the proven files of *version*, in the place of the copy."""
        self.forget()
        with disk_errors(self.root):
            _check_sizes(directory, version.manifest.files)
            sync_all(path for path in directory.rglob("*") if path.is_file())
            remove_tree(self.root)
            directory.rename(self.root)
            self._finish(version, directories_below(self.root))

    def relabel(self, version: LocalVersion) -> None:
        """Take note that the same bytes are another version: only its manifest is new.

        No byte of the copy changes, so the stamp is replaced and never missing.
        """
        with disk_errors(self._workspace):
            self._finish(version, [])

    def hash_again(self) -> None:
        """Read every byte of the copy.

        Raises:
            Corrupt: A file is not as published; the stamp is taken away.
        """
        if (version := self.version()) is None:
            return
        with disk_errors(self.root):
            for path, pages in version.pages.items():
                if hash_file(self.root / path) != pages:
                    self.forget()
                    raise Corrupt(f"{self.root / path} is not as published", hint=_AGAIN)

    def _apply(self, change: FileChange) -> Path | None:
        """Make one change; return the file if there is one to be brought to disk."""
        place = self.root / change.path
        if isinstance(change, Remove):
            place.unlink(missing_ok=True)
            return None
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(change, Replace):
            place.unlink(missing_ok=True)
            if not clone_file(change.source, place):
                copy_file(change.source, place)
        else:
            _rewrite(place, change)
        return place

    def _growth(self, changes: Sequence[FileChange]) -> int:
        """Return how many bytes the changes add; a file that is replaced is removed first."""
        return sum(max(0, _size_after(change) - _size_of(self.root / change.path)) for change in changes)

    def _finish(self, version: LocalVersion, written: Sequence[Path]) -> None:
        """Bring everything to disk, and then say which version it is."""
        manifest, pages_bytes = self._manifest(version.digest), encode_table(version.pages)
        manifest.write_bytes(encode_manifest(version.manifest))
        if written:
            self._pages.write_bytes(pages_bytes)
        sync_all([*written, manifest, self._pages, self._workspace])
        # Last: whatever dies before this line leaves the copy of no version, or of the old one.
        write_synced(self._stamp, _spell_stamp(version.manifest, version.digest, digest_of(pages_bytes)))
        self._known = version
        for old in self._workspace.glob(f"{_MANIFEST}*"):
            if old != manifest:
                old.unlink()

    def _manifest(self, digest: Digest) -> Path:
        # By its digest, so that a new one can be written while the stamp still names the old one.
        return self._workspace / f"{_MANIFEST}{digest}"


def _spell_stamp(manifest: Manifest, manifest_digest: Digest, pages_digest: Digest) -> bytes:
    return canonical(
        {
            "format": _FORMAT,
            "format_version": 1,
            "lineage": manifest.lineage,
            "version": manifest.version.number,
            "manifest": manifest_digest,
            "content": manifest.content,
            "pages": pages_digest,
        }
    )


def _rewrite(place: Path, change: Rewrite) -> None:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        for number, page in change.pages:
            os.pwrite(descriptor, page, PAGE_BYTES * number)
        os.ftruncate(descriptor, change.size)
    finally:
        os.close(descriptor)


def _size_after(change: FileChange) -> int:
    if isinstance(change, Remove):
        return 0
    return change.size if isinstance(change, Rewrite) else _size_of(change.source)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_sizes(root: Path, files: Sequence[FileEntry]) -> None:
    """Refuse a directory that does not hold exactly *files*, each as long as it should be."""
    found = {path.relative_to(root).as_posix(): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    expected = {entry.path: entry.size for entry in files}
    if found != expected:
        odd = min(set(found.items()) ^ set(expected.items()))[0]
        raise Corrupt(f"{root / odd} is missing, too much, or of another length than published", hint=_AGAIN)


def _remove_empty_directories(root: Path) -> None:
    for directory in directories_below(root):
        if directory != root and not any(directory.iterdir()):
            directory.rmdir()
