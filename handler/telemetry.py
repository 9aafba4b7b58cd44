"""Log lines and metrics of the function: one line of JSON for each cycle and one for the batch.

A line is both: readable fields first, and at its end what makes CloudWatch read its numbers as
metrics (the embedded metric format). Their number does not grow with the batch, and nothing here
delays or fails an invocation: see :mod:`handler.sink`.
"""

from __future__ import annotations

import json
import logging
import sys

import psutil
import structlog
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.report import Report
from chroma_lifecycle.telling import Line, lines_of
from handler.sink import Sink

NAMESPACE = "ChromaLifecycle"


class Telemetry:
    """Tells of batches on standard output.

    Args:
        level: From which on log lines are written; those of :meth:`tell` are always, since they are the metrics.
        function: Name of the function, by which the metrics of several stacks are told apart.
    """

    def __init__(self, level: str, function: str, sink: Sink | None = None) -> None:
        self._function = function
        self._sink = sink or Sink(sys.stdout)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.JSONRenderer(serializer=_json),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
            logger_factory=lambda *_: self._sink,
        )

    def tell(self, report: Report) -> None:
        """Write the lines about a batch; drop what cannot be written."""
        try:
            for line in lines_of(report):
                self._sink.write(_json(self._spelled(line)))
        except Exception:  # noqa: BLE001  telling of work must not undo it
            self._sink.dropped += 1

    def settle(self) -> None:
        """Wait for the lines, for a moment: what is written after the answer may never be."""
        self._sink.settle()

    def _spelled(self, line: Line) -> dict[str, object]:
        numbers = dict(line.numbers)
        if line.collection is None:
            numbers |= {"descriptors": psutil.Process().num_fds(), "lines_dropped": self._sink.dropped}
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._function)
        if line.collection is not None:
            metrics.add_dimension("collection", line.collection)
        for name, value in numbers.items():
            metrics.add_metric(name, unit_of(name), float(value))
        embedded = metrics.serialize_metric_set()
        time = SYSTEM_CLOCK.now().isoformat(timespec="milliseconds")
        readable = {"timestamp": time, "level": line.level, "event": line.event, **line.fields(), **numbers}
        return {**readable, "service": self._function, "_aws": embedded["_aws"]}


def unit_of(name: str) -> MetricUnit:
    """Return the unit of a metric, which its name tells."""
    if name.endswith("_seconds"):
        return MetricUnit.Seconds
    return MetricUnit.Bytes if name.startswith("bytes_") else MetricUnit.Count


def _json(value: object, **_: object) -> str:
    return json.dumps(value, separators=(",", ":"), default=str, ensure_ascii=False)
