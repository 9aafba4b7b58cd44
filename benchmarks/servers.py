"""Servers in processes of their own, so that they take no time from the one that is measured.

``python -m benchmarks.servers s3`` and ``python -m benchmarks.servers hold URL BYTES_A_SECOND``
print their URL and serve until their input ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CHUNK_BYTES = 64 << 10
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server() -> Iterator[str]:
    """Run an S3 server; give its URL."""
    with _served("s3") as url:
        yield url


@contextmanager
def held_to(url: str, bytes_a_second: float) -> Iterator[str]:
    """Run a relay before *url* that lets no more than this through, both directions and all connections together."""
    with _served("hold", url, str(bytes_a_second)) as held:
        yield held


@contextmanager
def _served(*arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.servers", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"the server {' '.join(arguments)} did not start")
            yield url
        finally:
            process.stdin.close()


@contextmanager
def endpoint(url: str) -> Iterator[None]:
    """Lead whatever makes a client of AWS meanwhile to *url*."""
    before = dict(os.environ)
    os.environ.update({**_CREDENTIALS, "AWS_ENDPOINT_URL": url})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# In the processes of their own.


def _serve_s3() -> None:
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    server.stop()


class _Rate:
    """Lets bytes pass at a rate, whoever they belong to."""

    def __init__(self, bytes_a_second: float) -> None:
        self._rate = bytes_a_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait_for(self, count: int) -> None:
        """Return when *count* bytes may have passed."""
        with self._lock:
            begin = max(self._free_at, time.monotonic())
            self._free_at = until = begin + count / self._rate
        time.sleep(max(0.0, until - time.monotonic()))


def _serve_held(url: str, bytes_a_second: float) -> None:
    host, port = url.removeprefix("http://").split(":")
    rate = _Rate(bytes_a_second)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)

    def accept() -> None:
        while True:
            inner, _ = listener.accept()
            outer = socket.create_connection((host, int(port)))
            for one, other in ((inner, outer), (outer, inner)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_relay, args=(one, other, rate), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


def _relay(source: socket.socket, target: socket.socket, rate: _Rate) -> None:
    """Pass bytes on within the kernel: what they cost here is no time of the server's."""
    reading, writing = os.pipe()
    with suppress(OSError):
        while count := os.splice(source.fileno(), writing, _CHUNK_BYTES):
            rate.wait_for(count)
            while count:
                count -= os.splice(reading, target.fileno(), count)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    os.close(reading)
    os.close(writing)


if __name__ == "__main__":
    if sys.argv[1] == "s3":
        _serve_s3()
    else:
        _serve_held(sys.argv[2], float(sys.argv[3]))
