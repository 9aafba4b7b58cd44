"""A report as log lines: one for the batch and one for each cycle, however many messages there were.

``docs/operations.md`` says what each event and each number means; a test holds it to this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from chroma_lifecycle.errors import LifecycleError, Retryable
from chroma_lifecycle.logs import Log
from chroma_lifecycle.report import CollectionReport, Failure, LostCycle, Report

log = Log(__name__)

_REASONS = 10
_LONGEST_TEXT = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        level: ``info``, ``warning`` or ``error``.
        collection: Whose, if it is about one.
        numbers: What a metric can be made of, by name.
        words: The rest.
    """

    level: str
    event: str
    collection: str | None
    numbers: Mapping[str, float]
    words: Mapping[str, object]

    def fields(self) -> dict[str, object]:
        """Return all of it but level and event, the numbers first."""
        whose = {"collection": self.collection} if self.collection else {}
        return {**whose, **self.numbers, **self.words}


def lines_of(report: Report) -> list[Line]:
    """Return the lines about a batch: each cycle, and then the batch as a whole."""
    return [*map(_cycle, report.collections), *map(_lost, report.lost), _batch(report)]


def log_report(report: Report) -> None:
    """Write the lines about a batch to the log."""
    for line in lines_of(report):
        log.say(line.level, line.event, **line.fields())


def _cycle(report: CollectionReport) -> Line:
    counts = {name: report.outcomes.get(outcome, 0) for name, outcome in _OUTCOMES.items()}
    numbers = {
        "version": report.version,
        "published": int(report.published),
        **_messages(received=sum(counts.values()), **counts),
        **{f"records_{name}": count for name, count in report.records.items()},
        "bytes_published": report.bytes_written,
        "swaps_lost": report.attempts - 1,
        "tail": report.tail,
        "withheld": report.withheld,
        "lag_seconds": report.lag_seconds,
        **({} if report.mirror_behind is None else {"mirror_behind": int(report.mirror_behind)}),
        **{f"{phase}_seconds": seconds for phase, seconds in report.seconds.items()},
    }
    return Line(
        "info", "cycle", report.collection, numbers, {"mirror": str(report.mirror or "none"), "rebase": report.rebase}
    )


_OUTCOMES = {"applied": "applied", "no_op": "no-op", "failed": "failed"}


def _messages(**counts: int) -> dict[str, int]:
    return {f"messages_{name}": count for name, count in counts.items()}


def _lost(lost: LostCycle) -> Line:
    # What can succeed when it comes again is expected now and then; the alarms look at how often.
    level = "warning" if isinstance(lost.error, Retryable) else "error"
    numbers = {
        "cycles_failed": 1,
        **_messages(received=lost.messages, applied=0, no_op=0, failed=lost.messages),
        "swaps_lost": lost.swaps_lost,
        "lag_seconds": lost.lag_seconds,
    }
    return Line(level, "cycle failed", lost.collection, numbers, _reason(lost.error))


def _batch(report: Report) -> Line:
    cycles, lost = report.collections, report.lost
    counts = {name: int(getattr(report, name)) for name in ("received", "applied", "no_op", "ignored", "failed")}
    numbers = {
        **_messages(**counts),
        "cycles_failed": len(lost),
        "published": sum(int(each.published) for each in cycles),
        "bytes_published": sum(each.bytes_written for each in cycles),
        "swaps_lost": sum(each.attempts - 1 for each in cycles) + sum(each.swaps_lost for each in lost),
        "lag_seconds": max([each.lag_seconds for each in cycles] + [each.lag_seconds for each in lost], default=0.0),
        "withheld": sum(each.withheld for each in cycles),
    }
    if behind := [each.mirror_behind for each in cycles if each.mirror_behind is not None]:
        numbers["mirror_behind"] = int(any(behind))
    words: dict[str, object] = {"versions": {each.collection: each.version for each in cycles}}
    if report.failures:
        words["failures"] = _reasons(report.failures)
    return Line("warning" if report.failed else "info", "batch", None, numbers, words)


def _reasons(failures: tuple[Failure, ...]) -> list[dict[str, object]]:
    """Return why messages failed, each reason once with the first message of it; a bounded number of them."""
    first: dict[tuple[str | None, str], Failure] = {}
    for failure in failures:
        first.setdefault((failure.collection, failure.error.message), failure)
    count = Counter((failure.collection, failure.error.message) for failure in failures)
    told = [
        {"messages": count[key], "first": failure.source, **_whose(failure), **_reason(failure.error)}
        for key, failure in list(first.items())[:_REASONS]
    ]
    return told if len(first) <= _REASONS else [*told, {"more_reasons": len(first) - _REASONS}]


def _whose(failure: Failure) -> dict[str, object]:
    item = (
        {"rule": failure.rule, "item": " / ".join(filter(None, failure.item))[:_LONGEST_TEXT]} if failure.item else {}
    )
    return {"collection": failure.collection, **item}


def _reason(error: LifecycleError) -> dict[str, object]:
    return {"kind": type(error).__name__, "error": error.message[:_LONGEST_TEXT], "hint": error.hint[:_LONGEST_TEXT]}
