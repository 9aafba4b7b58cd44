"""Sending a version's blocks: the parts of a base, in parallel and never twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.transfer import Progress, Steps, in_parallel, no_progress
from chroma_lifecycle.snapshot.chain import Base, BaseFile, BasePart, parts_of
from chroma_lifecycle.snapshot.frame import Kind, wrap
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.snapshot.pages import PageTable
from chroma_lifecycle.values import Digest, Era, digest_of

# A block of a few MB takes a fraction of it; with less left, another one is not begun.
_SECONDS_FOR_A_BLOCK = 1.0


@dataclass(frozen=True, slots=True)
class _Stretch:
    path: str
    offset: int
    size: int
    raw: Digest


@dataclass(frozen=True, slots=True)
class BaseUpload:
    """Where the parts of a base go, and which need not be sent.

    Attributes:
        era: Of the HEAD that is to be replaced: names of this era may be used again when they exist.
        reusable: A base of a version that this HEAD retains: a part whose raw digest is in it keeps its name.
        progress: Told how many bytes of how many are stored; in any thread.
    """

    store: Store
    names: Names
    era: Era
    reusable: Base | None
    deadline: Deadline
    progress: Progress = no_progress

    def send(self, files: Mapping[str, Path], pages: PageTable) -> tuple[Base, int]:
        """Store what is not stored yet of *files*; return the base, and how many bytes were new to it.

        Raises:
            NoTime: The deadline came near; what was sent is found again by the next attempt.
        """
        stretches = list(_stretches(pages))
        reused = {(part.raw, part.size): part for part in self.reusable.parts} if self.reusable else {}
        fresh = {(s.raw, s.size): s for s in stretches if (s.raw, s.size) not in reused}
        steps = Steps(sum(stretch.size for stretch in fresh.values()), self.progress)

        def send(stretch: _Stretch) -> BasePart:
            part = self._send_part(files[stretch.path], stretch)
            steps.done(stretch.size)
            return part

        sent = in_parallel(send, fresh.values())
        known = reused | dict(zip(fresh, sent, strict=True))
        parts: dict[str, list[BasePart]] = {path: [] for path in pages}
        for stretch in stretches:
            parts[stretch.path].append(known[stretch.raw, stretch.size])
        base = Base(tuple(BaseFile(path, pages[path].digest, tuple(parts[path])) for path in sorted(pages)))
        return base, sum(part.stored_bytes for part in sent)

    def _send_part(self, place: Path, stretch: _Stretch) -> BasePart:
        self.deadline.require(_SECONDS_FOR_A_BLOCK, f"storing a block of {stretch.path}")
        stored = wrap(Kind.BLOCK, _read(place, stretch))
        name = self.names.object(self.era, digest_of(stored))
        if not self.store.present([name]):
            self.store.write(name, stored)
        return BasePart(stretch.size, stretch.raw, name, len(stored))


def _stretches(pages: PageTable) -> Iterator[_Stretch]:
    for path in sorted(pages):
        for offset, size in parts_of(pages[path].size):
            yield _Stretch(path, offset, size, pages[path].between(offset, size))


def _read(place: Path, stretch: _Stretch) -> bytes:
    with place.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), stretch.size, stretch.offset)
