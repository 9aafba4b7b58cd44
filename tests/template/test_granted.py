"""What the code asks AWS for, held against what the template's policies allow it: IAM played before the moto server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handler.app
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.producer import Producer
from chroma_lifecycle.reader import SnapshotReader
from dev.queues import lambda_event
from tests.support.cloudformation import PSEUDO, Stack
from tests.support.command_line import MAPPING, CommandLine
from tests.support.iam import Iam, needed
from tests.support.pipeline import QUEUE, Context, Pipeline, cold
from tests.support.s3 import use_server
from tests.template.conftest import ROOT
from tests.template.test_roles import actions, statements

NOTE = "USER#u#NOTE#a"
NOBODY = "12345678-1234-1234-1234-123456789012"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A table, a queue and a bucket; the function has the settings that the template gives it."""
    use_server(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("notes.yaml").write_text(MAPPING)
    made = Pipeline()
    for name, value in made.settings(tmp_path / "workspace", "notes.yaml").items():
        monkeypatch.setenv(name, value)
    cold()
    yield made
    cold()


@pytest.fixture
def cli(pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> CommandLine:
    """The command line, as the pipeline's environment leads it."""
    return CommandLine(tmp_path, capsys, monkeypatch)


def iam(stack: Stack, policy: str, made: Pipeline) -> Iam:
    """Return what a policy of the template allows, by the names that its resources have here."""
    here = f"{PSEUDO['AWS::Region']}:{PSEUDO['AWS::AccountId']}"
    names = {
        "Bucket.Arn": f"arn:aws:s3:::{made.name}",
        "Table.Arn": f"arn:aws:dynamodb:{here}:table/{made.name}",
    }
    return Iam(statements(stack, policy), names)


def write_delta(made: Pipeline, address: str) -> None:
    with DeltaWriter(Path(address), dimension=3) as writer:
        writer.add([NOTE], np.ones((1, 3), np.float32), ["a document"], [{}])
    made.s3.upload_file(address, made.name, f"deltas/{address}")


def invoke(made: Pipeline, allowed: Iam | None = None) -> list[dict[str, str]]:
    """Let the pipe work, and then the function, with the rights that it has; return what it names as failed."""
    made.pipe()
    event = lambda_event(made.receive(), QUEUE)
    with allowed.playing() if allowed else nullcontext():
        answer = handler.app.lambda_handler(event, Context())  # type: ignore[arg-type]
    return list(answer["batchItemFailures"])


def begun(cli: CommandLine, made: Pipeline) -> None:
    """Begin the collection and merge one run, by nobody's rights."""
    assert 0 == cli("init", "--dimension", "3").code
    write_delta(made, "r1.parquet")
    made.put("USER#u", "RUN#1", delta="r1.parquet", state="PENDING")
    assert [] == invoke(made)


def test_the_function_may_do_all_that_it_does(defaults: Stack, cli: CommandLine, pipeline: Pipeline) -> None:
    """L9: publish versions, read deltas and miss some, and tell the table of runs that end well and badly."""
    assert 0 == cli("init", "--dimension", "3").code
    write_delta(pipeline, "r1.parquet")
    pipeline.put("USER#u", "RUN#1", delta="r1.parquet", state="PENDING")
    pipeline.put("USER#u", "RUN#2", delta="missing", state="PENDING")
    pipeline.put("USER#u", "NOTE#a", title="a title")
    allowed = iam(defaults, "CompactorRole", pipeline)

    failed = invoke(pipeline, allowed)

    assert set() == allowed.refused | allowed.idle
    assert 1 == len(failed)
    assert "COMPLETED" == pipeline.item("USER#u", "RUN#1")["state"]
    assert "there is no delta" in pipeline.item("USER#u", "RUN#2")["error"]


def test_a_query_function_may_do_all_that_it_does(defaults: Stack, cli: CommandLine, pipeline: Pipeline) -> None:
    """It reads versions, looks for newer ones, and is told of a collection that is not there."""
    begun(cli, pipeline)
    allowed = iam(defaults, "ReaderPolicy", pipeline)

    with allowed.playing(), SnapshotReader.open(f"s3://{pipeline.name}/snapshots", "notes") as reader:
        with reader.collection() as notes:
            assert 1 == notes.count()
        reader.refresh()
        assert "no HEAD" in cli("status", "--collection", "other").err

    assert set() == allowed.refused | allowed.idle


def test_an_embedding_job_may_do_all_that_it_does(defaults: Stack, cli: CommandLine, pipeline: Pipeline) -> None:
    """A Producer delivers and announces; the same again finds what is there."""
    allowed = iam(defaults, "ProducerPolicy", pipeline)
    root = f"s3://{pipeline.name}/deltas/"

    with allowed.playing():
        for _ in range(2):
            producer = Producer.open(mapping="notes.yaml", dimension=3, deltas=root, table=pipeline.name)
            with producer.run(user="u", run="9") as run:
                run.add([NOTE], [[1.0, 0.0, 0.0]])

    assert set() == allowed.refused | allowed.idle
    assert "PENDING" == pipeline.item("USER#u", "RUN#9")["state"]


COMMANDS = f"""\
pin kept
unpin kept
resync --table TABLE --apply
expire --keep 1
sweep --delete --grace 0s
recover --dry-run
doctor --trial
erase {NOTE} --delete
erase --check
delta inspect s3://TABLE/deltas/r1.parquet
pause {NOBODY}
"""


def test_an_operator_may_do_all_that_the_command_line_does(
    defaults: Stack, cli: CommandLine, pipeline: Pipeline
) -> None:
    """Every command that works on the stack's own store, table and event source."""
    begun(cli, pipeline)
    pipeline.put("USER#u", "RUN#2", delta="r1.parquet", state="PENDING")  # for a resync to merge, and to tell of
    cold()  # the workspace is the command line's now
    allowed = iam(defaults, "OperatorPolicy", pipeline)

    with allowed.playing():
        ended = {line: cli(*line.replace("TABLE", pipeline.name).split()) for line in COMMANDS.splitlines()}

    assert set() == allowed.refused
    assert {"dynamodb:GetItem", "dynamodb:Query"} == allowed.idle, "these are for people who look for a run"
    failed = {line: each.err or each.out for line, each in ended.items() if each.code}
    assert {"recover --dry-run", f"pause {NOBODY}"} == failed.keys(), failed
    assert "nothing to recover" in ended["recover --dry-run"].err


def operations() -> Iterator[tuple[str, str]]:
    """Yield each operation that the code calls by name on a client, with the module that does."""
    for path in sorted((ROOT / "chroma_lifecycle/aws").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(ast.Attribute(ast.Name("self"), "_client"), operation) if operation != "exceptions":
                    yield path.stem, operation


@pytest.mark.parametrize(("module", "operation"), sorted(set(operations())))
def test_every_operation_is_allowed_to_somebody(defaults: Stack, module: str, operation: str) -> None:
    """A call that no policy of the template names was forgotten there."""
    granted = {
        action
        for policy in ("CompactorRole", "OperatorPolicy", "ReaderPolicy", "ProducerPolicy")
        for each in statements(defaults, policy).values()
        for action in actions(each)
    }
    service = {"dynamodb": "dynamodb", "scanning": "dynamodb", "consumption": "lambda"}.get(module, "s3")
    name = operation.title().replace("_", "")
    if operation in ("start_pipe", "stop_pipe"):
        assert f"pipes:{name}" in granted
        return
    given = {"Bucket": "b", "Key": "k", "TableName": "t", "UUID": "u", "Delete": {"Objects": [{"Key": "k"}]}}
    assert {action for action, _ in needed(service, name, given)} <= granted
