"""Where the time of a cycle goes, by phase; and who else is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

from chroma_lifecycle.clock import Clock

Trace: TypeAlias = Callable[[str, str], AbstractContextManager[object]]
"""Surrounds a phase for whoever wants to see where time goes; it is given the collection and the phase, and
must not raise."""


def untraced(_collection: str, _phase: str) -> AbstractContextManager[object]:
    """Trace nothing."""
    return nullcontext()


class Phases:
    """The seconds that one collection's cycle has spent, by phase.

    Attributes:
        seconds: So far; a phase that came again counts all of them.
    """

    def __init__(self, clock: Clock, trace: Trace, collection: str) -> None:
        self._clock = clock
        self._trace = trace
        self._collection = collection
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count the time of the block for a phase, whatever becomes of it."""
        began = self._clock.monotonic()
        try:
            with self._trace(self._collection, name):
                yield
        finally:
            self._add(name, self._clock.monotonic() - began)

    @contextmanager
    def counted_as(self, name: str, *, within: str) -> Iterator[None]:
        """Count the time for another phase than the one that it is spent in, which is what a trace shows."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            seconds = self._clock.monotonic() - began
            self._add(within, -seconds)
            self._add(name, seconds)

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def milliseconds(self) -> dict[str, int]:
        """The same, for a manifest."""
        return {name: round(seconds * 1_000) for name, seconds in self.seconds.items()}
