"""Log lines that cannot harm: what a logger raises is dropped where it is raised."""

from __future__ import annotations

from contextlib import suppress

import structlog


class Log:
    """What this library logs by: structlog, as whoever embeds the library configured it.

    Where nobody did, what went as it should is not told: structlog would print it among the program's own output.
    A handler that raises (a full disk, a processor with a defect) costs its line, never the cycle.
    One that hangs is a matter of where lines are written to: see ``handler/sink.py``.
    """

    def __init__(self, name: str) -> None:
        self._logger = structlog.get_logger(name)

    def say(self, level: str, event: str, **fields: object) -> None:
        """Write one line at *level*."""
        if level == "info" and not structlog.is_configured():
            return
        with suppress(Exception):  # the logger is the caller's, and so is what it raises
            getattr(self._logger, level)(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Say what happened as it should."""
        self.say("info", event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say what a person may want to look at."""
        self.say("warning", event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Say what a person must look at."""
        self.say("error", event, **fields)
