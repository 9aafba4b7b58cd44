"""Opening a delta: whatever its form, it becomes one local file of records that can all be applied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from chroma_lifecycle.clock import ENDLESS, Deadline, new_id
from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.archive import unpack
from chroma_lifecycle.deltas.checks import Checker, Expectation, RawRows
from chroma_lifecycle.deltas.disk import require_room, writing
from chroma_lifecycle.deltas.jsonl import jsonl_marks, read_jsonl
from chroma_lifecycle.deltas.listing import DATABASE, Form, Listed, list_delta, refused
from chroma_lifecycle.deltas.marks import Marks
from chroma_lifecycle.deltas.model import Delta
from chroma_lifecycle.deltas.parquet import parquet_marks, read_parquet
from chroma_lifecycle.deltas.problems import Problems
from chroma_lifecycle.deltas.records import RecordWriter
from chroma_lifecycle.deltas.sources import DeltaFile, RootedDeltas
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import shorten
from chroma_lifecycle.values import Digest

ReadChroma: TypeAlias = Callable[[Path, str, Path, str], None]
"""``read_chroma(directory, collection, to, subject)`` writes the records of one collection of the
Chroma *directory*, which is the reader's own to change, to the new Parquet file *to*; it raises
``BadInput`` about *subject* where it cannot."""


def open_delta(
    address: str,
    source: RootedDeltas,
    scratch: Path,
    expected: Expectation,
    read_chroma: ReadChroma | None = None,
    *,
    own: bool = False,
    deadline: Deadline = ENDLESS,
) -> Delta:
    """Return the delta at *address*, every record of it checked, in a file below *scratch*.

    Files are fetched and read in parts, so memory does not grow with vectors and documents; the
    ids are held. Two deltas never share a name below *scratch*; after an error nothing is left there.

    Args:
        own: Whether this program packed its files, out of deltas that were opened before.
        deadline: When reading has to end; *read_chroma* keeps its own.

    Raises:
        BadInput: There is no delta, or it cannot be applied whole; says which record and why.
        NoTime: *deadline* came first.
        StoreUnavailable: The source did not answer.
        NoRoom: The disk of *scratch* is too small.
    """
    listed = list_delta(address, source)
    with ExitStack() as undo:
        room = _make_room(listed, scratch, undo)
        delta = _normalise(listed, room, expected, read_chroma, own=own, deadline=deadline)
        undo.pop_all()
    return delta


def survey_delta(
    address: str,
    source: RootedDeltas,
    scratch: Path,
    expected: Expectation,
    read_chroma: ReadChroma | None = None,
    *,
    most: int,
) -> Survey:
    """Look through the whole delta at *address*, and say everything that `open_delta` would refuse.

    Args:
        most: How many problems are kept in words; the others are counted.

    Raises:
        BadInput: There is no delta, or it is of no form.
        StoreUnavailable: The source did not answer.
        NoRoom: The disk of *scratch* is too small.
    """
    listed = list_delta(address, source)
    found = Problems(most)
    checker = Checker.against(listed.subject, expected, found)
    with ExitStack() as undo:
        room = _make_room(listed, scratch, undo)
        for part in _parts(listed, room, expected.collection, checker, read_chroma):
            try:
                for rows in part:
                    checker.check(rows)
            except BadInput as problem:
                found.refuse(problem)
    return Survey(checker.records, found, None if found.total else checker.content_digest())


@dataclass(frozen=True, slots=True)
class Survey:
    """What a delta holds, sound or not.

    Attributes:
        records: How many could be read.
        digest: Of the content, if there is no problem.
    """

    records: int
    problems: Problems
    digest: Digest | None


def _make_room(listed: Listed, scratch: Path, undo: ExitStack) -> Path:
    """Return a new directory for a delta below *scratch*, which *undo* removes."""
    require_room(scratch, 2 * sum(file.size for file in listed.files), f"reading {listed.subject}")
    room = scratch / f"delta-{new_id()}"
    with writing(room):
        room.mkdir()
    undo.callback(shutil.rmtree, room, ignore_errors=True)
    return room


def fetch_chroma(address: str, source: RootedDeltas, scratch: Path) -> Path:
    """Return a private copy, below *scratch*, of the Chroma directory at *address* or in the archive there.

    Raises:
        BadInput: There is none, or it is refused.
        StoreUnavailable: The source did not answer.
        NoRoom: The disk of *scratch* is too small.
    """
    listed = list_delta(address, source)
    if listed.form not in (Form.CHROMA, Form.ARCHIVE):
        raise refused(address, f"it is neither a Chroma directory (with {DATABASE}) nor a .tar.gz of one")
    require_room(scratch, 2 * sum(file.size for file in listed.files), f"copying {listed.subject}")
    return _fetch_chroma(listed, scratch / f"fetched-{new_id()}")


def _normalise(
    listed: Listed, room: Path, expected: Expectation, read_chroma: ReadChroma | None, *, own: bool, deadline: Deadline
) -> Delta:
    path = room / "records.parquet"
    checker = Checker.against(listed.subject, expected)
    with writing(path), RecordWriter(path) as records:
        parts = _parts(listed, room, expected.collection, checker, read_chroma, own=own, deadline=deadline)
        for rows in chain.from_iterable(parts):
            records.add(checker.check(rows))
        digest = checker.content_digest()
        records.finish(digest)
    ids = tuple(checker.seen)
    part = room / "part"
    origin = _marks_of(listed, listed.files[0], part).origin if len(listed.files) == 1 else None
    with writing(room):
        part.unlink(missing_ok=True)
    return Delta(listed.place.address, digest, path, ids, checker.dimension if ids else None, origin)


def _parts(
    listed: Listed,
    room: Path,
    collection: str,
    checker: Checker,
    read_chroma: ReadChroma | None,
    *,
    own: bool = False,
    deadline: Deadline = ENDLESS,
) -> Iterator[Iterator[RawRows]]:
    """Yield the records of each file, to be read before the next one is asked for."""
    match listed.form:
        case Form.PARQUET | Form.JSONL:
            allowance = Allowance.of(listed.subject, (file.size for file in listed.files), own=own, deadline=deadline)
            for file in listed.files:
                yield _part(listed, file, room / "part", checker, allowance)
        case Form.CHROMA | Form.ARCHIVE:
            yield _from_chroma(listed, room, collection, read_chroma, deadline)


def _part(listed: Listed, file: DeltaFile, to: Path, checker: Checker, allowance: Allowance) -> Iterator[RawRows]:
    """Yield the records of one part, and check what it promises of itself."""
    subject = _subject(listed, file)
    checker.begin_part(subject)
    to.unlink(missing_ok=True)
    allowance.go_on()
    listed.fetch(file, to)
    marks = _marks_of(listed, file, to)
    if listed.form is Form.JSONL:
        yield from read_jsonl(to, subject, checker.refuse, allowance)
    else:
        yield from read_parquet(to, subject, allowance)
    if marks.content is not None and checker.part_is_whole and marks.content != checker.part_digest():
        raise BadInput(
            f"{subject}: its content is not what its writer put there",
            hint="write the delta again, under a new address",
        )


def _subject(listed: Listed, file: DeltaFile) -> str:
    return f"{listed.subject}, file {shorten(file.name)}" if file.name else listed.subject


def _marks_of(listed: Listed, file: DeltaFile, path: Path) -> Marks:
    """Return what a fetched file says of itself."""
    subject = _subject(listed, file)
    match listed.form:
        case Form.PARQUET:
            return parquet_marks(path, subject)
        case Form.JSONL:
            return jsonl_marks(path, subject)
        case Form.CHROMA | Form.ARCHIVE:
            return Marks()


def _fetch_chroma(listed: Listed, to: Path, deadline: Deadline = ENDLESS) -> Path:
    """Return a private copy of the delta's Chroma directory."""
    if listed.form is Form.ARCHIVE:
        packed = listed.fetch(listed.files[0], to.with_name("packed"))
        names = unpack(packed, to, listed.subject, deadline=deadline)
        packed.unlink()
        return to / _home(listed, names)
    for file in listed.files:
        deadline.go_on(f"reading {listed.subject}")
        with writing(to):
            (to / file.name).parent.mkdir(parents=True, exist_ok=True)
        listed.fetch(file, to / file.name)
    return to


def _home(listed: Listed, names: Sequence[str]) -> str:
    """Return the one directory of an archive that holds a database."""
    homes = [name.removesuffix(DATABASE) for name in names if name.rpartition("/")[2] == DATABASE]
    if len(homes) != 1:
        raise refused(listed.place.address, f"the archive holds {len(homes)} files {DATABASE}; one is needed")
    return homes[0]


def _from_chroma(
    listed: Listed, room: Path, collection: str, read_chroma: ReadChroma | None, deadline: Deadline
) -> Iterator[RawRows]:
    subject, to = listed.subject, room / "part"
    directory = _fetch_chroma(listed, room / "fetched", deadline)
    if read_chroma is None:
        raise BadInput(f"{subject} is a Chroma directory, which nothing here reads", hint="deliver it as Parquet")
    read_chroma(directory, collection, to, subject)
    shutil.rmtree(directory, ignore_errors=True)
    yield from read_parquet(to, subject, Allowance.of(subject, [to.stat().st_size], own=True, deadline=deadline))
