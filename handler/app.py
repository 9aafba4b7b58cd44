"""The Lambda function: events in, a batch response out; everything else is the library's.

Settings are read once for each container; so is everything built that outlives an invocation.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.compactor import Compactor
from chroma_lifecycle.config import Settings
from chroma_lifecycle.intake.envelopes import Kind
from chroma_lifecycle.report import Report
from chroma_lifecycle.wiring import compactor
from handler.telemetry import Telemetry
from handler.tracing import tracer


@cache
def _compactor() -> Compactor:
    return compactor(Settings.read(), trace=tracer())


@cache
def _telemetry(function: str) -> Telemetry:
    return Telemetry(Settings.read().log_level, function)


def lambda_handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Compact one batch.

    Args:
        event: Of a queue, of a DynamoDB stream, or a list of stream records.
        context: Says how much time is left.

    Returns:
        The messages that failed, for a queue or a stream; the whole report for a direct call.

    Raises:
        LifecycleError: Nothing of the batch could be done, or a message of a direct call failed.
            A queue deletes what a function answers for, so such a failure is never an answer.
    """
    deadline = Deadline.after(context.get_remaining_time_in_millis() / 1000)
    telemetry = _telemetry(context.function_name)
    try:
        return _answer(_compactor().compact(event, deadline, told=telemetry.tell))
    finally:
        telemetry.settle()


def _answer(report: Report) -> dict[str, Any]:
    if report.kind is not Kind.DIRECT:
        return {"batchItemFailures": [{"itemIdentifier": source} for source in report.failed_sources()]}
    if report.failures:
        failure = report.failures[0]
        first, whose = failure.error, f" ({failure.subject})" if failure.subject else ""
        raise type(first)(
            f"{report.failed} of {report.received} records failed, the first{whose}: {first.message}", hint=first.hint
        )
    return report.as_json()
