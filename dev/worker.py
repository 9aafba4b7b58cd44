"""One container of the function: ``python -m dev.worker FILE_DESCRIPTOR``, started by :mod:`dev.workers`.

Events come as lines of JSON over a socket, and answers go back so. What the function logs is this
process's standard output. When the socket closes, the process ends.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from chroma_lifecycle.clock import SYSTEM_CLOCK, new_id
from dev.function import Context


def main(descriptor: int) -> None:
    """Serve until the other side is gone."""
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rw", encoding="utf-8") as channel:
        for line in channel:
            asked = json.loads(line)
            answer = answer_to(asked["event"], asked["seconds"])
            sys.stdout.flush()
            channel.write(json.dumps(answer) + "\n")
            channel.flush()


def answer_to(event: Any, seconds: float) -> dict[str, Any]:
    """Call the handler with *seconds* to go; tell what it returned or raised."""
    context = Context(SYSTEM_CLOCK.monotonic() + seconds, new_id())
    try:
        from handler.app import lambda_handler  # here, as Lambda does it: what it raises is told

        return {"payload": lambda_handler(event, context)}  # type: ignore[arg-type]
    except Exception as problem:  # noqa: BLE001  whatever it is, Lambda tells it to the event source
        return {"error": f"{type(problem).__name__}: {problem}"}


if __name__ == "__main__":
    main(int(sys.argv[1]))
