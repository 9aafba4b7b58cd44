"""The pristine copy: the bytes of a published version on the local disk, and the stamp that says which.

The stamp is removed before the first byte changes, and written last. So a kill leaves the old
version or none, and no stamp means: restore anew. Nothing waits for the disk: a stamp holds only
until the machine is started again, since its crash is what loses writes that were not synced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.errors import BadInput, Corrupt
from chroma_lifecycle.snapshot.descriptors import sizes_below
from chroma_lifecycle.snapshot.disk import disk_errors, remove_tree, replace_file, require_room, this_boot
from chroma_lifecycle.snapshot.fields import Fields, canonical, parse_json
from chroma_lifecycle.snapshot.files import FileEntry
from chroma_lifecycle.snapshot.manifest import Manifest, encode_manifest, parse_manifest
from chroma_lifecycle.snapshot.pages import FilePages, PageTable, decode_pages, encode_pages, hash_file
from chroma_lifecycle.snapshot.rewriting import FileChange, make_change, remove_empty_directories
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


class Pristine:
    """The pristine copy below a workspace, with its stamp, manifest and leaf digests beside it.

    Only the process that owns the workspace may use it; nobody may open its files with Chroma or
    SQLite, which change a file by opening it.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self.root = workspace / "pristine"
        self._stamp = workspace / "stamp"
        self._pages = workspace / "pages"
        # What lies below it, as far as this process has read or written it.
        self._noted: dict[str, FilePages] = {}
        self._known: LocalVersion | None = None

    def version(self) -> LocalVersion | None:
        """Return the version that the copy is, or ``None`` if it is none that is proven."""
        with disk_errors(self._workspace):
            if not self._stamp.exists():
                self._known = None
                return None
            try:
                self._known = self._known or self._read()
                # Each time: a cleaner of temporary files may have been here.
                check_files(self.root, self._known.manifest.files)
            except (Corrupt, BadInput, FileNotFoundError):
                self.forget()
        return self._known

    def _read(self) -> LocalVersion:
        stamp = Fields(parse_json(self._stamp.read_bytes(), "the stamp"), "the stamp")
        digest = stamp.parsed("manifest", parse_digest)
        manifest_bytes = self._manifest(digest).read_bytes()
        if digest_of(manifest_bytes) != digest:
            raise Corrupt("the stamp belongs to another manifest", hint=_AGAIN)
        manifest = parse_manifest(manifest_bytes)
        if self._stamp.read_bytes() != _spell_stamp(manifest, digest):
            raise Corrupt("the stamp belongs to another version", hint=_AGAIN)
        self._noted = {
            entry.path: decode_pages((self._pages / entry.path).read_bytes(), entry) for entry in manifest.files
        }
        return LocalVersion(manifest, digest, dict(self._noted))

    def forget(self) -> None:
        """Take the stamp away: from here on the copy is of no version."""
        self._known = None
        with disk_errors(self._workspace):
            self._stamp.unlink(missing_ok=True)

    def change(self, manifest: Manifest) -> PristineChange:
        """Begin to bring the copy to *manifest*; from here on, until the end, it is of no version.

        Raises:
            NoRoom: The disk lacks the room for what the version adds; the copy stays as it was.
        """
        with disk_errors(self.root):
            growth = sum(max(0, entry.size - _size_of(self.root / entry.path)) for entry in manifest.files)
            require_room(self._workspace, growth, f"bringing {self.root} forward")
        self.forget()
        return PristineChange(self)

    def adopt(self, directory: Path, version: LocalVersion) -> None:
        """Put *directory*, which holds the proven files of *version*, in the place of the copy."""
        self.forget()
        with disk_errors(self.root):
            check_files(directory, version.manifest.files)
            self._noted.clear()
            remove_tree(self._pages)
            remove_tree(self.root)
            directory.rename(self.root)
            self._write_stamp(version)

    def relabel(self, version: LocalVersion) -> None:
        """Take note that the same bytes are another version: only its manifest is new.

        No byte of the copy changes, so the stamp is replaced and never missing.
        """
        with disk_errors(self._workspace):
            self._write_stamp(version)

    def hash_again(self) -> None:
        """Read every byte of the copy.

        Raises:
            Corrupt: A file is not as published, or the disk does not give it; the stamp is taken away.
        """
        if (version := self.version()) is None:
            return
        for path, pages in version.pages.items():
            with self.readable():
                found = hash_file(self.root / path)
            if found != pages:
                self.forget()
                raise Corrupt(f"{self.root / path} is not as published", hint=_AGAIN)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Read the copy in this block; where the disk does not give it, it is no copy.

        Raises:
            Corrupt: A file cannot be read; the stamp is taken away.
        """
        try:
            yield
        except OSError as problem:
            self.forget()
            place = problem.filename or self.root
            raise Corrupt(f"{place} cannot be read ({problem.strerror})", hint=_AGAIN) from problem

    def _write_stamp(self, version: LocalVersion) -> None:
        """Say which version the copy is, when everything else has been written."""
        manifest = self._manifest(version.digest)
        manifest.write_bytes(encode_manifest(version.manifest))
        self._note_pages(version.pages)
        # Last: whatever dies before this line leaves the copy of no version, or of the old one.
        replace_file(self._stamp, _spell_stamp(version.manifest, version.digest))
        self._known = version
        for old in self._workspace.glob(f"{_MANIFEST}*"):
            if old != manifest:
                old.unlink()

    def _note_pages(self, table: PageTable) -> None:
        """Write the leaf digests of the files that changed: all of them follow the size of the snapshot."""
        for path, pages in table.items():
            if self._noted.get(path) != pages:
                # Until it is written whole, it is not known what the file holds.
                self._noted.pop(path, None)
                place = self._pages / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(encode_pages(pages))
                self._noted[path] = pages
        for path in self._noted.keys() - table.keys():
            del self._noted[path]
            (self._pages / path).unlink()

    def _manifest(self, digest: Digest) -> Path:
        # By its digest, so that a new one can be written while the stamp still names the old one.
        return self._workspace / f"{_MANIFEST}{digest}"


class PristineChange:
    """A change of the pristine copy that is under way; without `finish` the copy stays of no version."""

    def __init__(self, pristine: Pristine) -> None:
        self._pristine = pristine

    def make(self, changes: Iterable[FileChange]) -> None:
        """Make some changes, one after the other."""
        with disk_errors(self._pristine.root):
            for change in changes:
                make_change(self._pristine.root, change)

    def finish(self, version: LocalVersion) -> None:
        """Say that the copy is *version* now, whose pages were proven.

        Raises:
            Corrupt: The directory does not hold exactly the files of the version.
        """
        root = self._pristine.root
        with disk_errors(root):
            remove_empty_directories(root)
            check_files(root, version.manifest.files)
            self._pristine._write_stamp(version)  # noqa: SLF001 - the one that is changed


def _spell_stamp(manifest: Manifest, manifest_digest: Digest) -> bytes:
    return canonical(
        {
            "format": _FORMAT,
            "format_version": 1,
            "lineage": manifest.lineage,
            "version": manifest.version.number,
            "manifest": manifest_digest,
            "content": manifest.content,
            "boot": this_boot(),
        }
    )


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def check_files(root: Path, files: Sequence[FileEntry]) -> None:
    """Refuse a directory that does not hold exactly *files*, each as long as it should be."""
    found = sizes_below(root)
    expected = {entry.path: entry.size for entry in files}
    if found != expected:
        odd = min(set(found.items()) ^ set(expected.items()))[0]
        raise Corrupt(f"{root / odd} is missing, too much, or of another length than published", hint=_AGAIN)
