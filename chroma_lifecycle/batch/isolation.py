"""Finding the few messages of a batch that spoil it, by trying parts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from chroma_lifecycle.errors import BadInput, Corrupt, LifecycleError, NoTime


class Refused(Exception):
    """Chroma did not take what it was given, for a reason that no check foresaw."""

    def __init__(self, problem: LifecycleError) -> None:
        super().__init__(problem.message)
        self.problem = problem


@contextmanager
def refusals() -> Iterator[None]:
    """Tell what Chroma refuses, or fails at, from what would go wrong with any data.

    Raises:
        Refused: It did.
    """
    try:
        yield
    except (BadInput, Corrupt) as problem:
        raise Refused(problem) from problem


TRIALS = 32
"""How many parts of a batch are tried: enough for one message of any batch, or for two of a thousand."""

Try: TypeAlias = Callable[[Sequence[str]], LifecycleError | None]
"""Tries some messages together: returns why they are refused, or ``None`` if they are not; may raise ``NoTime``."""


@dataclass
class Isolated:
    """What trials found.

    Attributes:
        sound: Messages that are taken together.
        refused: Messages that are refused beside the sound ones, and why.
        untried: Messages about which nothing is known: trials or time came to an end.
    """

    sound: list[str] = field(default_factory=list)
    refused: dict[str, LifecycleError] = field(default_factory=dict)
    untried: list[str] = field(default_factory=list)


def isolate(sources: Sequence[str], problem: LifecycleError, attempt: Try, *, trials: int = TRIALS) -> Isolated:
    """Find which of *sources*, which were refused together, are refused.

    Parts are tried together with what was found sound before, since what spoils a batch can be
    the company. One message takes as many trials as the batch has halvings.

    Args:
        sources: All of them.
        problem: Why they were refused together.
        attempt: Tries some of them.
        trials: How often it may be called.
    """
    search = _Search(attempt, trials)
    search.split(sources, problem)
    return search.found


class _Search:
    def __init__(self, attempt: Try, trials: int) -> None:
        self.found = Isolated()
        self._attempt = attempt
        self._left = trials

    def split(self, part: Sequence[str], problem: LifecycleError) -> None:
        """Search in *part*, which was refused together with what is sound."""
        if len(part) == 1:
            self.found.refused[part[0]] = problem
            return
        middle = len(part) // 2
        before = len(self.found.sound)
        self._take(part[:middle])
        if len(self.found.sound) == before + middle:
            # All of the first half is sound, so the offender is in the second: no need to ask.
            self.split(part[middle:], problem)
        else:
            self._take(part[middle:])

    def _take(self, part: Sequence[str]) -> None:
        if self._left == 0:
            self.found.untried += part
            return
        self._left -= 1
        try:
            problem = self._attempt([*self.found.sound, *part])
        except NoTime:
            self._left = 0
            self.found.untried += part
            return
        if problem is None:
            self.found.sound += part
        else:
            self.split(part, problem)
