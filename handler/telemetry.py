"""Log lines and metrics of the function; their number does not grow with the batch."""

from __future__ import annotations

import logging
import sys

import structlog
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chroma_lifecycle.report import CollectionReport, Report

NAMESPACE = "ChromaLifecycle"


def configure(level: str) -> None:
    """Write JSON lines to standard output, from *level* on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )


def emit(report: Report) -> None:
    """Write the metrics of a batch: one line for the batch, and one for each collection."""
    for each in report.collections:
        _emit({"collection": each.collection}, _of_collection(each))
    counts = {name: getattr(report, name) for name in ("received", "applied", "no_op", "ignored", "failed")}
    _emit({}, {f"messages_{name}": (MetricUnit.Count, float(count)) for name, count in counts.items()})


def _of_collection(report: CollectionReport) -> dict[str, tuple[MetricUnit, float]]:
    return {
        "version": (MetricUnit.NoUnit, float(report.version)),
        "published": (MetricUnit.Count, float(report.published)),
        "swaps_lost": (MetricUnit.Count, float(report.attempts - 1)),
        **{f"records_{name}": (MetricUnit.Count, float(count)) for name, count in report.records.items()},
        **{f"{name}_seconds": (MetricUnit.Seconds, seconds) for name, seconds in report.seconds.items()},
    }


def _emit(dimensions: dict[str, str], values: dict[str, tuple[MetricUnit, float]]) -> None:
    metrics = EphemeralMetrics(namespace=NAMESPACE, service="compactor")
    for name, text in dimensions.items():
        metrics.add_dimension(name, text)
    for name, (unit, value) in values.items():
        metrics.add_metric(name, unit, value)
    metrics.flush_metrics()
