"""Programs that run beside this one, and end before it does."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from chroma_lifecycle.clock import wait_until

LOCALHOST = "127.0.0.1"


class Missing(Exception):
    """This machine lacks something, and the message says what and how to get it."""


def require(program: str, *, where_from: str) -> str:
    """Return the path of a program.

    Raises:
        Missing: It is not there.
    """
    if (found := shutil.which(program)) is None:
        raise Missing(f"{program} is not on this machine: {where_from}")
    return found


def free_port(host: str = LOCALHOST) -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as asked:
        asked.bind((host, 0))
        return int(asked.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the background, its output in *log*, until this ends.

    It has a session of its own: Ctrl-C in the terminal reaches this process alone, which then ends
    the others in their order. Where Linux can be asked for it, it also ends when this process is killed.
    """
    bound = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*bound, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
            start_new_session=True,
        )
        process.args = command  # what it is called by in messages
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes], *, patience_seconds: float = 10) -> None:
    """Ask a process to end, and insist after a while."""
    process.terminate()
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_http(url: str, process: subprocess.Popen[bytes], log: Path, *, seconds: float = 60) -> None:
    """Wait until a server that was just started answers.

    Raises:
        Missing: It ended, or does not answer in time; the end of its log is told.
    """
    wait_until(lambda: process.poll() is not None or _answers(url), timeout_seconds=seconds, poll_seconds=0.05)
    if process.poll() is not None or not _answers(url):
        state = "does not answer" if process.poll() is None else f"ended with {process.returncode}"
        told = "\n".join(log.read_text("utf-8", "replace").splitlines()[-5:])
        raise Missing(f"{Path(process.args[0]).name} {state} (see {log}):\n{told}")  # type: ignore[index,arg-type]


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True  # it speaks HTTP, and that is all that was asked
    except (OSError, http.client.HTTPException):
        return False
    return True
