"""Containers of the function, as processes that stay warm between invocations."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chroma_lifecycle.clock import SYSTEM_CLOCK
from dev.function import Answer
from dev.processes import end

ROOT = Path(__file__).parents[1]
_GRACE_SECONDS = 2.0


class Worker:
    """A process that calls the handler; one that died, or was ended by its time-out, is started anew.

    Args:
        environment: Of the process.
        log: Where its output goes.
        timeout_seconds: The function's time-out.
    """

    def __init__(self, environment: Mapping[str, str], log: Path, timeout_seconds: float = 60) -> None:
        self.log = log
        self.starts = 0
        self._environment = dict(environment)
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def invoke(self, event: Mapping[str, Any]) -> Answer:
        began = SYSTEM_CLOCK.monotonic()
        try:
            told = self._ask({"event": event, "seconds": self._timeout_seconds})
        except TimeoutError:
            self.kill()
            told = {"error": f"Task timed out after {self._timeout_seconds:.2f} seconds"}
        except OSError as problem:
            told = {"error": f"Runtime exited: {problem}"}
            self.kill()
        return Answer(told.get("payload"), told.get("error"), SYSTEM_CLOCK.monotonic() - began)

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """End the process as a crash would; the next invocation begins cold."""
        if self._process is not None and self._channel is not None:
            self._process.kill()
            self._process.wait()
            self._channel.close()
            self._process = self._channel = None

    def close(self) -> None:
        """Let the process finish what it does, and end it."""
        if self._process is not None and self._channel is not None:
            self._channel.close()
            end(self._process)
            self._process = self._channel = None

    def _ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        channel = self._started()
        # The function ends by itself in time; one that does not is ended a moment later, as Lambda does it.
        channel.settimeout(self._timeout_seconds + _GRACE_SECONDS)
        channel.sendall(json.dumps(asked).encode() + b"\n")
        with channel.makefile("rb") as answers:
            line = answers.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the process died")
        return dict(json.loads(line))

    def _started(self) -> socket.socket:
        if self._channel is None:
            ours, theirs = socket.socketpair()
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with theirs, self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "dev.worker", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    cwd=ROOT,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._channel = ours
            self.starts += 1
        return self._channel
