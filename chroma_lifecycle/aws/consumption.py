"""Pausing and resuming what brings events to the function: an event source mapping, or the pipe before its queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as boto

from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.aws.errors import aws_errors, code_of
from chroma_lifecycle.errors import BadInput

_MAPPING_PERMISSIONS = "lambda:UpdateEventSourceMapping and lambda:GetEventSourceMapping on the event source mapping"
_PIPE_PERMISSIONS = "pipes:StopPipe and pipes:StartPipe on the pipe"
_UNKNOWN = {"NotFoundException", "ResourceNotFoundException"}


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
            BadInput: There is none of this id.
            StoreUnavailable: It may not be changed, or AWS does not answer.
        """
        with _named(f"event source mapping {self._id!r}", "EventSource", _MAPPING_PERMISSIONS):
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
            BadInput: There is none of this name.
            StoreUnavailable: It may not be changed, or AWS does not answer.
        """
        with _named(f"pipe {self._name!r}", "PipeName", _PIPE_PERMISSIONS):
            call = self._client.start_pipe if on else self._client.stop_pipe
            return str(call(Name=self._name)["CurrentState"])


@contextmanager
def _named(what: str, output: str, permissions: str) -> Iterator[None]:
    """Translate AWS's errors about what somebody named by hand; the stack's *output* is its right name."""
    with aws_errors(what, permissions=permissions):
        try:
            yield
        except (boto.ParamValidationError, KeyError) as problem:  # no such name can be, or an answer about nothing
            raise _unknown(what, output) from problem
        except boto.ClientError as problem:
            if code_of(problem) not in _UNKNOWN:
                raise
            raise _unknown(what, output) from problem


def _unknown(what: str, output: str) -> BadInput:
    return BadInput(f"there is no {what}", hint=f"take it from the stack's output {output}; check the region")
