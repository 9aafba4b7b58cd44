"""What lies at a delta's address: its files, refused or of one known form; nothing is read yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chroma_lifecycle.deltas.addresses import Place, is_too_long, segments_problem
from chroma_lifecycle.deltas.sources import DeltaFile, DeltaSource, RootedDeltas, missing
from chroma_lifecycle.errors import BadInput, StoreUnavailable
from chroma_lifecycle.intake.json_text import shorten

MAX_FILES = 10_000
MAX_DELTA_BYTES = 8 << 30
DATABASE = "chroma.sqlite3"


class Form(StrEnum):
    """How a delta is written."""

    PARQUET = "Parquet"
    JSONL = "JSON Lines"
    CHROMA = "Chroma directory"
    ARCHIVE = "tar.gz of a Chroma directory"


@dataclass(frozen=True, slots=True)
class Listed:
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


def list_delta(address: str, source: RootedDeltas) -> Listed:
    """Return the files of the delta at *address*, and its form by their names.

    Raises:
        BadInput: There is no delta, or it is refused.
        StoreUnavailable: The source did not answer.
    """
    place, of_root = source.locate(address)
    files = _without_markers(of_root.list(place))
    if not files:
        raise missing(place)
    if len(files) > MAX_FILES:
        raise refused(address, f"it has more than {MAX_FILES:,} files")
    if (size := sum(file.size for file in files)) > MAX_DELTA_BYTES:
        raise refused(address, f"it has {size:,} bytes; allowed: {MAX_DELTA_BYTES:,}")
    for file in files:
        # S3 keeps any name; here it becomes a path.
        if file.name and (problem := segments_problem(file.name)):
            raise refused(address, f"its file {shorten(file.name)} is refused: {problem}")
    return Listed(place, of_root, *_recognise(place, files))


def list_data_set(address: str, source: RootedDeltas) -> tuple[DeltaFile, ...]:
    """Return the Parquet files at *address*, which may be of any size together, in order of name.

    Raises:
        BadInput: There is none, there are too many, or there is something else.
        StoreUnavailable: The source did not answer.
    """
    place, of_root = source.locate(address)
    files = _without_markers(of_root.list(place))
    if not files:
        raise BadInput(f"there is no data set at {address!r}", hint="give a directory or prefix of Parquet files")
    if len(files) > MAX_FILES:
        raise BadInput(
            f"data set {address!r} has more than {MAX_FILES:,} files", hint="write it in fewer, larger files"
        )
    for file in files:
        problem = segments_problem(file.name) if file.name else None
        if problem or _form_of(file.name or place.path) is not Form.PARQUET:
            which = f": its file {shorten(file.name)}" if file.name else ""
            raise BadInput(
                f"data set {address!r}{which} is refused: {problem or 'it is no .parquet'}",
                hint="leave nothing but the data set there; `delta convert` makes Parquet of other deltas",
            )
    return tuple(sorted(files, key=lambda file: file.name))


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
        raise refused(place.address, "there is both a file of this name and a directory")
    if DATABASE in names:
        _require_local_names(place, names)
        return Form.CHROMA, tuple(files)
    names = [name or place.path for name in names]
    forms = {_form_of(name) for name in names}
    if len(forms) == 1 and (form := forms.pop()) and (form is not Form.ARCHIVE or len(files) == 1):
        return form, tuple(files)
    raise refused(
        place.address,
        f"{len(files)} files beginning with {shorten(names[0])} are no form of delta; allowed: .parquet files, "
        f".jsonl files, a Chroma directory (with {DATABASE}), or one .tar.gz of such a directory",
    )


def _require_local_names(place: Place, names: Sequence[str]) -> None:
    """Refuse names that cannot all be files below one directory; a bucket keeps any of them."""
    known = set(names)
    for name in names:
        segments = name.split("/")
        if is_too_long(name):
            raise refused(place.address, f"its file {shorten(name)} has a name too long for a file")
        if not known.isdisjoint("/".join(segments[:depth]) for depth in range(1, len(segments))):
            raise refused(place.address, f"its file {shorten(name)} lies below a name that is a file, too")


def _form_of(name: str) -> Form | None:
    lower = name.lower()
    if lower.endswith((".tar.gz", ".tgz")):
        return Form.ARCHIVE
    return {"parquet": Form.PARQUET, "jsonl": Form.JSONL}.get(lower.rpartition(".")[2])


def refused(address: str, problem: str) -> BadInput:
    """Return the error for a delta that is none."""
    return BadInput(
        f"delta {address!r} is refused: {problem}", hint="write the delta again in a known form, under a new address"
    )
