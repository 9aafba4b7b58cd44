"""What AWS charges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.json_text import shorten

_MOST = 1e15


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices of AWS in dollars (us-east-1, November 2026, without free tiers and discounts).

    Attributes:
        function_second: Of a GB-second of Lambda (x86).
        function_request: Of an invocation.
        workspace_second: Of a GB-second of ``/tmp`` beyond 512 MB.
        write, read: Of a request of S3.
        stored: Of a GB-month in S3.
        message_request: Of a request of SQS.
        pipe_request: Of a request of EventBridge Pipes, 64 KB each.
        mirror_write, mirror_read, mirror_stored: Of a GB in EFS, the last one for a month.
        metric: Of a custom metric for a month.
        alarm: Of an alarm for a month.
        dashboard: Of a dashboard for a month.
        transition: Of a state transition of Step Functions.
    """

    function_second: float = 0.0000166667
    function_request: float = 0.20 / 1e6
    workspace_second: float = 0.0000000309
    write: float = 0.005 / 1000
    read: float = 0.0004 / 1000
    stored: float = 0.023
    message_request: float = 0.40 / 1e6
    pipe_request: float = 0.40 / 1e6
    mirror_write: float = 0.06
    mirror_read: float = 0.03
    mirror_stored: float = 0.30
    metric: float = 0.30
    alarm: float = 0.10
    dashboard: float = 3.00
    transition: float = 0.025 / 1000

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Prices:
        """Return the list prices, with those of *given* in their place.

        Raises:
            BadInput: One is unknown, or no number from 0 to 1e15.
        """
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise BadInput(f"there is no price {name!r}", hint=f"the prices are {', '.join(known)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
                raise BadInput(
                    f"the price {name} is {shorten(value)}", hint=f"give dollars, as a number from 0 to {_MOST:g}"
                )
        return replace(cls(), **given)
