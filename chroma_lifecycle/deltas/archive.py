"""Archives of deltas: a tar.gz of a Chroma directory, unpacked as if an enemy had packed it."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import BinaryIO

from chroma_lifecycle.clock import ENDLESS, Deadline
from chroma_lifecycle.deltas.addresses import is_too_long, segments_problem
from chroma_lifecycle.deltas.disk import writing
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import shorten

MAX_MEMBERS = 10_000
MAX_UNPACKED_BYTES = 8 << 30
CHUNK_BYTES = 1 << 20


def unpack(
    archive: Path, to: Path, subject: str, *, limit_bytes: int = MAX_UNPACKED_BYTES, deadline: Deadline = ENDLESS
) -> tuple[str, ...]:
    """Unpack the plain files of *archive* below the new directory *to*, and return their names.

    Raises:
        BadInput: A member is no plain file or directory, or its name leads out; the archive is
            damaged, or unpacks to more than *limit_bytes* or `MAX_MEMBERS`. The member is named.
        NoTime: *deadline* came first.
    """
    with writing(to):
        to.mkdir()
    names = _Names(subject)
    with (
        archive.open("rb") as packed,
        # A header that names the next one may be followed by another such, and tarfile reads each within the last.
        _damage(subject, (tarfile.TarError, ValueError, RecursionError)),
        GzipFile(fileobj=packed) as stream,
    ):
        bounded = _Bounded(stream, limit_bytes, subject, deadline)
        with tarfile.TarFile(fileobj=bounded) as tar:  # type: ignore[arg-type]  # it needs no more to read
            for count, member in enumerate(tar, 1):
                if count > MAX_MEMBERS:
                    raise _refused(subject, f"it has more than {MAX_MEMBERS:,} members")
                if name := names.take(member):
                    _extract(tar, member, to / name)
        bounded.drain()  # to the end, where gzip keeps its checksum
    return tuple(names.files)


class _Bounded:
    """The unpacked bytes, forward only: never more than the limit, and never many at once.

    The archive's own headers say how much to read; one that says too much is refused before
    memory is taken for it.
    """

    def __init__(self, stream: BinaryIO | GzipFile, limit_bytes: int, subject: str, deadline: Deadline) -> None:
        self._stream, self._limit, self._subject, self._deadline = stream, limit_bytes, subject, deadline
        self._at = 0

    def read(self, size: int) -> bytes:
        if not 0 <= size <= CHUNK_BYTES:
            raise _refused(self._subject, f"a header claims {size:,} bytes")
        self._deadline.go_on(f"unpacking {self._subject}")
        # Here, so that an OSError of the disk that is written to cannot be taken for damage.
        with _damage(self._subject, (BadGzipFile, EOFError, zlib.error)):
            data = self._stream.read(size)
        self._at += len(data)
        if self._at > self._limit:
            raise _refused(self._subject, f"it unpacks to more than {self._limit:,} bytes")
        return data

    def seek(self, position: int) -> int:
        while self._at < position and self.read(min(CHUNK_BYTES, position - self._at)):
            pass
        if self._at != position:
            raise _refused(self._subject, "it is cut off")
        return position

    def tell(self) -> int:
        return self._at

    def drain(self) -> None:
        while self.read(CHUNK_BYTES):
            pass


@contextmanager
def _damage(subject: str, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    try:
        yield
    except kinds as problem:
        raise _refused(subject, f"it is damaged ({type(problem).__name__})") from problem


class _Names:
    """The members' names: each is checked, and stands there once."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.files: dict[str, None] = {}
        self._directories: set[str] = set()

    def take(self, member: tarfile.TarInfo) -> str:
        """Return the path of a file in its plainest form, and empty for a directory: files make theirs."""
        segments = [segment for segment in member.name.split("/") if segment != "."]
        name = "/".join(segments)
        if problem := _problem(member, name):
            raise self._refused(member, problem)
        if member.isdir():
            return ""
        parents = {"/".join(segments[:depth]) for depth in range(1, len(segments))}
        if name in self.files or name in self._directories or not parents.isdisjoint(self.files):
            raise self._refused(member, "stands there twice")
        self.files[name] = None
        self._directories |= parents
        return name

    def _refused(self, member: tarfile.TarInfo, problem: str) -> BadInput:
        return _refused(self._subject, f"its member {shorten(member.name)} {problem}")


def _problem(member: tarfile.TarInfo, name: str) -> str | None:
    # A sparse member is a plain file whose holes cost nothing in the archive and everything on the disk.
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.issparse():
        return "is neither a plain file nor a directory"
    if member.size < 0:
        return "has a size below zero"
    if not name:
        return None if member.isdir() else "has no name"
    if problem := segments_problem(name):
        return f"leads out or is malformed: {problem}"
    return "has a name too long for a file" if is_too_long(name) else None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    source = tar.extractfile(member)
    assert source is not None
    with source, writing(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("xb") as target:
            while chunk := source.read(CHUNK_BYTES):
                target.write(chunk)


def _refused(subject: str, problem: str) -> BadInput:
    return BadInput(
        f"{subject} is refused: {problem}",
        hint="pack plain files below relative names, for instance with: tar -C DIRECTORY -czf delta.tar.gz .",
    )
