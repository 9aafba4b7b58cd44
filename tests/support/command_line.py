"""The command line called within this process, in a directory with a small store."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle.cli import main
from tests.support.commands import command_of
from tests.support.deltas import write_delta
from tests.support.schemas import problems
from tests.support.table import Table, in_sqs

COLLECTION = "notes"
MAPPING = """\
mapping: 1
table: {partition_key: PK, sort_key: SK}
collections:
  notes: USER#{user}#NOTE#{note}
rules:
  run:
    item: {PK: "USER#{user}", SK: "RUN#{run}"}
    merge:
      notes: {delta: delta, state: state, count: merged, error: error}
  note:
    item: {PK: "USER#{user}", SK: "NOTE#{note}"}
    set:
      notes: [title, folder]
    removal_deletes: [notes]
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed for programs."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Calls commands where a store, a mapping and events lie: the user's current directory."""

    home: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *arguments: str, stdin: str = "") -> Ended:
        """Run a command as it is given; what it prints for programs is as its schema says."""
        self.monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        told = self.capsys.readouterr()
        assert "Traceback" not in told.err + told.out
        if "--json" in arguments:
            _check_json(command_of(arguments), told.out, told.err)
        return Ended(int(ended.value.code or 0), told.out, told.err)

    def at(self, command: str, *arguments: str, store: str = "store") -> Ended:
        """Run a command that reads a collection."""
        return self(command, *arguments, "--store", store, "--collection", COLLECTION)

    def compact(self, *arguments: str, stdin: str = "") -> Ended:
        """Run ``compact`` in this directory."""
        return self("compact", *WITH, *arguments, stdin=stdin)

    def contents(self, directory: str = "store") -> dict[str, bytes]:
        """Return every file below a directory: to compare what was before and after."""
        files = sorted(path for path in (self.home / directory).rglob("*") if path.is_file())
        return {str(path.relative_to(self.home)): path.read_bytes() for path in files}


def _check_json(command: str | None, out: str, err: str) -> None:
    found = _problems(command, json.loads(out)) if command and out else []
    found += [text for line in err.splitlines() if line[:1] == "{" for text in problems("error", json.loads(line))]
    assert not found, "\n".join(found)


def _problems(command: str, value: Any) -> list[str]:
    if not isinstance(value, dict) or value.keys() != {"collection", "shards"}:
        return problems(command, value)
    results = (each["result"] for each in value["shards"] if each["result"] is not None)
    return [*problems("in-shards", value), *(text for result in results for text in problems(command, result))]


WITH = ("--store", "store", "--mapping", "notes.yaml", "--workspace", "workspace", "--deltas", "deltas")


def write_files(home: Path) -> None:
    """Write the mapping, two deltas, and the events of a small table."""
    table = Table()
    (home / "deltas").mkdir()
    (home / "notes.yaml").write_text(MAPPING)
    ids = [f"USER#u#NOTE#{name}" for name in "abc"]
    write_delta(home / "deltas" / "run-1.parquet", ids)
    write_delta(home / "deltas" / "of-four.parquet", ids, 4)
    run = [table.put("USER#u", "RUN#1", delta="run-1.parquet", state="PENDING")]
    notes = [table.put("USER#u", f"NOTE#{name}", title=f"Title {name}", folder="in") for name in "abc"]
    edit = table.put("USER#u", "NOTE#a", title="[b]Title[/b] \x1b[2J", folder="out")
    missing = table.put("USER#u", "RUN#2", delta="missing.parquet", state="PENDING")
    four = table.put("USER#u", "RUN#3", delta="of-four.parquet", state="PENDING")
    third = table.put("USER#u", "NOTE#b", title="Another title", folder="in")
    events = {
        "first.json": in_sqs([*run, *notes]),
        "second.json": in_sqs([edit, "not json"]),
        "third.json": in_sqs([third]),
        "missing.json": in_sqs([missing]),
        "four.json": in_sqs([four]),
        "other.json": in_sqs([table.put("SHOP#1", "ORDER#1", total=3)]),
        "none.json": {"Records": []},
        "http.json": {"version": "2.0", "routeKey": "$default"},
    }
    for name, event in events.items():
        (home / name).write_text(json.dumps(event))
    items = [{"PK": {"S": "USER#u"}, "SK": {"S": f"NOTE#{name}"}, "title": {"S": f"Title {name}"}} for name in "abc"]
    (home / "items.json").write_text(json.dumps({"Items": items}))
    (home / "torn.json").write_text('{"Records": [')


def copy_of(template: Path, home: Path) -> Path:
    """Copy a prepared directory."""
    return Path(shutil.copytree(template, home, dirs_exist_ok=True))
