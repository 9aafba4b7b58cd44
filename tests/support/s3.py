"""A real S3 server (moto) on this machine, and a proxy before it that fails as it is told.

The proxy is the place for what moto never does (409, a lost answer, a body that breaks off, a
server that hangs) and for counting requests and bytes where they pass, not where they are reported.
"""

from __future__ import annotations

import functools
import http.client
import logging
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from chroma_lifecycle.aws.clients import Checksums, Patience, make_client

REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What a process needs beside AWS_ENDPOINT_URL to talk to the server."""


def use_server(monkeypatch: pytest.MonkeyPatch, url: str | None = None) -> None:
    """Lead the SDK to the server, or to a proxy before it, by its own variables."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": url or moto_url()}.items():
        monkeypatch.setenv(name, value)


_LED_ELSEWHERE = threading.Lock()
"""Held while the environment is another one: of two threads, one would take away what the other reads."""


@functools.cache
def moto_url() -> str:
    """Start the server once for this process, and return its URL."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request would bury the rest
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


@functools.cache
def client(service: str = "s3", url: str | None = None) -> Any:
    """A plain client, for tests to look with; the product's own clients are its own affair."""
    return boto3.client(
        service,
        endpoint_url=url or moto_url(),
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@functools.cache
def s3_client(checksums: Checksums | None = None) -> Any:
    """A client of the product's own making, for the server; one for all tests, since making one is slow."""
    with _LED_ELSEWHERE, pytest.MonkeyPatch.context() as environment:
        use_server(environment)
        return make_client("s3", checksums=checksums)


STEADY = Patience(connect_seconds=10, read_seconds=30, attempts=3)
"""For whom the server is never too slow, however busy this machine is."""

HASTY = Patience(connect_seconds=10, read_seconds=0.5, attempts=3)
"""For tests of a server that hangs."""


@functools.cache
def client_at(service: str, url: str, patience: Patience = STEADY) -> Any:
    """A client of the product's own making for a proxy; one for all tests, since making one is slow."""
    with _LED_ELSEWHERE, pytest.MonkeyPatch.context() as environment:
        use_server(environment, url)
        return make_client(service, patience=patience)


def new_bucket(**options: Any) -> str:
    """Make an empty bucket that no other test knows."""
    name = f"test-{uuid.uuid4()}"
    client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}, **options)
    return name


def new_table(*keys: tuple[str, str]) -> str:
    """Make a table with these keys, each with its type, and return its name."""
    name = f"table-{uuid.uuid4()}"
    client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": key, "KeyType": kind} for (key, _), kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": type_} for key, type_ in reversed(keys)],
    )
    return name


def put(bucket: str, name: str, body: bytes) -> None:
    """Store an object past HTTP, since the server is in this process: for thousands that only prepare something."""
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, name, body)


@dataclass
class Exchange:
    """One request on its way; a step of the script decides what becomes of it."""

    handler: BaseHTTPRequestHandler
    proxy: FaultProxy
    body: bytes
    answered: bool = False

    @property
    def method(self) -> str:
        return self.handler.command

    def forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Let the server carry the request out, and return its answer."""
        host, port = self.proxy.upstream.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        try:
            # S3 compares and writes in one step; moto does so only if nobody else comes between.
            conditional = "If-Match" in self.handler.headers or "If-None-Match" in self.handler.headers
            with self.proxy.one_at_a_time if conditional else nullcontext():
                connection.putrequest(self.method, self.handler.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.handler.headers.items():
                    if name.lower() not in {"expect", "connection", "transfer-encoding"}:
                        connection.putheader(name, value)
                connection.endheaders(self.body)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: int = 0) -> None:
        """Answer the client; *cut* bytes of the body are missing and the connection ends there."""
        self.answered = True
        handler = self.handler
        sent = b"" if self.method == "HEAD" else body[: len(body) - cut]
        # Noted first: once it is answered, a test may look.
        self.proxy.note(self.method, handler.path, status, len(self.body), len(sent))
        handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                handler.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length", str(len(body)))
        handler.send_header("Content-Length", length if self.method == "HEAD" else str(len(body)))
        handler.end_headers()
        handler.wfile.write(sent)
        handler.close_connection = handler.close_connection or bool(cut)

    def drop(self) -> None:
        """Close the connection without a word."""
        self.answered = True
        self.proxy.note(self.method, self.handler.path, 0, len(self.body), 0)
        self.handler.close_connection = True
        with suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)


Step = Callable[[Exchange], None]


def passes(exchange: Exchange) -> None:
    """Nothing happens to it."""
    exchange.answer(*exchange.forward())


def loses_the_answer(exchange: Exchange) -> None:
    """The server carries it out, and nobody hears of it."""
    exchange.forward()
    exchange.drop()


def loses_the_request(exchange: Exchange) -> None:
    """It never arrives."""
    exchange.drop()


def says(status: int, code: str) -> Step:
    """The server refuses without doing anything."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>as scripted</Message></Error>'.encode()
    return lambda exchange: exchange.answer(status, [("Content-Type", "application/xml")], body)


def does_and_says(status: int, code: str) -> Step:
    """The server carries it out, and the answer says that it did not."""

    def step(exchange: Exchange) -> None:
        exchange.forward()
        says(status, code)(exchange)

    return step


def breaks_off(missing_bytes: int = 1) -> Step:
    """The answer's body ends too early."""

    def step(exchange: Exchange) -> None:
        exchange.answer(*exchange.forward(), cut=missing_bytes)

    return step


def flips_a_bit(*, seen_by_s3: bool) -> Step:
    """The answer's body arrives damaged, beside the checksum that S3 has for it or without any."""

    def step(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        kept = [(name, value) for name, value in headers if seen_by_s3 or not name.startswith("x-amz-checksum")]
        exchange.answer(status, kept, bytes([body[0] ^ 1]) + body[1:])

    return step


def hangs(exchange: Exchange) -> None:
    """The connection stays, and nothing comes, until the proxy ends."""
    ending = exchange.proxy.ending
    exchange.proxy.note(exchange.method, exchange.handler.path, 0, len(exchange.body), 0)
    ending.wait()
    exchange.answered = True
    exchange.handler.close_connection = True


def after(action: Callable[[], object], then: Step = passes) -> Step:
    """Somebody else does something first: between our comparing and our writing."""

    def step(exchange: Exchange) -> None:
        action()
        then(exchange)

    return step


@dataclass(frozen=True)
class Seen:
    """One request as it passed."""

    method: str
    path: str
    status: int
    sent_bytes: int
    received_bytes: int


@dataclass
class FaultProxy:
    """Passes everything on, but for the requests that its script takes."""

    upstream: str
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)
    _script: list[tuple[str, str, list[Step]]] = field(default_factory=list)
    _asked: int = 0
    _nth: tuple[int, Step, bool] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on(self, method: str, path: str, *steps: Step) -> None:
        """Take the next requests of this method whose path contains *path*, one step each."""
        with self._lock:
            self._script.append((method, path, list(steps)))

    def always(self, method: str, path: str, step: Step) -> None:
        """Take every such request from now on."""
        self.on(method, path, *[step] * 1_000)

    def nth(self, number: int, step: Step, *, lasting: bool = False) -> None:
        """Take request *number* from now on, the first being 1; *lasting*: and what else is asked of the same name."""
        with self._lock:
            self._asked, self._nth = 0, (number, step, lasting)

    def forget(self) -> None:
        """Begin anew: no script, nothing seen, and whatever hangs is let go."""
        with self._lock:
            self._script.clear()
            self._nth = None
            self.seen.clear()
        self.ending.set()
        self.ending = threading.Event()

    def next_step(self, method: str, path: str) -> Step:
        with self._lock:
            self._asked += 1
            if self._nth and self._nth[0] == self._asked:
                _, step, lasting = self._nth
                if lasting:
                    self._script.insert(0, (method, path, [step] * 1_000))
                return step
            for scripted, part, steps in self._script:
                if method == scripted and part in path and steps:
                    return steps.pop(0)
        return passes

    def note(self, method: str, path: str, status: int, sent: int, received: int) -> None:
        with self._lock:
            self.seen.append(Seen(method, path, status, sent, received))

    def count(self, path: str = "") -> Counter[str]:
        """Return how many requests there were, by method."""
        with self._lock:
            return Counter(seen.method for seen in self.seen if path in seen.path)

    def bytes_moved(self) -> Counter[str]:
        """Return the bytes of bodies by method, in both directions."""
        with self._lock:
            total: Counter[str] = Counter()
            for seen in self.seen:
                total[seen.method] += seen.sent_bytes + seen.received_bytes
            return total


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def _take(self) -> None:
        exchange = Exchange(self, self.proxy, self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        with suppress(ConnectionError):
            self.proxy.next_step(self.command, self.path)(exchange)
            assert exchange.answered

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _take  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests look at `seen`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is what half of the tests are about."""


@contextmanager
def fault_proxy(upstream: str | None = None) -> Iterator[FaultProxy]:
    """Run a proxy before the server."""
    proxy = FaultProxy(upstream or moto_url())
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
