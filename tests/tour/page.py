"""The page of the error tour, docs/errors.md: ``python -m tests.tour.page`` writes it anew."""

from __future__ import annotations

import inspect
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from chroma_lifecycle import errors
from tests.support.home import begun_home
from tests.tour.stops import ROOT, STOPS, Stop

PAGE = ROOT / "docs" / "errors.md"
_HEAD = """\
# Errors, each one seen

Every error says what happened, to which object, and what to do next. This page provokes each one by a command, in a
directory with a small store as on the page of [the command line](cli.md), and shows what is printed; a test runs all
of it. (Of the function only the error is shown, without its log lines.)

Errors are grouped by what you do next. The command line's exit code follows the group; in the function, what fails goes
back to the queue, and what cannot succeed ends in the dead-letter queue, with its reason in the log.

"""
_CHANGES = (
    (r"\b[0-9a-f]{64}\b", "…"),
    (r"\b[0-9a-f]{16}\b", "…"),
    (r"process \d+", "process 4711"),
    (r"descriptor \d+", "descriptor 7"),
    (r"(, mine/chroma.sqlite3 \(process 4711, descriptor 7\))+", ", …"),  # one or some, by chance
    (r"\d{4}-\d\d-\d\d[T ][0-9:.]+(\+00:00|Z)?", "2026-01-31 12:00:00"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:9000"),
    (r"test-[0-9a-f-]{36}", "bucket"),
    (r"\d+\.\d s", "0.9 s"),
    (r"error: restoring .* needs about", "error: a cycle of notes needs about"),  # a busy machine gets less far
    (r"\.chroma-lifecycle-\w+", ".chroma-lifecycle-…"),
    (r" on \S+ since", " on HOST since"),
)


def tree() -> str:
    """Return the tree of errors as its module draws it."""
    return re.search(r"::\n\n(.*?)\n\n", inspect.getdoc(errors) or "", re.DOTALL)[1]  # type: ignore[index]


def section(stop: Stop, home: Path) -> str:
    """Return what the page says of one error, having provoked it."""
    code, told = stop.run(home)
    told = told[max(0, told.find("error: ")) :]
    about = (inspect.getdoc(getattr(errors, stop.error)) or "").splitlines()[0]
    lines = [
        f"## {stop.error}",
        f"{about} {stop.happened}",
        f"```console\n$ {stop.shown} {stop.command}\n{settled(told).rstrip()}\n```",
        f"Exit code {code}. {stop.then}",
    ]
    return "\n\n".join(lines) + "\n"


def settled(text: str) -> str:
    """Return *text* without what differs from run to run."""
    for pattern, word in _CHANGES:
        text = re.sub(pattern, word, text)
    return text


def page() -> str:
    """Return the page, every command run."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as threads:
        homes = [begun_home(Path(scratch) / stop.error) for stop in STOPS]
        sections = list(threads.map(section, STOPS, homes))
    drawing = "\n".join(line[4:] for line in tree().splitlines())
    return f"{_HEAD}```text\n{drawing}\n```\n\n" + "\n".join(sections)


def kinds() -> Iterator[str]:
    """Yield the names of the errors that are raised: those of the tree that group nothing else."""
    for name, kind in vars(errors).items():
        if (
            inspect.isclass(kind)
            and issubclass(kind, errors.LifecycleError)
            and name not in ("LifecycleError", "Retryable")
        ):
            yield name


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), "utf-8")
