"""Opening a delta: whatever its form, it becomes one local file of records that can all be applied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from chroma_lifecycle.clock import new_id
from chroma_lifecycle.deltas.addresses import Place, segments_problem
from chroma_lifecycle.deltas.archive import unpack
from chroma_lifecycle.deltas.checks import Checker, Expectation, RawRows
from chroma_lifecycle.deltas.disk import require_room, writing
from chroma_lifecycle.deltas.jsonl import read_jsonl
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.parquet import promised_content, read_parquet
from chroma_lifecycle.deltas.records import RecordWriter
from chroma_lifecycle.deltas.sources import DeltaFile, DeltaSource, RootedDeltas, missing
from chroma_lifecycle.errors import BadInput, StoreUnavailable
from chroma_lifecycle.intake.json_text import shorten

MAX_FILES = 10_000
MAX_DELTA_BYTES = 8 << 30
DATABASE = "chroma.sqlite3"

ReadChroma: TypeAlias = Callable[[Path, str, Path, str], None]
"""``read_chroma(directory, collection, to, subject)`` writes the records of one collection of the
Chroma *directory*, which is the reader's own to change, to the new Parquet file *to*; it raises
``BadInput`` about *subject* where it cannot."""


class Form(StrEnum):
    """How a delta is written."""

    PARQUET = "Parquet"
    JSONL = "JSON Lines"
    CHROMA = "Chroma directory"
    ARCHIVE = "tar.gz of a Chroma directory"


@dataclass(frozen=True, slots=True)
class _Listed:
    """A delta as it lies in its source."""

    place: Place
    source: DeltaSource
    form: Form
    files: tuple[DeltaFile, ...]

    @property
    def subject(self) -> str:
        return f"delta {self.place.address!r}"

    def fetch(self, file: DeltaFile, to: Path) -> Path:
        self.source.fetch(self.place, file, to)
        if to.stat().st_size != file.size:
            raise StoreUnavailable(
                f"{self.subject}: {shorten(file.name)} changed while it was read",
                hint="the message comes again by itself; announce a delta only when it is complete",
            )
        return to


def open_delta(
    address: str, source: RootedDeltas, scratch: Path, expected: Expectation, read_chroma: ReadChroma | None = None
) -> Delta:
    """Return the delta at *address*, every record of it checked, in a file below *scratch*.

    Files are fetched and read in parts, so memory does not grow with vectors and documents; the
    ids are held. Two deltas never share a name below *scratch*; after an error nothing is left there.

    Raises:
        BadInput: There is no delta, or it cannot be applied whole; says which record and why.
        StoreUnavailable: The source did not answer.
        NoRoom: The disk of *scratch* is too small.
    """
    listed = _list(address, source)
    require_room(scratch, 2 * sum(file.size for file in listed.files), f"reading {listed.subject}")
    room = scratch / f"delta-{new_id()}"
    with ExitStack() as undo:
        with writing(room):
            room.mkdir()
        undo.callback(shutil.rmtree, room, ignore_errors=True)
        delta = _normalise(listed, room, expected, read_chroma)
        undo.pop_all()
    return delta


def fetch_chroma(address: str, source: RootedDeltas, scratch: Path) -> Path:
    """Return a private copy, below *scratch*, of the Chroma directory at *address* or in the archive there.

    Raises:
        BadInput: There is none, or it is refused.
        StoreUnavailable: The source did not answer.
        NoRoom: The disk of *scratch* is too small.
    """
    listed = _list(address, source)
    if listed.form not in (Form.CHROMA, Form.ARCHIVE):
        raise _refused(address, f"it is neither a Chroma directory (with {DATABASE}) nor a .tar.gz of one")
    require_room(scratch, 2 * sum(file.size for file in listed.files), f"copying {listed.subject}")
    return _fetch_chroma(listed, scratch / f"fetched-{new_id()}")


def form_of(address: str, source: RootedDeltas) -> Form:
    """Return the form of the delta at *address*, by the names of its files.

    Raises:
        BadInput: There is no delta, or it is refused.
        StoreUnavailable: The source did not answer.
    """
    return _list(address, source).form


def _list(address: str, source: RootedDeltas) -> _Listed:
    place, of_root = source.locate(address)
    files = _without_markers(of_root.list(place))
    if not files:
        raise missing(place)
    if len(files) > MAX_FILES:
        raise _refused(address, f"it has more than {MAX_FILES:,} files")
    if (size := sum(file.size for file in files)) > MAX_DELTA_BYTES:
        raise _refused(address, f"it has {size:,} bytes; allowed: {MAX_DELTA_BYTES:,}")
    for file in files:
        # S3 keeps any name; here it becomes a path.
        if file.name and (problem := segments_problem(file.name)):
            raise _refused(address, f"its file {shorten(file.name)} is refused: {problem}")
    return _Listed(place, of_root, *_recognise(place, files))


def _without_markers(files: Sequence[DeltaFile]) -> list[DeltaFile]:
    """Leave out what only marks something: ``_SUCCESS``, ``.part.crc``, the empty objects that stand for folders."""
    return [
        file
        for file in files
        if not file.name.endswith("/")
        and not file.name.rpartition("/")[2].startswith(("_", "."))
        and (file.name or file.size or len(files) == 1)
    ]


def _recognise(place: Place, files: Sequence[DeltaFile]) -> tuple[Form, tuple[DeltaFile, ...]]:
    names = [file.name for file in files]
    if "" in names and len(names) > 1:
        raise _refused(place.address, "there is both a file of this name and a directory")
    if DATABASE in names:
        return Form.CHROMA, tuple(files)
    names = [name or place.path for name in names]
    forms = {_form_of(name) for name in names}
    if len(forms) == 1 and (form := forms.pop()) and (form is not Form.ARCHIVE or len(files) == 1):
        return form, tuple(files)
    raise _refused(
        place.address,
        f"{len(files)} files beginning with {shorten(names[0])} are no form of delta; allowed: .parquet files, "
        f".jsonl files, a Chroma directory (with {DATABASE}), or one .tar.gz of such a directory",
    )


def _form_of(name: str) -> Form | None:
    lower = name.lower()
    if lower.endswith((".tar.gz", ".tgz")):
        return Form.ARCHIVE
    return {"parquet": Form.PARQUET, "jsonl": Form.JSONL}.get(lower.rpartition(".")[2])


def _normalise(listed: _Listed, room: Path, expected: Expectation, read_chroma: ReadChroma | None) -> Delta:
    path = room / "records.parquet"
    checker = Checker.against(listed.subject, expected)
    with writing(path), RecordWriter(path) as records:
        for rows in _raw(listed, room, expected.collection, checker, read_chroma):
            records.add(checker.check(rows))
        digest = checker.content_digest()
        records.finish(digest)
    ids = tuple(checker.seen)
    return Delta(listed.place.address, digest, path, ids, checker.dimension if ids else None)


def _raw(
    listed: _Listed, room: Path, collection: str, checker: Checker, read_chroma: ReadChroma | None
) -> Iterator[RawRows]:
    match listed.form:
        case Form.PARQUET | Form.JSONL:
            for file in listed.files:
                yield from _part(listed, file, room / "part", checker)
        case Form.CHROMA | Form.ARCHIVE:
            fetched = _fetch_chroma(listed, room / "fetched")
            yield from _from_chroma(listed.subject, fetched, room / "part", collection, read_chroma)


def _part(listed: _Listed, file: DeltaFile, to: Path, checker: Checker) -> Iterator[RawRows]:
    """Yield the records of one part, and check what it promises of itself."""
    subject = f"{listed.subject}, file {shorten(file.name)}" if file.name else listed.subject
    checker.begin_part(subject)
    listed.fetch(file, to)
    if listed.form is Form.JSONL:
        yield from read_jsonl(to, subject)
    else:
        promised = promised_content(to, subject)
        yield from read_parquet(to, subject)
        if promised is not None and promised != checker.part_digest():
            raise BadInput(
                f"{subject}: its content is not what its writer put there",
                hint="write the delta again, under a new address",
            )
    to.unlink()


def _fetch_chroma(listed: _Listed, to: Path) -> Path:
    """Return a private copy of the delta's Chroma directory."""
    if listed.form is Form.ARCHIVE:
        packed = listed.fetch(listed.files[0], to.with_name("packed"))
        names = unpack(packed, to, listed.subject)
        packed.unlink()
        return to / _home(listed, names)
    for file in listed.files:
        with writing(to):
            (to / file.name).parent.mkdir(parents=True, exist_ok=True)
        listed.fetch(file, to / file.name)
    return to


def _home(listed: _Listed, names: Sequence[str]) -> str:
    """Return the one directory of an archive that holds a database."""
    homes = [name.removesuffix(DATABASE) for name in names if name.rpartition("/")[2] == DATABASE]
    if len(homes) != 1:
        raise _refused(listed.place.address, f"the archive holds {len(homes)} files {DATABASE}; one is needed")
    return homes[0]


def _from_chroma(
    subject: str, directory: Path, to: Path, collection: str, read_chroma: ReadChroma | None
) -> Iterator[RawRows]:
    if read_chroma is None:
        raise BadInput(f"{subject} is a Chroma directory, which nothing here reads", hint="deliver it as Parquet")
    read_chroma(directory, collection, to, subject)
    shutil.rmtree(directory, ignore_errors=True)
    yield from read_parquet(to, subject)


def _refused(address: str, problem: str) -> BadInput:
    return BadInput(
        f"delta {address!r} is refused: {problem}", hint="write the delta again in a known form, under a new address"
    )
