"""Identifiers and measures, as frozen values with ``parse``, ``__str__`` and a refusal."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NewType, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(cls: type[T]) -> type[T]:
    """Make *cls* a frozen value of which a batch makes thousands.

    That nobody assigns to it is held by the type checker alone: a dataclass that refuses it at run time takes
    five times as long to be made, and what a message becomes is a dozen of them.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


LARGEST_VERSION = (1 << 64) - 1
"""As many as 16 hex digits can number."""

Digest = NewType("Digest", str)
"""A SHA-256 as 64 lower-case hex digits."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{16}")
# What Chroma accepts: 3 to 512 of these, a letter or digit first and last.
_COLLECTION = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")


def digest_of(data: bytes | bytearray | memoryview) -> Digest:
    """Return the SHA-256 of *data*."""
    return Digest(hashlib.sha256(data).hexdigest())


def parse_digest(text: object) -> Digest:
    """Return *text* as a digest.

    Raises:
        ValueError: It is not 64 lower-case hex digits.
    """
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise ValueError(f"a digest must be 64 lower-case hex digits, got {text!r}")
    return Digest(text)


def parse_id(text: object) -> str:
    """Return *text* as a random id (a lineage, a write id, a swap id).

    Raises:
        ValueError: It is not 16 lower-case hex digits.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise ValueError(f"an id must be 16 lower-case hex digits, got {text!r}")
    return text


def parse_collection(text: object) -> str:
    """Return *text* as the name of a collection.

    Raises:
        ValueError: Chroma would refuse the name, or it could not be part of an object's name.
    """
    if not isinstance(text, str) or not _COLLECTION.fullmatch(text) or ".." in text:
        raise ValueError(
            f"a collection's name must be 3 to 512 of a-z A-Z 0-9 . _ -, letter or digit first and last, got {text!r}"
        )
    return text


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Place of a snapshot in its lineage; the first is 1. It identifies nothing by itself."""

    number: int

    def __post_init__(self) -> None:
        if not 0 < self.number <= LARGEST_VERSION:
            raise ValueError(f"a version is a number from 1 to {LARGEST_VERSION}, got {self.number}")

    def __str__(self) -> str:
        # Fixed width, so that a listing by name is also the order of publication.
        return f"{self.number:016x}"

    @classmethod
    def parse(cls, text: str) -> Version:
        if not _ID.fullmatch(text):
            raise ValueError(f"a version must be 16 lower-case hex digits, got {text!r}")
        return cls(int(text, 16))

    def next(self) -> Version:
        return Version(self.number + 1)


@dataclass(frozen=True, slots=True)
class Era:
    """What may be named again without uploading it again: a lineage, and its sweeps so far."""

    lineage: str
    sweeps: int

    def __str__(self) -> str:
        return f"{self.lineage}.{self.sweeps}"

    @classmethod
    def parse(cls, text: str) -> Era:
        lineage, dot, sweeps = text.partition(".")
        if not dot or not re.fullmatch(r"0|[1-9][0-9]{0,18}", sweeps):
            raise ValueError(f"an era must be <lineage>.<sweeps>, got {text!r}")
        return cls(parse_id(lineage), int(sweeps))


class ItemKey(NamedTuple):
    """The key of a table item, in plain text; ``sort`` is empty if the table has no sort key."""

    partition: str
    sort: str = ""


class Ordering(StrEnum):
    """How positions of different items are compared (see the mapping language)."""

    EXACT = "exact"
    TO_THE_SECOND = "to_the_second"


_ADOPTED, _FLAT, _STREAM = range(3)
_POSITION = re.compile(r"adopted(?: ([+-]\d+))?|flat (-?\d+) ([0-9a-f]{64})|stream (\S*) (\d+) (\d+)", re.ASCII)


@value_class
class Position:
    """Where a change stands in the one total order; arrival never decides.

    Attributes:
        order: Compares two positions of one item, and of any two items in exact ordering.
            An adopted snapshot is older than everything, a message without a sequence
            older than every stream record.
        created_seconds: When the change was made (ApproximateCreationDateTime, which is
            exact to one second); it is no part of equality.
    """

    order: tuple[int, str, int, str]
    created_seconds: int = field(default=0, compare=False)

    @classmethod
    def of_stream(cls, label: str, sequence: int, created_seconds: int) -> Position:
        """Return the position of a stream record: its stream's label, its SequenceNumber."""
        return cls((_STREAM, label, sequence, ""), created_seconds)

    @classmethod
    def of_message(cls, timestamp_microseconds: int, digest: Digest) -> Position:
        """Return the position of a message without a sequence: its time in UTC, its content."""
        return cls((_FLAT, "", timestamp_microseconds, digest), timestamp_microseconds // 1_000_000)

    def among(self, ordering: Ordering, item: ItemKey) -> tuple[object, ...]:
        """Return what compares this position of *item* with positions of other items."""
        kind, label, sequence, _ = self.order
        if ordering is Ordering.EXACT or kind != _STREAM:
            return (*self.order, item.partition, item.sort)
        return (kind, label, self.created_seconds, sequence, item.partition, item.sort)

    @property
    def stream(self) -> str:
        """The label of its stream; empty for what comes from none."""
        return self.order[1]

    def comes_from_a_stream_left_before(self, other: Position) -> bool:
        """Return whether this is of an older stream than *other*, and was made after it.

        Of one table's streams that cannot be: the newer one begins when the older one has ended.
        """
        (kind, label, *_), (other_kind, other_label, *_) = self.order, other.order
        return kind == other_kind == _STREAM and label < other_label and self.created_seconds > other.created_seconds

    def just_after(self) -> Position:
        """Return the next position: what is placed by what is known of others, and not by its own event."""
        kind, label, sequence, digest = self.order
        return Position((kind, label, sequence + 1, digest), self.created_seconds)

    def __lt__(self, other: Position) -> bool:
        return self.order < other.order

    def __le__(self, other: Position) -> bool:
        return self.order <= other.order

    def __str__(self) -> str:
        kind, label, sequence, digest = self.order
        if kind == _ADOPTED:
            return f"adopted {sequence:+d}" if sequence else "adopted"
        return f"flat {sequence} {digest}" if kind == _FLAT else f"stream {label} {sequence} {self.created_seconds}"

    @classmethod
    def parse(cls, text: str) -> Position:
        match = _POSITION.fullmatch(text)
        if not match:
            raise ValueError(f"not a position: {text!r}")
        if text.startswith("adopted"):
            return cls((_ADOPTED, "", int(match[1] or 0), ""))
        if match[2] is not None:
            return cls.of_message(int(match[2]), Digest(match[3]))
        return cls.of_stream(match[4], int(match[5]), int(match[6]))


ADOPTED = Position((_ADOPTED, "", 0, ""))
"""Older than every change: the position of records that `init --from` found."""

BACKFILLED = Position((_ADOPTED, "", -2, ""))
"""Older still: of runs that are older than the snapshot. One place is left before ADOPTED, for a removal after them."""

Scalar = str | int | float | bool
"""A metadata value as every supported Chroma takes it."""
