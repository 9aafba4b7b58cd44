"""Runs of packs: some that follow one another, applied to a directory as one.

What lies between them is never on the disk: a page that all of them change is read, proven and written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.errors import PAST_DAMAGE, Corrupt
from chroma_lifecycle.snapshot.applying import Patched, apply_patches
from chroma_lifecycle.snapshot.chain import PackRef
from chroma_lifecycle.snapshot.files import FileEntry, content_digest
from chroma_lifecycle.snapshot.pack import Pack, decode_pack
from chroma_lifecycle.snapshot.pages import FilePages, PageTable, no_pages, pages_reader, table_digest
from chroma_lifecycle.snapshot.patch import FileState, Patch
from chroma_lifecycle.snapshot.rewriting import FileChange, Remove, Rewrite

# What the packs of a run may hold in memory together; a larger one is a run of its own.
_RUN_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class PackRun:
    """Packs that are applied as one.

    Attributes:
        packs: Each with its reference, in the order of the chain; at least one.
    """

    packs: tuple[tuple[PackRef, Pack], ...]

    def patched(self, path: str, root: Path, before: FilePages | None) -> Patched | None:
        """Return what becomes of one file below *root*; ``None`` if it is not changed, or gone afterwards.

        Raises:
            Corrupt: It is not the file that the packs were made from, or they do not make what they promise.
        """
        patches: list[Patch] = []
        for _, pack in self.packs:
            if path in pack.removed:
                patches, before = [], None
            patches += (patch for patch in pack.patches if patch.path == path)
        if not patches:
            return None
        with ExitStack() as stack:
            read_old = stack.enter_context(pages_reader(root / path)) if before else no_pages
            return apply_patches(patches, before, read_old)

    def changes(
        self, root: Path, table: PageTable, known: Mapping[str, Patched | None]
    ) -> tuple[list[FileChange], PageTable]:
        """Return what the packs change in the directory at *root*, and its pages afterwards.

        Every byte is proven before the caller writes the first one: the digests of the files before, those of the
        files after, and the content digests on the way.

        Args:
            root: The directory.
            table: Its pages.
            known: What :meth:`patched` has returned already.

        Raises:
            Corrupt: A pack belongs to another content, or *root* is not as published.
        """
        paths = self._paths_after(table)
        found = [known[path] if path in known else self.patched(path, root, table.get(path)) for path in paths]
        files = {file.path: file for file in found if file}
        changes: list[FileChange] = [Remove(path) for path in sorted(table.keys() - paths)]
        changes += [Rewrite(file.path, file.pages.size, file.writes) for file in files.values()]
        return changes, {path: files[path].pages if path in files else table[path] for path in paths}

    def _paths_after(self, table: PageTable) -> list[str]:
        """Return the files that there are in the end; each pack must lead on from where the one before it ends."""
        states, content = {path: FileState.of(pages) for path, pages in table.items()}, table_digest(table)
        for ref, pack in self.packs:
            if missing := [path for path in pack.removed if path not in states]:
                raise _unfit(ref, f"it removes {missing[0]}, which is not there")
            states = {path: state for path, state in states.items() if path not in pack.removed}
            states |= {patch.path: patch.after for patch in pack.patches}
            before, content = content, content_digest(FileEntry(p, s.size, s.digest) for p, s in states.items())
            if (before, content) != (ref.before, ref.after):
                raise _unfit(ref, "it does not lead from the one content to the other")
        return sorted(states)


def runs_of(packs: Iterable[tuple[PackRef, bytes]]) -> Iterator[PackRun]:
    """Yield *packs*, each as its reference and its stored bytes, in runs that a bounded memory holds.

    Raises:
        Corrupt: One is damaged.
        BadInput: A newer version of this library wrote one.
    """
    run: list[tuple[PackRef, Pack]] = []
    for ref, stored in packs:
        pack = decode_pack(stored)
        if run and sum(each.held_bytes for _, each in run) + pack.held_bytes > _RUN_BYTES:
            yield PackRun(tuple(run))
            run = []
        run.append((ref, pack))
    if run:
        yield PackRun(tuple(run))


def _unfit(ref: PackRef, problem: str) -> Corrupt:
    return Corrupt(
        f"the pack in {ref.carrier} does not fit: {problem}",
        hint=PAST_DAMAGE,
    )
