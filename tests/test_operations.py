"""docs/operations.md knows every alarm, metric and log event, and names no command that is not there."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chroma_lifecycle.config import NAMES
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.intake.envelopes import Kind
from chroma_lifecycle.report import CollectionReport, LostCycle, Report
from chroma_lifecycle.telling import lines_of
from handler.sink import Sink
from handler.telemetry import Telemetry
from tests.support.cloudformation import read
from tests.support.commands import COMMANDS, command_of

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/operations.md").read_text()
CODE = [path for part in ("chroma_lifecycle", "handler") for path in sorted((ROOT / part).rglob("*.py"))]


def rows(heading: str) -> list[str]:
    """Return what the rows of a section's table are about, each once."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    [text] = [each for each in section if each.startswith(f"{heading}\n")]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def arguments(of: str, call: str) -> Iterator[str]:
    """Yield the first argument of every call of a method of *of* in the code, where it is text."""
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(ast.Name(name), attr), args=[ast.Constant(str(text)), *_]) if (
                    name,
                    attr,
                ) == (
                    of,
                    call,
                ):
                    yield text


def reported() -> Report:
    """A batch in which everything that can be told is told."""
    phases = dict.fromkeys(arguments("self", "_phase"), 0.1)
    records = dict.fromkeys(("added", "changed", "removed"), 1)
    cycle = CollectionReport("words", 2, True, 1, {}, records, mirror_behind=True, seconds=phases)
    return Report(Kind.SQS, 2, {}, 0, (), (cycle,), (LostCycle("lines", 1, BadInput("x", hint="y")),))


def metrics() -> set[str]:
    """Return the metrics that the function writes, read from its lines."""
    written: list[str] = []

    class Kept(Sink):
        def __init__(self) -> None:
            self.dropped = 0

        def write(self, line: str) -> None:
            written.append(line)

    Telemetry("INFO", "function", Kept()).tell(reported())
    return {
        each["Name"]
        for line in written
        for group in json.loads(line)["_aws"]["CloudWatchMetrics"]
        for each in group["Metrics"]
    }


def events() -> set[str]:
    """Return the events of the batch lines, and those of every call of a logger."""
    logged = {text for level in ("info", "warning", "error") for text in arguments("log", level)}
    return logged | {line.event for line in lines_of(reported())}


def test_every_alarm_stands_on_the_page() -> None:
    """D8: whoever is woken finds what it means and what to do, and nothing that never rings."""
    resources = {**read(ROOT / "template.yaml")["Resources"], **read(ROOT / "bulk.yaml")["Resources"]}
    there = {name for name, each in resources.items() if each["Type"] == "AWS::CloudWatch::Alarm"}

    assert sorted(there) == sorted(rows("Alarms"))


def test_every_metric_stands_on_the_page() -> None:
    """D8: as the function writes them, once each, by names that need no quotes in a query."""
    assert sorted(metrics()) == sorted(rows("Metrics"))
    assert [] == [name for name in metrics() if not re.fullmatch("[a-z_]+", name)]


def test_every_log_event_stands_on_the_page() -> None:
    """D8: those of the library's loggers and of the function, once each."""
    assert sorted(events()) == sorted(rows("Log events"))


@pytest.mark.parametrize("page", ["operations.md", "deploy.md"])
def test_every_command_that_a_page_names_is_there(page: str) -> None:
    """At three in the morning a command with a misspelt option helps nobody."""
    for given in re.findall(r"chroma-lifecycle ([a-z]+[^`\n]*)", (ROOT / "docs" / page).read_text()):
        name = command_of(given.split())
        assert name, f"{page}: {given} is no command"
        known = {option for each in COMMANDS[name].params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", given)) <= known, f"{page}: {given}"


def test_every_parameter_that_a_page_sets_is_there() -> None:
    """docs/deploy.md lists every parameter of the template once, and sets none that it has not."""
    page = (ROOT / "docs/deploy.md").read_text()
    parameters = read(ROOT / "template.yaml")["Parameters"]
    section = page.partition("\n## Parameters\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)

    assert sorted(parameters) == sorted(name for cell in cells for name in re.findall(r"`(\w+)`", cell))
    assert set(re.findall(r"\b([A-Z][A-Za-z]+)=", page)) <= parameters.keys()


def test_every_setting_stands_on_the_page() -> None:
    """docs/deploy.md says for each setting who sets it."""
    page = (ROOT / "docs/deploy.md").read_text()

    assert sorted(NAMES) == sorted(re.findall(r"^\| `(CHROMA_LIFECYCLE_[A-Z0-9_]+)`", page, re.MULTILINE))
