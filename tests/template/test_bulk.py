"""bulk.yaml: the state machine walked with the real tasks, and what its roles may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle import errors
from chroma_lifecycle.bulk import bring
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.config import Settings
from handler import bulk
from tests.support.bulk import Build, data_set_records, ids
from tests.support.cloudformation import Stack, read
from tests.support.pages import blocks
from tests.support.resharding import read_here
from tests.support.states import walk
from tests.template.conftest import ROOT
from tests.template.test_roles import WITHOUT_RESOURCE, actions, statements

GIVEN = {"ImageUri": "image", "BucketName": "bucket", "DataSetBucketName": "vectors"}


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack(read(ROOT / "bulk.yaml"), GIVEN)


def definition(stack: Stack, name: str = "Build", **replaced: str) -> dict[str, Any]:
    """Return a state machine, with what is substituted in its place."""
    properties = stack.properties(name)
    text = json.dumps(properties["Definition"])
    for name, value in {**properties["DefinitionSubstitutions"], **replaced}.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    return dict(json.loads(text))


def test_the_state_machine_builds_what_the_command_builds(stack: Stack, tmp_path: Path) -> None:
    """Its states hand every task what it takes, in an order that works; what travels stays small."""
    build, parts = Build(tmp_path, 2).write(ids(0, 30), ids(30, 40)), []
    machine = definition(stack, Work=str(tmp_path / "work"))

    def invoke(event: Any) -> Any:
        parts.append(json.dumps(event))
        return json.loads(json.dumps(run_task(event, build.here)))

    (shown,) = [block.text for block in blocks(ROOT / "docs/bulk.md") if block.language == "json"]
    asked = {key: build.event[key] for key in json.loads(shown)}
    ended = walk(machine, asked, invoke)

    assert data_set_records(*sorted((tmp_path / "data").iterdir())) == build.records()
    assert 40 == sum(shard["records"] for shard in ended["shards"])
    assert 1 + 2 + 1 + 2 + 1 == len(parts)
    assert max(map(len, parts)) < 1_000


def test_the_state_machine_reshards_as_the_command_does(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From two shards to one, and once more: then there is nothing to do; and with new vectors."""
    build, parts = Build(tmp_path, 2).write(ids(0, 30)), []
    build.run()
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)

    def invoke(event: Any) -> Any:
        parts.append(event["task"])
        return json.loads(json.dumps(run_task(event, build.here)))

    (asked,) = [json.loads(block.text) for block in blocks(ROOT / "docs/shards.md") if block.language == "json"]
    assert {"collection", "shards"} == asked.keys()
    asked = {"collection": build.event["collection"], "shards": 1}
    records = build.records()
    ended = walk(definition(stack, "Reshard"), asked, invoke)

    assert {"generation": 2, "shards": ["notes.2-0"]} == ended
    assert ["reshard", "bring", "bring", "close", "bring", "swap"] == parts
    assert records == build.records()
    assert ended == walk(definition(stack, "Reshard"), asked, invoke)
    with_vectors = {"collection": asked["collection"], "source": build.event["source"], "dimension": 4}
    again = walk(definition(stack, "Reshard"), with_vectors, invoke)
    assert {"generation": 3, "shards": ["notes.3-0"]} == again
    assert records == build.records(), "the data set that it was built from has these vectors"
    assert [] == build.left()


def test_the_function_runs_the_task_that_it_is_given(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings are those that the template gives, and the same that every process of this library reads."""
    build = Build(tmp_path).write(ids(0, 5))
    given = stack.properties("Task")["Environment"]["Variables"]
    assert "s3://bucket/snapshots" == Settings.read(given).store
    here = build.here
    for name, value in {
        **given,
        "CHROMA_LIFECYCLE_STORE": here.store,
        "CHROMA_LIFECYCLE_MAPPING": here.mapping,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("CHROMA_LIFECYCLE_WORKSPACE", str(here.workspace))

    assert {"inputs": [0], "shards": [0]} == bulk.lambda_handler(build.event, None)
    with pytest.raises(errors.BadInput, match="no task None"):
        bulk.lambda_handler(None, None)
    assert ["handler.bulk.lambda_handler"] == stack.properties("Task")["ImageConfig"]["Command"]


def test_what_can_be_tried_again_is_and_nothing_else(stack: Stack) -> None:
    """Errors are known by the names of their classes: those of the store and of a swap, and Lambda's own."""
    every = [*definition(stack)["States"].values(), *definition(stack, "Reshard")["States"].values()]
    states = [state for state in every if state["Type"] == "Task"]
    for each in every:
        states += each.get("ItemProcessor", {}).get("States", {}).values()

    assert 5 + 6 == len(states)
    for state in states:
        (retry,) = state["Retry"]
        ours = {name for name in retry["ErrorEquals"] if not name.startswith("Lambda.")}
        kinds = {getattr(errors, name) for name in ours}
        assert not any(issubclass(kind, (errors.BadInput, errors.NoRoom, errors.Corrupt)) for kind in kinds)
        assert {errors.StoreUnavailable, errors.OutcomeUnknown} <= kinds


def test_no_role_is_wider_than_it_must_be(stack: Stack) -> None:
    """Nothing is deleted; a star stands for a resource only where AWS knows none."""
    for role in ("TaskRole", "BuildRole"):
        for sid, each in statements(stack, role).items():
            assert each["Resource"] != "*" or sid in WITHOUT_RESOURCE, sid
            assert not any("*" in action or "Delete" in action for action in actions(each)), sid


def test_the_machine_may_start_itself(stack: Stack) -> None:
    """A distributed map runs its items as executions of the machine that it is in."""
    granted = statements(stack, "BuildRole")
    for number, machine in enumerate(("Build", "Reshard")):
        name = stack.properties(machine)["StateMachineName"]
        assert granted["StartChildren"]["Resource"][number].endswith(f":stateMachine:{name}")
        assert granted["WatchChildren"]["Resource"][number].endswith(f":execution:{name}:*")
    assert "Task.Arn" == granted["RunTasks"]["Resource"]
