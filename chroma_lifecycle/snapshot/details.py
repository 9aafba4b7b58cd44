"""What the publisher of a version knows about it, beside its files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from chroma_lifecycle.snapshot.fields import Fields
from chroma_lifecycle.values import Digest, parse_digest

SPACES = ("cosine", "l2", "ip")

_MOST = 1 << 53
_LARGEST_DIMENSION = 1 << 20
_ACTION = re.compile(r"[a-z][a-z-]{0,31}")


@dataclass(frozen=True, slots=True)
class Summary:
    """What changed since the parent, for `log`.

    Attributes:
        action: What made the version, in one word: init, compact, rollback, rebase ...
        added: Records that were not there before.
        changed: Records that were there before and were written.
        removed: Records that are no longer there.
        applied: Changes that moved a fact.
    """

    action: str
    added: int = 0
    changed: int = 0
    removed: int = 0
    applied: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What the version holds.

    Attributes:
        records: Records of the collection.
        facts: Facts of the ledger.
        withheld: Facts that a rollback withholds.
        tail: Vector operations that every reader replays when it opens the directory.
        elements: Elements in the HNSW files, those of deleted records too.
        free_bytes: Of the database: pages that hold nothing (any more).
    """

    records: int
    facts: int
    withheld: int = 0
    tail: int = 0
    elements: int = 0
    free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ChromaVersion:
    """Which Chroma wrote the directory; migrations are one-way, so what a newer one wrote is refused."""

    version: str
    migrations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Details:
    """What the publisher of a version knows about it.

    Attributes:
        mapping: Digest of the mapping that was in force; ``None`` if none was.
        verified: Whether the full quick check ran on exactly these bytes.
        milliseconds: How long the phases of the cycle took, up to the publishing.
    """

    summary: Summary
    counts: Counts
    chroma: ChromaVersion
    dimension: int
    space: str
    mapping: Digest | None = None
    verified: bool = False
    milliseconds: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _ACTION.fullmatch(self.summary.action):
            raise ValueError(f"an action is one word in lower case, got {self.summary.action!r}")
        if self.space not in SPACES:
            raise ValueError(f"a space is one of {', '.join(SPACES)}, got {self.space!r}")
        if not 0 < self.dimension <= _LARGEST_DIMENSION:
            raise ValueError(f"a dimension is a number from 1 to {_LARGEST_DIMENSION}, got {self.dimension}")


def encode_details(details: Details) -> dict[str, object]:
    """Return the part of a manifest that holds *details*, ready for JSON."""
    return asdict(details)


def decode_details(fields: Fields) -> Details:
    """Return the details that *fields* hold.

    Raises:
        Corrupt: A field is missing, unknown or out of bounds.
        ValueError: The fields contradict one another.
    """
    summary, counts, chroma = fields.object("summary"), fields.object("counts"), fields.object("chroma")
    details = Details(
        Summary(summary.text("action", longest=32), *_numbers(summary, "added", "changed", "removed", "applied")),
        Counts(*_numbers(counts, "records", "facts", "withheld", "tail", "elements", "free_bytes")),
        ChromaVersion(chroma.text("version", longest=64), _texts(chroma, "migrations")),
        fields.integer("dimension", 1, _LARGEST_DIMENSION),
        fields.text("space", longest=16),
        fields.parsed("mapping", lambda text: None if text is None else parse_digest(text)),
        fields.flag("verified"),
        fields.numbers("milliseconds", _MOST, limit=32),
    )
    for part in (summary, counts, chroma, fields):
        part.done()
    return details


def _numbers(fields: Fields, *names: str) -> list[int]:
    return [fields.integer(name, 0, _MOST) for name in names]


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    texts = fields.items(name, limit=1_000)
    return tuple(text for text in texts if isinstance(text, str) and len(text) <= 256)
