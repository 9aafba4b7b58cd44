"""What comes of a base and of its first packs, in many threads, and what can be made of it already."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from chroma_lifecycle.publishing.fetch import damaged
from chroma_lifecycle.snapshot.applying import Patched
from chroma_lifecycle.snapshot.chain import Base, BaseFile, PackRef
from chroma_lifecycle.snapshot.pack_run import PackRun, runs_of
from chroma_lifecycle.snapshot.pages import FilePages


class Arrivals:
    """Takes note of parts and packs; whoever brings the last that a file lacks finds out what the packs make of it.

    Nothing of that is written here: a restore that is cut off before the base is whole leaves it as it was fetched.

    Args:
        root: Where the files of the base are.
        base: What is to come.
        packs: The first ones after it, which come too.
        told_by: The manifest that says all this.

    Attributes:
        table: The pages of the files of the base that are whole.
        runs: The packs as they are to be applied, when all are there.
        patched: What the first run makes of files.
    """

    def __init__(self, root: Path, base: Base, packs: Sequence[PackRef], told_by: str) -> None:
        self._root, self._packs, self._told_by = root, packs, told_by
        self._lock = threading.Lock()
        self._stored: dict[int, bytes] = {}
        self._digests: dict[str, dict[int, bytes]] = {file.path: {} for file in base.files}
        self._run: PackRun | None = None
        self.table: dict[str, FilePages] = {}
        self.runs: Iterable[PackRun] = ()
        self.patched: dict[str, Patched | None] = {}
        for file in base.files:
            if not file.parts:
                self._is_whole(file)

    def part(self, file: BaseFile, number: int, digests: bytes) -> None:
        """Take note that a part is in its place, and of the digests of its leaves.

        Raises:
            Corrupt: It was the last one, and they do not make the file; or the packs do not fit it.
        """
        with self._lock:
            self._digests[file.path][number] = digests
            whole = len(self._digests[file.path]) == len(file.parts)
        if whole:
            self._is_whole(file)

    def _is_whole(self, file: BaseFile) -> None:
        digests = self._digests[file.path]
        pages = FilePages(file.size, b"".join(digests[number] for number in range(len(file.parts))))
        if pages.digest != file.digest:
            raise damaged(self._told_by, f"the parts of {file.path} do not make the file")
        with self._lock:
            self.table[file.path] = pages
            run = self._run
        if run:
            self.patched[file.path] = run.patched(file.path, self._root, pages)

    def pack(self, number: int, stored: bytes) -> None:
        """Take note of the stored bytes of a pack.

        Raises:
            Corrupt: It was the last one, and they are damaged or do not fit the files that are whole.
        """
        with self._lock:
            self._stored[number] = stored
            complete = len(self._stored) == len(self._packs)
        if complete:
            runs = runs_of((pack, self._stored[number]) for number, pack in enumerate(self._packs))
            run = next(runs)
            with self._lock:
                self._run, self.runs = run, chain([run], runs)
                whole = dict(self.table)
            for path, pages in whole.items():
                self.patched[path] = run.patched(path, self._root, pages)
