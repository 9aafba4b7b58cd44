"""Making a version's files in an empty directory: the base in parallel, then each pack, all proven."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.publishing.fetch import Sources, damaged, fetch_pack, fetch_part
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.snapshot.chain import BaseFile, BasePart, PackRef, parts_of
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.snapshot.pages import FilePages, PageTable, page_digests, table_digest
from chroma_lifecycle.snapshot.rewriting import changes_of_pack, make_change, remove_empty_directories
from chroma_lifecycle.values import Digest

# With less left, another block is not begun.
_SECONDS_FOR_A_BLOCK = 0.5
# Packs are fetched together, and applied one after the other: the common case has them all at
# hand before the first byte of a copy changes, and memory stays bounded.
_PACK_BYTES_AT_ONCE = 64 << 20

LocalParts = Mapping[tuple[Digest, int], tuple[Path, int]]
"""Where a stretch of these bytes lies on the local disk, by raw digest and size: file and offset."""


def local_parts(root: Path, pages: PageTable) -> LocalParts:
    """Return the parts that a local copy with these *pages* could give."""
    return {
        (file.between(offset, size), size): (root / path, offset)
        for path, file in pages.items()
        for offset, size in parts_of(file.size)
    }


def assemble(
    directory: Path, manifest: Manifest, sources: Sources, deadline: Deadline, local: LocalParts | None = None
) -> PageTable:
    """Make the files of *manifest* in *directory*; return their pages.

    The directory is empty, or holds what an earlier attempt at some version has left: of that, what is
    proven to be a part in its place is not fetched again, and the rest goes.

    Raises:
        Corrupt: A stored object is damaged; it is named.
        ObjectMissing: One is gone: the version was swept, or its store is not whole.
        NoTime: The deadline is too near.
    """
    begun = _keep_of_base(directory, manifest)
    assembly = _Assembly(directory, Names(manifest.collection), sources, deadline, local or {}, begun)
    return apply_packs(directory, assembly.base(manifest), manifest.chain.packs, manifest, sources, deadline)


def apply_packs(
    directory: Path,
    table: PageTable,
    packs: Sequence[PackRef],
    manifest: Manifest,
    sources: Sources,
    deadline: Deadline,
) -> PageTable:
    """Bring *directory*, whose pages are *table*, to *manifest* by the last *packs* of its chain; return its pages.

    Raises:
        Corrupt, ObjectMissing, NoTime: As :func:`assemble`; the directory is then of no version.
    """
    for pack, stored in fetched_packs(packs, manifest, sources, deadline):
        changes, table = changes_of_pack(stored, pack, directory, table)
        for change in changes:
            make_change(directory, change)
    remove_empty_directories(directory)
    assert table_digest(table) == manifest.content  # the manifest's chain ends in it, and each step was proven
    return table


def fetched_packs(
    packs: Sequence[PackRef], manifest: Manifest, sources: Sources, deadline: Deadline
) -> Iterator[tuple[PackRef, bytes]]:
    """Yield each pack with its stored bytes, in the order of the chain."""
    for group in _groups(packs):
        deadline.require(_SECONDS_FOR_A_BLOCK, "fetching packs")
        yield from zip(group, in_parallel(lambda pack: fetch_pack(pack, manifest, sources), group), strict=True)


def _groups(packs: Sequence[PackRef]) -> Iterator[list[PackRef]]:
    group: list[PackRef] = []
    for pack in packs:
        if group and sum(each.stored_bytes for each in group) + pack.stored_bytes > _PACK_BYTES_AT_ONCE:
            yield group
            group = []
        group.append(pack)
    if group:
        yield group


def _keep_of_base(directory: Path, manifest: Manifest) -> bool:
    """Take away what an earlier attempt left beyond the files of the base; return whether anything is left."""
    sizes = {file.path: file.size for file in manifest.chain.base.files}
    found = [path for path in directory.rglob("*") if path.is_file()]
    for path in found:
        if (size := sizes.get(path.relative_to(directory).as_posix())) is None:
            path.unlink()
        elif path.stat().st_size > size:
            os.truncate(path, size)
    remove_empty_directories(directory)
    return bool(found)


@dataclass(frozen=True, slots=True)
class _Assembly:
    directory: Path
    names: Names
    sources: Sources
    deadline: Deadline
    local: LocalParts
    begun: bool

    def base(self, manifest: Manifest) -> dict[str, FilePages]:
        """Make the files of the base; return their pages."""
        files = manifest.chain.base.files
        for file in files:
            (self.directory / file.path).parent.mkdir(parents=True, exist_ok=True)
            (self.directory / file.path).touch()
        tasks = [(file.path, offset, part) for file in files for offset, part in _placed(file)]
        pieces = in_parallel(lambda task: self._place(*task), tasks)
        digests: dict[str, list[bytes]] = {file.path: [] for file in files}
        for (path, _, _), piece in zip(tasks, pieces, strict=True):
            digests[path].append(piece)
        table = {file.path: FilePages(file.size, b"".join(digests[file.path])) for file in files}
        for file in files:
            if table[file.path].digest != file.digest:
                raise damaged(manifest.name, f"the parts of {file.path} do not make the file")
        return table

    def _place(self, path: str, offset: int, part: BasePart) -> bytes:
        """Put one part into its file; return the digests of its pages."""
        self.deadline.require(_SECONDS_FOR_A_BLOCK, f"restoring a part of {path}")
        if self.begun and (there := _proven(part, self.directory / path, offset)):
            return there[1].digests
        raw, pages = self._held(part) or fetch_part(part, self.names, self.sources)
        descriptor = os.open(self.directory / path, os.O_WRONLY)
        try:
            _write(descriptor, raw, offset)
        finally:
            os.close(descriptor)
        return pages.digests

    def _held(self, part: BasePart) -> tuple[bytes, FilePages] | None:
        """Return the part from the local disk, if it is there and what it should be."""
        if (place := self.local.get((part.raw, part.size))) is None:
            return None
        return _proven(part, *place)


def _proven(part: BasePart, path: Path, offset: int) -> tuple[bytes, FilePages] | None:
    """Return the bytes at a place of the local disk if they are those of *part*."""
    with path.open("rb", buffering=0) as file:
        raw = os.pread(file.fileno(), part.size, offset)
    pages = FilePages(len(raw), page_digests(raw))
    return (raw, pages) if pages.digest == part.raw else None


def _placed(file: BaseFile) -> Iterator[tuple[int, BasePart]]:
    offset = 0
    for part in file.parts:
        yield offset, part
        offset += part.size


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
