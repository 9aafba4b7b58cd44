"""Fetching deltas: the port that every kind of root implements, and directories as the first."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from chroma_lifecycle.deltas.addresses import BucketRoot, DirectoryRoot, Place, Root, Roots
from chroma_lifecycle.deltas.disk import writing
from chroma_lifecycle.errors import BadInput, StoreUnavailable

CHUNK_BYTES = 1 << 20
_NO_NAMES = (errno.ENAMETOOLONG, errno.ELOOP)
MAX_DEPTH = 64
"""Of directories within one another, in one delta."""


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """One file of a delta.

    Attributes:
        name: Path below the delta's address, with ``/``; empty if the address is this file.
    """

    name: str
    size: int


class DeltaSource(Protocol):
    """Reads deltas below one kind of root."""

    def list(self, place: Place) -> Sequence[DeltaFile]:
        """Return the files at *place* in order of name, none if there is nothing.

        A file of exactly this path has the empty name; others lie below ``path/``: a delta
        ``run/1`` has nothing of ``run/10``. Names are as stored: the caller refuses bad ones.

        Raises:
            BadInput: *place* may not be read, or leads out of its root.
            StoreUnavailable: No answer.
        """
        ...

    def fetch(self, place: Place, file: DeltaFile, to: Path) -> None:
        """Write the file's bytes to the new file *to*.

        Raises:
            BadInput: It is gone, may not be read, or leads out of its root.
            StoreUnavailable: No answer.
            NoRoom: The disk of *to* is full.
        """
        ...


@dataclass(frozen=True, slots=True)
class RootedDeltas:
    """The deltas below the roots that the operator opened, each read by the source for its kind."""

    roots: Roots
    sources: Mapping[type[Root], DeltaSource]

    def locate(self, address: str) -> tuple[Place, DeltaSource]:
        """Return the place that *address* names, and what reads it.

        Raises:
            BadInput: The address lies outside the roots, or nothing here reads such a root.
        """
        place = self.roots.locate(address)
        source = self.sources.get(type(place.root))
        if source is None:
            raise BadInput(
                f"delta {address!r}: nothing here reads {place.root}",
                hint="use the S3 store, or roots that are directories",
            )
        return place, source


def directory_deltas(*directories: Path) -> RootedDeltas:
    """Return the deltas below *directories*."""
    return RootedDeltas(
        Roots(tuple(DirectoryRoot(directory.absolute()) for directory in directories)),
        {DirectoryRoot: DirectorySource()},
    )


class DirectorySource:
    """Deltas in a mounted directory. Links that leave the root, and devices, are refused."""

    def list(self, place: Place) -> Sequence[DeltaFile]:
        start = _inside(place, _root(place) / place.path)
        with _reading(place):
            if not start.exists():
                return []
            if not start.is_dir():
                return [DeltaFile("", _status(place, start).st_size)]
            return sorted(_walk(place, start, ""), key=lambda file: file.name)

    def fetch(self, place: Place, file: DeltaFile, to: Path) -> None:
        path = _inside(place, _root(place) / place.path / file.name if file.name else _root(place) / place.path)
        with _open_regular(place, path) as source, writing(to), to.open("xb") as target:
            while chunk := _read(place, source):
                target.write(chunk)


def _root(place: Place) -> Path:
    assert not isinstance(place.root, BucketRoot)
    return place.root.path


def _walk(place: Place, directory: Path, name: str) -> Iterator[DeltaFile]:
    if name.count("/") > MAX_DEPTH:
        raise _refused(place, f"its directories are more than {MAX_DEPTH} deep")
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        path = _inside(place, Path(entry.path))
        if path.is_dir():
            if entry.is_symlink():
                raise _refused(place, f"{name + entry.name!r} is a link to a directory")
            yield from _walk(place, path, f"{name}{entry.name}/")
        else:
            yield DeltaFile(name + entry.name, _status(place, path).st_size)


def _inside(place: Place, path: Path) -> Path:
    """Return *path* with every link followed, if it is still below the root."""
    with _reading(place):
        try:
            real = path.resolve()
        except RuntimeError as problem:  # how pathlib calls a loop
            raise _refused(place, f"{path.name!r} is a link to itself") from problem
        if not real.is_relative_to(_root(place).resolve()):
            raise _refused(place, "a link leads out of its root")
        return real


def _status(place: Place, path: Path) -> os.stat_result:
    found = path.stat(follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        raise _refused(place, f"{path.name!r} is not a regular file")
    return found


@contextmanager
def _open_regular(place: Place, path: Path) -> Iterator[BinaryIO]:
    with _reading(place):
        # Not blocking, so that a pipe put there since the listing cannot hang us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(place, f"{path.name!r} is not a regular file")
        yield file


def _read(place: Place, file: BinaryIO) -> bytes:
    with _reading(place):
        return file.read(CHUNK_BYTES)


@contextmanager
def _reading(place: Place) -> Iterator[None]:
    """Say what went wrong while reading *place*; a name that nobody can have is simply not there."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise missing(place) from problem
    except PermissionError as problem:
        raise _refused(place, "it may not be read") from problem
    except OSError as problem:
        if problem.errno in _NO_NAMES:
            raise _refused(place, f"it has no name that a file can have ({problem.strerror})") from problem
        raise StoreUnavailable(
            f"delta {place.address!r}: {place.root} did not answer: {problem.strerror}",
            hint="check the mount; the message comes again by itself",
        ) from problem


def missing(place: Place) -> BadInput:
    """Return the error for a delta that is not there."""
    return BadInput(
        f"there is no delta at {place.address!r} (below {place.root})",
        hint="check the address; a delta is written before its run item says PENDING, and stays while its run waits",
    )


def _refused(place: Place, problem: str) -> BadInput:
    return BadInput(
        f"delta {place.address!r} is refused: {problem}",
        hint=f"put readable plain files below {place.root}",
    )
