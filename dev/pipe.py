"""EventBridge Pipes, played: each stream record becomes a message of the queue, whose body is the record itself."""

from __future__ import annotations

import json

from dev.queues import Queue
from dev.stream import StreamReader


class Pipe:
    """Brings a stream into a queue.

    Attributes:
        moved: Records so far.
    """

    def __init__(self, reader: StreamReader, queue: Queue) -> None:
        self.moved = 0
        self._reader = reader
        self._queue = queue

    def step(self) -> bool:
        """Move what has come; return whether there was anything."""
        records = self._reader.read()
        self._queue.send([json.dumps(record) for record in records])
        self.moved += len(records)
        return bool(records)
