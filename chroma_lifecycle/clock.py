"""Time and chance: the only module that asks the system for either."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from chroma_lifecycle.errors import NoTime


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> datetime:
        """Return the time of day in UTC, for people and for retention; never for ordering."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, for durations and deadlines."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()
_MORE_TIME = (
    "the batch comes again by itself; if it keeps happening, raise the function's timeout or memory, or lower "
    "the batch size"
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment after which no new step may begin.

    Attributes:
        at: On the clock's monotonic scale, in seconds; ``None`` for no deadline.
    """

    at: float | None = None
    clock: Clock = field(default=SYSTEM_CLOCK, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM_CLOCK) -> Deadline:
        return cls(clock.monotonic() + seconds, clock)

    def remaining_seconds(self) -> float:
        """Return the seconds that are left, infinity without a deadline, never below 0."""
        return float("inf") if self.at is None else max(0.0, self.at - self.clock.monotonic())

    def earlier(self, seconds: float) -> Deadline:
        """Return the deadline that leaves *seconds* for what comes after."""
        return self if self.at is None else replace(self, at=self.at - seconds)

    def go_on(self, step: str) -> None:
        """Refuse another part of *step* when the time is over.

        Raises:
            NoTime: It is.
        """
        if self.remaining_seconds() <= 0:
            raise NoTime(f"the time ended within {step}", hint=_MORE_TIME)

    def require(self, seconds: float, step: str) -> None:
        """Refuse to begin *step* unless *seconds* are left for it.

        Raises:
            NoTime: Less is left.
        """
        if (left := self.remaining_seconds()) < seconds:
            raise NoTime(
                f"{step} needs about {seconds:.1f} s and {left:.1f} s are left",
                hint=_MORE_TIME,
            )


ENDLESS = Deadline()


def wait_until(condition: Callable[[], bool], *, timeout_seconds: float, poll_seconds: float = 0.001) -> bool:
    """Return whether *condition* became true within the time-out; ask at once, then at each poll."""
    pause = threading.Event()
    end = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        pause.wait(poll_seconds)
    return True


def jitter(most_seconds: float) -> float:
    """Return a random number of seconds below *most_seconds*, so that those who met do not meet again."""
    return secrets.SystemRandom().uniform(0.0, most_seconds)


def pause(seconds: float) -> None:
    """Wait so long, if it is more than nothing."""
    if seconds > 0:
        threading.Event().wait(seconds)


def new_id() -> str:
    """Return a fresh random id: 16 lower-case hex digits."""
    return secrets.token_hex(8)
