"""How much a delta may unpack to, and until when: a small file can say that it holds more than a day has room for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chroma_lifecycle.clock import ENDLESS, Deadline
from chroma_lifecycle.errors import BadInput

MAX_UNPACKED_BYTES = 8 << 30
ALWAYS_BYTES = 256 << 20
MOST_TIMES = 200
"""Vectors of a model hardly pack at all, and texts of people to a tenth."""


@dataclass(slots=True)
class Allowance:
    """What the files of one delta may unpack to together, and what they did so far.

    Attributes:
        subject: The delta, for messages.
        stored_bytes: Of its files.
        allowed_bytes: A number of a vector counts as four, a text as long as it is.
        deadline: When reading them has to end.
    """

    subject: str
    stored_bytes: int
    allowed_bytes: int
    deadline: Deadline = ENDLESS
    _claimed: int = 0
    _taken: int = 0

    @classmethod
    def of(cls, subject: str, sizes: Iterable[int], *, own: bool = False, deadline: Deadline = ENDLESS) -> Allowance:
        """Return what a delta may unpack to whose files have these *sizes*.

        Args:
            own: Whether this program packed it; then that it packs well is no sign of a bomb.
        """
        stored = sum(sizes)
        most = MAX_UNPACKED_BYTES if own else min(MAX_UNPACKED_BYTES, max(ALWAYS_BYTES, MOST_TIMES * stored))
        return cls(subject, stored, most, deadline)

    def go_on(self) -> None:
        """Refuse another part of the delta when the time is over.

        Raises:
            NoTime: It is.
        """
        self.deadline.go_on(f"reading {self.subject}")

    def claim(self, size_bytes: int) -> None:
        """Take note of what a file says that it holds, before it is decoded.

        Raises:
            BadInput: It is too much.
        """
        self._claimed += size_bytes
        self._require(self._claimed, "unpack to")

    def take(self, size_bytes: int) -> None:
        """Take note of what was decoded.

        Raises:
            BadInput: It is too much.
        """
        self._taken += size_bytes
        self._require(self._taken, "have unpacked to")

    def _require(self, found: int, verb: str) -> None:
        if found <= self.allowed_bytes:
            return
        raise BadInput(
            f"{self.subject}: its {self.stored_bytes:,} bytes {verb} {found:,} or more; "
            f"allowed: {self.allowed_bytes:,}",
            hint=f"write it as several deltas, each with a run of its own: one may unpack to {MAX_UNPACKED_BYTES:,} "
            f"bytes, and to more than {ALWAYS_BYTES:,} only if that is at most {MOST_TIMES} times what is stored",
        )
