"""Where lines are written to: by a thread of its own, so that nobody who logs waits for whoever reads."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol


class Stream(Protocol):
    """What lines go to; standard output, usually."""

    def write(self, text: str, /) -> object:
        """Take a line, or hang, or raise."""
        ...

    def flush(self) -> object:
        """Pass on what was taken."""
        ...


PATIENCE_SECONDS = 0.2
"""How long the end of an invocation waits for its lines; Lambda freezes the process after it."""

CAPACITY = 1_000
"""Lines that wait to be written; those after them are dropped, and counted."""


class Sink:
    """Writes lines to a stream that may hang or fail: then lines are lost, and nothing else.

    The thread ends when there is nothing to write; one that hangs is not followed by another.

    Args:
        stream: Is used by that thread alone.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()
        self._writing = False
        self._hangs = False
        self.dropped = 0

    def write(self, line: str) -> None:
        """Have *line* written; return at once, and never raise."""
        with self._changed:
            if len(self._waiting) >= CAPACITY:
                self.dropped += 1
                return
            self._waiting.append(line)
            if self._writing:
                return
            self._writing = True
        try:
            threading.Thread(target=self._write, name="telemetry", daemon=True).start()
        except RuntimeError:  # no more threads: the line waits for a next one that finds some
            self._ended()

    # structlog's names for the same.
    msg = debug = info = warning = error = critical = write

    def settle(self) -> None:
        """Wait until every line is written, but not for a stream that was found hanging before."""
        with self._changed:
            self._hangs = not self._changed.wait_for(
                lambda: not self._writing, 0.0 if self._hangs else PATIENCE_SECONDS
            )

    def _write(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except Exception:  # noqa: BLE001  whatever a stream raises: the line is lost, and counted
                with self._changed:
                    self.dropped += 1

    def _next(self) -> str | None:
        with self._changed:
            if self._waiting:
                return self._waiting.popleft()
            self._ended()
            return None

    def _ended(self) -> None:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
