"""Pausing and resuming what brings events to the function: an event source mapping, or the pipe before its queue."""

from __future__ import annotations

from typing import Any

from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.aws.errors import aws_errors

_MAPPING_PERMISSIONS = "lambda:UpdateEventSourceMapping and lambda:GetEventSourceMapping on the event source mapping"
_PIPE_PERMISSIONS = "pipes:StopPipe and pipes:StartPipe on the pipe"


class EventSource:
    """An event source mapping of a function, by its id."""

    def __init__(self, id_: str, client: Any) -> None:
        self._id = id_
        self._client = client

    @classmethod
    def open(cls, id_: str) -> EventSource:
        """Return the event source mapping of this id.

        Raises:
            BadInput: The SDK's settings do not make a client.
        """
        return cls(id_, make_client("lambda"))

    def switch(self, on: bool) -> str:
        """Let it poll, or not; return the state that AWS tells: it takes up to a minute to get there.

        Raises:
            StoreUnavailable: There is none of this id, it may not be changed, or AWS does not answer.
        """
        with aws_errors(f"event source mapping {self._id}", permissions=_MAPPING_PERMISSIONS):
            return str(self._client.update_event_source_mapping(UUID=self._id, Enabled=on)["State"])


class Pipe:
    """The pipe that brings the stream into the queue, by its name."""

    def __init__(self, name: str, client: Any) -> None:
        self._name = name
        self._client = client

    @classmethod
    def open(cls, name: str) -> Pipe:
        """Return the pipe of this name.

        Raises:
            BadInput: The SDK's settings do not make a client.
        """
        return cls(name, make_client("pipes"))

    def switch(self, on: bool) -> str:
        """Start it or stop it; return the state that AWS tells.

        Raises:
            StoreUnavailable: There is none of this name, it may not be changed, or AWS does not answer.
        """
        with aws_errors(f"pipe {self._name}", permissions=_PIPE_PERMISSIONS):
            call = self._client.start_pipe if on else self._client.stop_pipe
            return str(call(Name=self._name)["CurrentState"])
