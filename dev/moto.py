"""moto's server, which plays S3, SQS and DynamoDB; as a program: ``python -m dev.moto HOST PORT``.

It answers one request at a time. moto compares and writes in two steps (a conditional PUT, the deletion of a
message), so that two requests at once could both win; the services that it plays do it in one.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dev.processes import LOCALHOST, free_port, running, wait_for_http

ROOT = Path(__file__).parents[1]


@contextmanager
def moto_server(log: Path, host: str = LOCALHOST) -> Iterator[str]:
    """Run the server in a process of its own, and yield its URL.

    Raises:
        Missing: It does not start.
    """
    port = free_port(host)
    with running([sys.executable, "-m", "dev.moto", host, str(port)], log, cwd=ROOT) as process:
        url = f"http://{host}:{port}"
        wait_for_http(url, process, log)
        yield url


class OneAtATime:
    """A WSGI application whose requests wait for one another."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environment: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        with self._lock:
            return list(self._application(environment, start_response))


def main(host: str, port: int) -> None:
    """Serve until the process is ended."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request would bury the rest
    _hasten_queues()
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple(host, port, application, threaded=True, request_handler=MotoRequestHandler)


def _hasten_queues() -> None:
    """Let a queue of thousands be answered in milliseconds.

    For each message that it hands out moto counts all messages of the queue several times over, only to
    learn how long the queue keeps messages; and it takes the time of day by way of calendar dates.
    """
    from moto.sqs import models

    def is_message_valid(self: Any, queue_name: str, message: Any) -> bool:
        kept_seconds = float(self.get_queue(queue_name).message_retention_period)
        return bool(message.sent_timestamp / 1_000 + kept_seconds > time.time())

    models.SQSBackend.is_message_valid_based_on_retention_period = is_message_valid
    models.unix_time_millis = lambda: time.time() * 1_000


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
