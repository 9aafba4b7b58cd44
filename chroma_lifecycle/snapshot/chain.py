"""The chain of a version: a base, and the packs that lead from it to the content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chroma_lifecycle.snapshot.files import FileEntry, check_paths, content_digest
from chroma_lifecycle.snapshot.names import Names
from chroma_lifecycle.values import Digest

PART_BYTES = 4 << 20
"""How much of a file one base part holds at most; a multiple of the page."""

MOST_PACKS = 64
"""A chain with as many packs should get a new base."""

SMALLEST_REBASE_BYTES = 1 << 20
"""Packs of fewer bytes in sum do not ask for a new base by their size: a tiny collection would get one all the time."""

LONGEST_CHAIN = 256
"""A chain with as many packs gets a base in place of the next pack, whatever the time."""


@dataclass(frozen=True, slots=True)
class BasePart:
    """A stretch of a file of the base, stored as one block.

    Attributes:
        size: Its length in bytes before compression.
        raw: What the file digest of this stretch alone would be; two equal parts share it.
        object: The block's name.
        stored_bytes: The block's length.
    """

    size: int
    raw: Digest
    object: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class BaseFile:
    """A file of the base; its parts follow one another, all but the last of `PART_BYTES`."""

    path: str
    digest: Digest
    parts: tuple[BasePart, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Base:
    """The full content from which packs are counted."""

    files: tuple[BaseFile, ...]

    @property
    def content(self) -> Digest:
        """The content digest of the base."""
        return content_digest(FileEntry(file.path, file.size, file.digest) for file in self.files)

    @property
    def parts(self) -> Iterator[BasePart]:
        return (part for file in self.files for part in file.parts)

    @property
    def stored_bytes(self) -> int:
        return sum(part.stored_bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class PackRef:
    """One pack of a chain.

    Attributes:
        before: The content that it may be applied to.
        after: The content that it makes.
        stored_bytes: Length of the stored pack.
        digest: SHA-256 of the stored pack.
        carrier: The name of the object that is the pack, or of the manifest that it travels in.
    """

    before: Digest
    after: Digest
    stored_bytes: int
    digest: Digest
    carrier: str


@dataclass(frozen=True, slots=True)
class Chain:
    """How to make a content: the base, then each pack in its order."""

    base: Base
    packs: tuple[PackRef, ...] = ()

    @property
    def content(self) -> Digest:
        """The content that the chain ends in."""
        return self.packs[-1].after if self.packs else self.base.content

    @property
    def pack_bytes(self) -> int:
        return sum(pack.stored_bytes for pack in self.packs)

    @property
    def wants_rebase(self) -> bool:
        """Whether a new base would pay: the packs exceed half of the base, or are too many."""
        return len(self.packs) >= MOST_PACKS or self.pack_bytes > max(
            self.base.stored_bytes // 2, SMALLEST_REBASE_BYTES
        )

    def after(self, content: Digest) -> tuple[PackRef, ...] | None:
        """Return the packs that lead from *content* to the end, ``None`` if it is not on the chain.

        A content can occur more than once (what was changed and changed back); the last counts.
        """
        contents = [self.base.content, *(pack.after for pack in self.packs)]
        if content not in contents:
            return None
        return self.packs[len(contents) - 1 - contents[::-1].index(content) :]

    def names(self) -> frozenset[str]:
        """Return every object and manifest that is needed to make the content."""
        return frozenset([*(part.object for part in self.base.parts), *(pack.carrier for pack in self.packs)])

    def check(self, names: Names) -> None:
        """Refuse a chain that cannot be followed.

        Raises:
            ValueError: A pack continues another content than the one before it leaves, a part has
                another length than its place asks for, or a name is not one of this collection.
        """
        check_paths([file.path for file in self.base.files])
        for file in self.base.files:
            _check_parts(file, names)
        content = self.base.content
        for pack in self.packs:
            _check_carrier(pack, names)
            if pack.before != content:
                raise ValueError(f"the pack in {pack.carrier} continues another content")
            content = pack.after


def parts_of(size: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of the parts of a file of *size* bytes."""
    return ((offset, min(PART_BYTES, size - offset)) for offset in range(0, size, PART_BYTES))


def _check_parts(file: BaseFile, names: Names) -> None:
    if [part.size for part in file.parts] != [length for _, length in parts_of(file.size)]:
        raise ValueError(f"the parts of {file.path} do not have the lengths that its size asks for")
    for part in file.parts:
        if names.parse_object_name(part.object) is None:
            raise ValueError(f"{part.object!r} is not the name of an object of {names.collection}")


def _check_carrier(pack: PackRef, names: Names) -> None:
    parts = names.parse_object_name(pack.carrier)
    if parts is None and names.parse_manifest_name(pack.carrier) is None:
        raise ValueError(f"{pack.carrier!r} cannot carry a pack of {names.collection}")
    if parts is not None and parts.digest != pack.digest:
        raise ValueError(f"{pack.carrier} is not the object of its pack")
