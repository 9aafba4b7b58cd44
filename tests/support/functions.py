"""Functions as Lambda runs them: each in a process of its own, invoked by the SDK through Lambda's own API.

``python -m tests.support.functions MODULE`` is one of them: an event a line comes in, an answer a line goes out.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass
class Function:
    """One function: its process, and who waits for it."""

    process: subprocess.Popen[str]
    turn: threading.Lock = field(default_factory=threading.Lock)

    def invoke(self, event: str) -> dict[str, Any]:
        """Return what the runtime says: ``{"answer": ...}``, or ``{"error": ...}``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self.turn:
            try:
                self.process.stdin.write(json.dumps(json.loads(event)) + "\n")
                self.process.stdin.flush()
                line = self.process.stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            return {"error": {"errorType": "Runtime.ExitError", "errorMessage": "Error: Runtime exited"}}
        return dict(json.loads(line))


@dataclass
class Functions:
    """The functions of an account, by name, and the address of their API."""

    url: str
    known: dict[str, Function] = field(default_factory=dict)

    def start(self, name: str, module: str, **environment: str) -> None:
        """Start a function whose handler is in *module*."""
        command = [sys.executable, "-m", "tests.support.functions", module]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(command, **pipes, text=True, cwd=ROOT, env={**os.environ, **environment})
        self.known[name] = Function(process)

    def kill(self, name: str) -> None:
        """Kill a function: whoever invokes it is told so."""
        self.known[name].process.kill()
        self.known[name].process.wait()


@contextmanager
def lambda_service() -> Iterator[Functions]:
    """Serve Lambda's API on a free port; end every function with it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            event = self.rfile.read(int(self.headers["Content-Length"])).decode()
            name = self.path.split("/")[3]
            if (function := functions.known.get(name)) is None:
                told: dict[str, Any] = {"Message": f"Function not found: {name}", "Type": "User"}
                self._answer(404, told, {"x-amzn-ErrorType": "ResourceNotFoundException"})
                return
            told = function.invoke(event)
            failed = {"X-Amz-Function-Error": "Unhandled"} if "error" in told else {}
            self._answer(200, told.get("error", told.get("answer")), failed)

        def _answer(self, status: int, told: Any, headers: Mapping[str, str]) -> None:
            body = json.dumps(told).encode()
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    functions = Functions(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield functions
    finally:
        for name in functions.known:
            functions.kill(name)
        server.shutdown()
        thread.join()
        server.server_close()


def _run(module: str) -> None:
    """Answer events as the runtime does, until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a function prints is its log
    handler = importlib.import_module(module).lambda_handler
    for line in sys.stdin:
        try:
            told = {"answer": handler(json.loads(line), None)}
        except Exception as problem:
            told = {"error": {"errorType": type(problem).__name__, "errorMessage": str(problem)}}
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    _run(sys.argv[1])
