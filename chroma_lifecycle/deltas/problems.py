"""All that is wrong with a delta: counted by kind, and as many in words as a person reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chroma_lifecycle.errors import BadInput

FILE = "file"
"""The kind of what cannot be read at all: a line, or the rest of a file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: Of what: id, vector, document, metadata, file.
        text: Where, and what is wrong; never a value.
        record: The number of the record in its file, from 1; ``None`` if it is about none.
    """

    kind: str
    text: str
    record: int | None = None


@dataclass(slots=True)
class Problems:
    """What was found so far.

    Attributes:
        most: How many are kept in words.
        counts: How many there are of each kind.
        listed: The first of them.
    """

    most: int
    counts: Counter[str] = field(default_factory=Counter)
    listed: list[Problem] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def add(self, problem: Problem) -> None:
        """Count one more."""
        self.counts[problem.kind] += 1
        if len(self.listed) < self.most:
            self.listed.append(problem)

    def refuse(self, problem: BadInput) -> None:
        """Count what could not be read."""
        self.add(Problem(FILE, problem.message))
