"""Deltas in JSON Lines: one object a line, with the names of the Parquet columns; the first may hold marks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from chroma_lifecycle.deltas.allowance import Allowance
from chroma_lifecycle.deltas.checks import RawRows
from chroma_lifecycle.deltas.marks import DELTA, ORIGIN, Marks, decode_marks
from chroma_lifecycle.deltas.model import GROUP_BYTES, GROUP_ROWS
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import parse_json, shorten

MAX_LINE_BYTES = 8 << 20
NAMES = ("id", "embedding", "document", "metadata")


@dataclass(slots=True)
class _Group:
    """Records on their way into one `RawRows`."""

    ids: list[object] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    documents: list[object] = field(default_factory=list)
    metadatas: list[object] = field(default_factory=list)
    size: int = 0

    def full(self) -> bool:
        return len(self.ids) >= GROUP_ROWS or self.size >= GROUP_BYTES

    def raw(self) -> RawRows:
        numbers, lengths = np.array(self.numbers, np.float64), np.array(self.lengths, np.int64)
        return RawRows(self.ids, numbers, lengths, self.documents, self.metadatas)


def read_jsonl(path: Path, subject: str, refuse: Callable[[BadInput], None], allowance: Allowance) -> Iterator[RawRows]:
    """Yield the records of one file, unchecked; empty lines hold none.

    The form has no end mark: a file without marks that was cut off between two lines looks like a whole one.

    Args:
        refuse: Takes the error about a line that is no object of the known names; it raises it, or goes on.

    Raises:
        BadInput: A line is too long.
        NoTime: The deadline of *allowance* came first.
    """
    group = _Group()
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file, subject), 1):
            allowance.go_on()
            if line.strip() and not (number == 1 and _marks_in(line)):
                try:
                    _add(group, line, f"{subject}: line {number:,}")
                except BadInput as problem:
                    refuse(problem)
            if group.full():
                yield group.raw()
                group = _Group()
    if group.ids:
        yield group.raw()


def jsonl_marks(path: Path, subject: str) -> Marks:
    """Return what the first line says of the file, if it holds no record.

    Raises:
        BadInput: It says something that is no mark.
    """
    with path.open("rb") as file:
        return decode_marks(_marks_in(file.readline(MAX_LINE_BYTES)), subject)


def _marks_in(line: bytes) -> dict[str, object]:
    """Return the marks in a first line; none if it holds a record, or is none at all."""
    if DELTA.encode() not in line:
        return {}
    try:
        found = parse_json(line.decode())
    except ValueError:
        return {}
    return found if isinstance(found, dict) and DELTA in found and found.keys() <= {DELTA, ORIGIN} else {}


def _lines(file: BinaryIO, subject: str) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise _refused(f"{subject}: line {number:,}", f"is longer than {MAX_LINE_BYTES:,} bytes")
        yield line


def _add(group: _Group, line: bytes, subject: str) -> None:
    try:
        record = _record(parse_json(line.decode()))
        numbers = _numbers(record.get("embedding"))
    except UnicodeDecodeError as problem:
        raise _refused(subject, "is not UTF-8") from problem
    except ValueError as problem:
        raise _refused(subject, f"is refused: {problem}") from problem
    group.ids.append(record.get("id"))
    group.numbers.extend(numbers or ())
    group.lengths.append(-1 if numbers is None else len(numbers))
    group.documents.append(record.get("document"))
    group.metadatas.append(record.get("metadata"))
    group.size += len(line)


def _record(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - about data
    for name in value:
        if name not in NAMES:
            meant = difflib.get_close_matches(name, NAMES, n=1)
            guess = f"; did you mean {meant[0]!r}?" if meant else ""
            raise ValueError(f"{shorten(name)} is none of a delta's names{guess}; allowed: {', '.join(NAMES)}")
    return value


def _numbers(vector: object) -> list[float] | None:
    if vector is None:
        return None
    if not isinstance(vector, list) or not all(type(number) in (int, float) for number in vector):
        raise ValueError("'embedding' is no list of numbers")
    return [_float(number) for number in vector]


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf")  # found by the check of finite numbers, which names the record


def _refused(subject: str, problem: str) -> BadInput:
    return BadInput(f"{subject} {problem}", hint="write the delta again, under a new address")
