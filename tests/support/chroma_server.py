"""A real Chroma server (`chroma run`) on a free port, and a door before it that wants a token."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import chromadb
import httpx
from chromadb.config import Settings

from chroma_lifecycle.clock import wait_until


@dataclass
class Server:
    """A running server."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """Return a plain client, as people connect."""
        return chromadb.HttpClient("127.0.0.1", self.port, settings=Settings(anonymized_telemetry=False))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


_PORTS = 5
"""How many are tried: a free one may be taken before the server has it."""


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v2/heartbeat", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def chroma_server(home: Path) -> Iterator[Server]:
    """Run a server that keeps its data below *home*."""
    program = Path(sys.executable).with_name("chroma")
    # It ends with whoever started it, a test run that was killed included.
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    command = [*bound, program, "run", "--path", home, "--host", "127.0.0.1", "--port"]
    said = b""
    for _ in range(_PORTS):
        server = Server(free_port())
        with (
            TemporaryFile() as output,
            subprocess.Popen([*command, str(server.port)], stdout=output, stderr=output) as child,
        ):
            try:
                if _runs(child, server):
                    yield server
                    return
            finally:
                child.kill()
            output.seek(0)
            said = output.read()
    raise AssertionError(f"the server does not start: {said.decode(errors='replace')[-2_000:]}")


def _runs(child: subprocess.Popen[bytes], server: Server) -> bool:
    """Wait until the server answers; return whether it is this one, and not somebody who took its port before it."""

    def decided() -> bool:
        return child.poll() is not None or answers(server.url)

    return wait_until(decided, timeout_seconds=120, poll_seconds=0.05) and child.poll() is None


@dataclass
class Door:
    """Stands before a server.

    Attributes:
        wants: Header and value without which it says 401; ``None`` to let everybody in.
        broken: Statuses that it answers of its own to the next requests that write; 0 lets one pass.
        writes: How many requests came that upsert.
    """

    server: Server
    wants: tuple[str, str] | None = None
    broken: list[int] = field(default_factory=list)
    writes: int = 0
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        writes = handler.path.endswith("/upsert")
        self.writes += writes
        if self.wants and handler.headers.get(self.wants[0]) != self.wants[1]:
            self._say(handler, 401, b"who are you?")
        elif writes and self.broken and (status := self.broken.pop(0)):
            self._say(handler, status, b"a fault of its own")
        else:
            self._say(handler, *self._forward(handler, body))

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            headers = {name: value for name, value in handler.headers.items() if name.lower() == "content-type"}
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _say(self, handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        handler.send_response_only(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def door_before(server: Server) -> Iterator[Door]:
    """Run a door."""
    door = Door(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def take(self) -> None:
            door.answer(self)

        do_GET = do_POST = do_PUT = do_DELETE = take  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    door.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield door
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
