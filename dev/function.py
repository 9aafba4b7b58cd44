"""A function as an event source sees it: it is invoked, and answers or fails."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chroma_lifecycle.clock import SYSTEM_CLOCK


@dataclass(frozen=True)
class Answer:
    """What one invocation came to.

    Attributes:
        payload: What the function returned.
        error: Why it returned nothing: it raised, ran out of time, or its process died.
        seconds: How long it took.
    """

    payload: Any
    error: str | None
    seconds: float


class Function(Protocol):
    """Something that takes one event at a time."""

    def invoke(self, event: Mapping[str, Any]) -> Answer:
        """Send one event and wait for the answer; never raises for what happens inside the function."""
        ...


@dataclass(frozen=True)
class Context:
    """What Lambda tells a function of its invocation.

    Attributes:
        ends_at: On the clock's monotonic scale, in seconds.
    """

    ends_at: float
    aws_request_id: str
    memory_limit_in_mb: int = 2_048
    function_name: str = "chroma-lifecycle"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:000000000000:function:chroma-lifecycle"
    log_group_name: str = "/aws/lambda/chroma-lifecycle"
    log_stream_name: str = "local"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds that are left."""
        return max(0, int((self.ends_at - SYSTEM_CLOCK.monotonic()) * 1_000))


def failed_of(answer: Answer, identifiers: Sequence[str]) -> Collection[str]:
    """Return which records of a batch failed, as AWS reads the answer of a function that reports them.

    Everything failed if the function did, if it answers in another form, or if it names a record that was not
    in the batch; nothing failed if it answers nothing.
    """
    everything = frozenset(identifiers)
    if answer.error is not None:
        return everything
    try:
        told = (answer.payload or {}).get("batchItemFailures") or []
        failed = frozenset(each["itemIdentifier"] for each in told)
    except (AttributeError, KeyError, TypeError):
        return everything
    return failed if failed <= everything else everything
