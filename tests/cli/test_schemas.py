"""What ``--json`` prints is what the published schemas say: of every command, by real output."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.command_line import CommandLine
from tests.support.commands import COMMANDS, options
from tests.support.schemas import SCHEMAS, WHAT_TO_DO, path_of, problems

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text()
WITH_JSON = {name for name, command in COMMANDS.items() if any("--json" in each.opts for each in options(command))}

RUNS: dict[str, list[str]] = {
    "mapping new": ["mapping new items.json", "mapping new items.json -o mine.yaml"],
    "mapping check": [
        "mapping check notes.yaml",
        "mapping check receipts",
        "mapping check notes.yaml first.json second.json other.json",
    ],
    "delta inspect": ["delta inspect deltas/run-1.parquet", "delta inspect out -c notes"],
    "delta validate": [
        "delta validate deltas/run-1.parquet --mapping notes.yaml --dimension 3 --below USER#u",
        "delta validate deltas/of-four.parquet --mapping notes.yaml --store store --limit 1",
    ],
    "delta write": ["delta write deltas/run-1.parquet --mapping notes.yaml --store store --key user=u --key run=9"],
    "delta convert": ["delta convert deltas/run-1.parquet run-1.jsonl"],
    "init": [
        "init --store new -c notes --dimension 3",
        "init --store newer -c notes --dimension 3 --dry-run",
        "init --store newest -c notes --from out",
    ],
    "bulk build": [
        "bulk build deltas/run-1.parquet --store bulky -c notes --dimension 3 --workspace workspace --workers 1",
        "bulk build deltas/run-1.parquet --store bulk -c notes --dimension 3 --workspace workspace --dry-run",
    ],
    "export": ["export {at} --to exported", "export {at} --output notes.parquet"],
    "compact": [
        "compact {with} first.json",
        "compact {with} third.json missing.json second.json other.json --mirror mirror",
    ],
    "log": ["log {at} --all"],
    "status": ["status {at}", "status {at} --mirror mirror", "status {at} --mirror nowhere --mapping receipts"],
    "show": ["show {at}", "show {at} --version 1"],
    "diff": [
        "diff {at}",
        "diff 1 2 {at} --limit 1 --values",
        "diff 3 first {at} --record USER#u#NOTE#a",
        "rebase {at} --workspace workspace",
        "diff {at}",
    ],
    "verify": ["verify {at}", "verify {at} --all --deep", "verify --store damaged -c notes --all"],
    "restore": ["restore {at} --to restored", "restore {at} --to again --version 2 --fallback"],
    "expire": ["expire {at} --keep 2", "expire {at} --keep 2", "expire {at} --undo"],
    "pin": ["pin second {at} --version 2"],
    "unpin": ["unpin first {at}"],
    "sweep": [
        "mirror {at} --mirror mirror --repair",
        "expire {at} --keep 1",
        "sweep {at} --grace 0s --mirror mirror",
        "sweep {at} --grace 0s --mirror mirror --delete",
    ],
    "recover": ["recover --store headless -c notes --dry-run", "recover --store headless -c notes"],
    "mirror": ["mirror {at} --mirror mirror", "mirror {at} --mirror mirror --repair", "mirror {at} --mirror mirror"],
    "move": ["move --store store -c notes --to moved"],
    "copy": ["copy {at} --to copied"],
    "query": ["query {at} --id USER#u#NOTE#a --id nobody", "query {at} --vector '[1,2,3]'"],
    "report": ["report {at} -o report.html --mirror mirror"],
    "rebase": ["rebase {at} --workspace workspace --mirror mirror", "rebase {at} --workspace workspace"],
    "rollback": ["rollback 2 {at} --workspace workspace --mirror mirror"],
    "explain": ["explain USER#u#NOTE#a {at} --mapping notes.yaml", "explain nobody {at} --mapping notes.yaml"],
    "reapply": ["rollback 1 {at} --workspace workspace", "reapply {with} --dry-run", "reapply {with}"],
    "rebuild": ["rebuild {at} --workspace workspace --space l2"],
    "erase": [
        "unpin first {at}",
        "erase USER#u#NOTE#c {at} --workspace workspace",
        "erase USER#u#NOTE#c {at} --workspace workspace --mirror mirror --delete",
        "erase {at} --check",
    ],
    "plan": [
        "plan --vectors 1000 --dimension 3",
        "plan --vectors 10000000 --dimension 768 --with-mirror --prices prices.json",
    ],
    "doctor": ["doctor out", "doctor {pid}", "doctor damaged/notes", "doctor --store store -c notes --trial"],
}
"""What is run for each command, in a directory with three versions, the first one pinned; see `prepared`."""

ELSEWHERE = {
    "bulk reembed": "test_resharding.py",
    "bulk reshard": "test_resharding.py",
    "bulk sweep": "test_resharding.py",
    "resync": "test_resync.py",
    "pause": "test_consumption.py",
    "resume": "test_consumption.py",
    "upload": "test_upload.py",
}
"""Commands that need AWS or a server: run there, by a helper that checks every output as this page does."""

PLACES = {
    "{at}": "--store store --collection notes",
    "{with}": "--store store --mapping notes.yaml --workspace workspace --deltas deltas",
}


@pytest.fixture
def prepared(cli: CommandLine) -> CommandLine:
    """A mirror, a restored directory, a store that lost its HEAD, and one with a damaged object."""
    (cli.home / "mirror").mkdir()
    (cli.home / "prices.json").write_text('{"write": 0.00001}')
    cli.at("pin", "first", "--version", "1")
    cli.at("restore", "--to", "out")
    for name in ("headless", "damaged"):
        shutil.copytree(cli.home / "store", cli.home / name)
    (cli.home / "headless/notes/HEAD").unlink()
    shutil.rmtree(cli.home / "headless/notes/heads")
    damaged = next(path for path in (cli.home / "damaged/notes/objects").rglob("*") if path.is_file())
    damaged.write_bytes(b"torn")
    return cli


def filled(line: str) -> list[str]:
    for place, given in {**PLACES, "{pid}": str(os.getpid())}.items():
        line = line.replace(place, given)
    return shlex.split(line)


@pytest.mark.parametrize("name", sorted(WITH_JSON | RUNS.keys()))
def test_what_a_command_prints_is_what_its_schema_says(name: str, prepared: CommandLine) -> None:
    """Each in several states; one that has no run here cannot be trusted."""
    if name in ELSEWHERE:
        assert '"--json"' in (Path(__file__).parent / ELSEWHERE[name]).read_text()
        return
    assert name in RUNS, f"say in RUNS how `{name} --json` is run, and {WHAT_TO_DO.format(file=path_of(name).name)}"
    checked = 0

    for line in RUNS[name]:
        ended = prepared(*filled(line), "--json")
        assert ended.out, ended.err
        if line.startswith(name):
            assert [] == problems(name, ended.json)
            checked += 1

    assert checked


def test_an_error_is_what_its_schema_says(cli: CommandLine) -> None:
    """Of the tree, of wrong use, and of the system: one object on standard error, and nothing beside it."""
    for arguments in (["log", "--store", "nowhere", "-c", "notes"], ["log", "--nothing"], ["pin", "x", "--store", "/"]):
        ended = cli(*arguments, "--json")
        assert "" == ended.out
        assert [] == problems("error", json.loads(ended.err))


def test_every_schema_belongs_to_a_command() -> None:
    """One that nothing is held to is not true."""
    there = {path.stem for path in SCHEMAS.glob("*.json")} - {"shared", "error", "in-shards"}

    assert there == {path_of(name).stem for name in WITH_JSON}


@pytest.mark.parametrize("name", sorted(WITH_JSON))
def test_the_section_of_a_command_leads_to_its_schema(name: str) -> None:
    """Whoever writes a program finds it where the option stands."""
    assert f"[`--json`](schemas/{path_of(name).name})" in PAGE, WHAT_TO_DO.format(file=path_of(name).name)


def schemas_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema below *node* that says what a value is."""
    if isinstance(node, list):
        for each in node:
            yield from schemas_in(each)
    elif isinstance(node, dict):
        if {"type", "properties", "enum", "$ref"} & node.keys() and isinstance(node.get("type", ""), str | list):
            yield node
        for each in node.values():
            yield from schemas_in(each)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_a_schema_is_closed_and_described(path: Path) -> None:
    """A name that it does not know fails, so that none is added unseen; every name says what it means."""
    schema = json.loads(path.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    assert (path.name, f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n") == (
        schema["$id"],
        path.read_text("utf-8"),
    )

    for each in schemas_in(schema):
        if "properties" not in each:
            continue
        assert each["additionalProperties"] is False
        assert set(each["required"]) <= each["properties"].keys()
        for name, field in each["properties"].items():
            assert re.search(r"\w.*\.$", field.get("description", "")), name


def test_the_check_itself_can_fail() -> None:
    """Another name, a name too few, another type, a value out of bounds, a command that nobody knows."""
    good = {"source": "id", "pipe": None, "enabled": True, "state": "Enabled"}
    assert [] == problems("pause", good)

    wrong: list[dict[str, Any]] = [{"more": 1}, {"enabled": 1}, {"source": 3}]
    assert [1, 1, 1] == [len(problems("pause", good | each)) for each in wrong]
    assert 1 == len(problems("pause", {name: good[name] for name in ("source", "pipe", "enabled")}))
    assert "has no schema: write docs/schemas/no-command.json" in problems("no command", good)[0]
