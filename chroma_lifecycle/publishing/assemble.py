"""Making a version's files in an empty directory: the base in parallel, the packs beside it, all proven."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from pathlib import Path

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.publishing.arrivals import Arrivals
from chroma_lifecycle.publishing.fetch import Sources, fetch_pack, fetch_part
from chroma_lifecycle.publishing.transfer import in_parallel
from chroma_lifecycle.snapshot.applying import Patched
from chroma_lifecycle.snapshot.chain import PART_BYTES, BaseFile, BasePart, PackRef, parts_of
from chroma_lifecycle.snapshot.disk import write_at
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.snapshot.pack_run import PackRun, runs_of
from chroma_lifecycle.snapshot.pages import FilePages, PageTable, leaf_digests, table_digest
from chroma_lifecycle.snapshot.rewriting import make_change, remove_empty_directories
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
    first, rest = _first_group(manifest.chain.packs)
    here = Arrivals(directory, manifest.chain.base, first, manifest.name)
    _Assembly(directory, manifest, sources, deadline, local or {}, begun).fetch(first, here)
    runs = chain(here.runs, fetched_runs(rest, manifest, sources, deadline))
    return _apply_runs(directory, here.table, runs, manifest, here.patched)


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
    return _apply_runs(directory, table, fetched_runs(packs, manifest, sources, deadline), manifest, {})


def _apply_runs(
    directory: Path, table: PageTable, runs: Iterable[PackRun], manifest: Manifest, known: Mapping[str, Patched | None]
) -> PageTable:
    """Apply *runs*; *known* is what the first one is known to make of files."""
    for run in runs:
        changes, table = run.changes(directory, table, known)
        known = {}
        for change in changes:
            make_change(directory, change)
    remove_empty_directories(directory)
    assert table_digest(table) == manifest.content  # the manifest's chain ends in it, and each step was proven
    return table


def fetched_runs(
    packs: Sequence[PackRef], manifest: Manifest, sources: Sources, deadline: Deadline
) -> Iterator[PackRun]:
    """Yield packs of *manifest*'s chain as they are to be applied.

    Raises:
        Corrupt, ObjectMissing, NoTime: As :func:`assemble`.
    """
    while packs:
        group, packs = _first_group(packs)
        deadline.require(_SECONDS_FOR_A_BLOCK, "fetching packs")
        yield from runs_of(
            zip(group, in_parallel(lambda pack: fetch_pack(pack, manifest, sources), group), strict=True)
        )


def _first_group(packs: Sequence[PackRef]) -> tuple[Sequence[PackRef], Sequence[PackRef]]:
    """Return the packs that are fetched together next, and those after them."""
    ends = accumulate(pack.stored_bytes for pack in packs)
    count = max(1, sum(end <= _PACK_BYTES_AT_ONCE for end in ends))
    return packs[:count], packs[count:]


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
    manifest: Manifest
    sources: Sources
    deadline: Deadline
    local: LocalParts
    begun: bool

    def fetch(self, packs: Sequence[PackRef], here: Arrivals) -> None:
        """Make the files of the base, and fetch *packs* beside."""
        # The largest file last: what the packs make of the others is found out while it comes.
        files = sorted(self.manifest.chain.base.files, key=lambda file: file.size)
        for file in files:
            (self.directory / file.path).parent.mkdir(parents=True, exist_ok=True)
            (self.directory / file.path).touch()
        works = [partial(self._fetch_pack, number, pack, here) for number, pack in enumerate(packs)]
        works += [partial(self._place, file, number, here) for file in files for number in range(len(file.parts))]
        in_parallel(lambda work: work(), works)

    def _fetch_pack(self, number: int, pack: PackRef, here: Arrivals) -> None:
        self.deadline.require(_SECONDS_FOR_A_BLOCK, "fetching packs")
        here.pack(number, fetch_pack(pack, self.manifest, self.sources))

    def _place(self, file: BaseFile, number: int, here: Arrivals) -> None:
        """Put one part into its file."""
        self.deadline.require(_SECONDS_FOR_A_BLOCK, f"restoring a part of {file.path}")
        part, place, offset = file.parts[number], self.directory / file.path, PART_BYTES * number
        there = _proven(part, place, offset) if self.begun else None
        here.part(file, number, there[1] if there else self._written(part, place, offset))

    def _written(self, part: BasePart, place: Path, offset: int) -> bytes:
        """Write one part; return the digests of its leaves."""
        descriptor = os.open(place, os.O_WRONLY)
        try:
            if held := self._held(part):
                write_at(descriptor, held[0], offset)
                return held[1]
            names = Names(self.manifest.collection)
            return fetch_part(part, names, self.sources, lambda at, piece: write_at(descriptor, piece, offset + at))
        finally:
            os.close(descriptor)

    def _held(self, part: BasePart) -> tuple[bytes, bytes] | None:
        """Return the part from the local disk, if it is there and what it should be."""
        if (place := self.local.get((part.raw, part.size))) is None:
            return None
        return _proven(part, *place)


def _proven(part: BasePart, path: Path, offset: int) -> tuple[bytes, bytes] | None:
    """Return the bytes at a place of the local disk, and the digests of their leaves, if they are those of *part*."""
    try:
        with path.open("rb", buffering=0) as file:
            raw = os.pread(file.fileno(), part.size, offset)
    except OSError:  # what the disk does not give is fetched
        return None
    pages = FilePages(len(raw), leaf_digests(raw))
    return (raw, pages.digests) if pages.digest == part.raw else None
