"""bulk.yaml: the state machine walked with the real tasks, and what its roles may do."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from chroma_lifecycle import errors
from chroma_lifecycle.bulk import bring
from chroma_lifecycle.bulk.resharding import give_up
from chroma_lifecycle.bulk.tasks import run_task
from chroma_lifecycle.config import Settings
from chroma_lifecycle.publishing.head import read_head
from chroma_lifecycle.publishing.layout import read_layout
from chroma_lifecycle.wiring import open_store
from handler import bulk
from tests.support.bulk import Build, data_set_records, ids
from tests.support.cloudformation import Stack, read
from tests.support.iam import Iam
from tests.support.pages import blocks
from tests.support.resharding import read_here
from tests.support.s3 import new_bucket, put, use_server
from tests.support.states import ExecutionFailed, walk
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


def failing(build: Build, task: str, problems: list[Exception], tasks: list[str]) -> Any:
    """Return what runs tasks of *build*, and notes them; a named one fails as often as there are problems."""

    def invoke(event: Any) -> Any:
        tasks.append(event["task"])
        if event["task"] == task and problems:
            raise problems.pop(0)
        return json.loads(json.dumps(run_task(event, build.here)))

    return invoke


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A collection in one shard of its own, which a reshard cuts into two."""
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)
    build = Build(tmp_path, 2).write(ids(0, 6))
    build.run()
    return build


def is_closed(build: Build) -> bool:
    """Return whether writers wait: HEAD of every shard in force says so, or none does."""
    store = open_store(build.here.store)
    layout = read_layout(store, build.event["collection"]).layout
    (closed,) = {read_head(store, shard.name).head.closed_for is not None for shard in layout.shards}
    return closed


ASKED = {"collection": "notes", "shards": 1}


@pytest.mark.parametrize("task", ["close", "swap", "bring"])
def test_what_fails_while_writers_wait_lets_them_go_on(stack: Stack, built: Build, task: str) -> None:
    """C15: the shards are open again when the execution has failed, and the same input ends the reshard."""
    tasks: list[str] = []
    full = errors.NoRoom("the disk is full", hint="make room")
    invoke = failing(built, task, [], tasks)

    def after_close(event: Any) -> Any:
        if event["task"] == task and (task == "close" or "close" in tasks):
            tasks.append(task)
            if task == "close":
                run_task(event, built.here)  # and then the function ends
            raise full
        return invoke(event)

    with pytest.raises(ExecutionFailed, match="the disk is full") as ended:
        walk(definition(stack, "Reshard"), ASKED, after_close)
    assert ("States.ExceedToleratedFailureThreshold" if task == "bring" else "NoRoom") == ended.value.error
    assert [task, "reopen"] == tasks[-2:]
    assert not is_closed(built)
    assert {"generation": 2, "shards": ["notes.2-0"]} == walk(definition(stack, "Reshard"), ASKED, invoke)


def test_what_fails_before_writers_wait_ends_it(stack: Stack, built: Build) -> None:
    """There is nothing to open."""
    tasks: list[str] = []
    with pytest.raises(ExecutionFailed, match="the disk is full"):
        full = errors.NoRoom("the disk is full", hint="make room")
        walk(definition(stack, "Reshard"), ASKED, failing(built, "bring", [full], tasks))
    assert ["reshard", "bring"] == tasks


def test_what_passes_is_tried_again_and_no_longer_than_a_few_times(stack: Stack, built: Build) -> None:
    """A store that is away for a while delays it; one that stays away while writers wait is told by its own name."""
    away = [errors.StoreUnavailable("away", hint="wait") for _ in range(50)]
    tasks: list[str] = []
    walked = failing(built, "reopen", away, tasks)

    def invoke(event: Any) -> Any:
        if event["task"] == "swap":
            tasks.append("swap")
            raise errors.StoreUnavailable("away", hint="wait")
        return walked(event)

    with pytest.raises(ExecutionFailed, match="bulk reshard --undo") as ended:
        walk(definition(stack, "Reshard"), ASKED, invoke)
    assert ("StayClosed", 6, 6) == (ended.value.error, tasks.count("swap"), tasks.count("reopen"))
    assert is_closed(built)
    again = failing(built, "swap", away[:2], tasks)
    assert {"generation": 2, "shards": ["notes.2-0"]} == walk(definition(stack, "Reshard"), ASKED, again)


class TooManyRequestsException(Exception):
    """Lambda's: no function of the account is free for one more task."""


TooManyRequestsException.__name__ = "Lambda.TooManyRequestsException"


@pytest.mark.parametrize("task", ["split", "build"])
def test_tasks_wait_for_functions_that_are_at_work(stack: Stack, tmp_path: Path, task: str) -> None:
    """An account may run ten at once where a map begins fifty, each of them for minutes."""
    build, tasks = Build(tmp_path, 2).write(ids(0, 6)), list[str]()
    busy: list[Exception] = [TooManyRequestsException("all are at work") for _ in range(100)]

    walk(definition(stack, Work=build.event["work"]), build.event, failing(build, task, busy, tasks))

    assert 100 < tasks.count(task)


def test_writers_do_not_wait_for_a_function(stack: Stack, built: Build) -> None:
    """A reshard waits for one as long as it takes before it closes the shards, and lets writers go on after that."""
    busy, tasks = TooManyRequestsException("all are at work"), list[str]()
    brings = chain(repeat(busy, 100), [None], repeat(busy, 100), [None], repeat(busy))
    walked = failing(built, "", [], tasks)

    def invoke(event: Any) -> Any:
        if event["task"] == "bring" and (problem := next(brings)):
            tasks.append("busy")
            raise problem
        return walked(event)

    with pytest.raises(ExecutionFailed, match="all are at work"):
        walk(definition(stack, "Reshard"), ASKED, invoke)

    assert ["reshard", "bring", "bring", "close", "reopen"] == [task for task in tasks if task != "busy"]
    assert 6 == len(tasks) - 1 - tasks.index("close") - 1
    assert not is_closed(built)


def test_one_that_was_given_up_meanwhile_ends_with_that(stack: Stack, built: Build) -> None:
    """Whoever gave it up has opened the shards: nobody is told that they stay closed."""
    invoke = failing(built, "", [], [])

    def given_up_first(event: Any) -> Any:
        if event["task"] == "swap":
            give_up(open_store(built.here.store), "notes", "test")
        return invoke(event)

    with pytest.raises(ExecutionFailed, match="was given up") as ended:
        walk(definition(stack, "Reshard"), ASKED, given_up_first)
    assert "BadInput" == ended.value.error
    assert not is_closed(built)


def test_a_reshard_that_does_not_end_wakes_somebody(stack: Stack) -> None:
    """D8: failed, timed out or stopped, by the numbers of this machine; what did not happen counts as none."""
    alarm = stack.properties("ReshardAlarm")
    ended, *parts = alarm["Metrics"]
    names = {part["Id"]: part["MetricStat"]["Metric"] for part in parts}
    assert "FILL(failed, 0) + FILL(timedout, 0) + FILL(aborted, 0)" == ended["Expression"]
    assert {"failed": "ExecutionsFailed", "timedout": "ExecutionsTimedOut", "aborted": "ExecutionsAborted"} == {
        name: metric["MetricName"] for name, metric in names.items()
    }
    machine = [{"Name": "StateMachineArn", "Value": "Reshard"}]
    assert all(machine == each["Dimensions"] for each in names.values())
    assert (1, "GreaterThanOrEqualToThreshold", "notBreaching") == (
        alarm["Threshold"],
        alarm["ComparisonOperator"],
        alarm["TreatMissingData"],
    )
    assert "bulk reshard --undo" in alarm["AlarmDescription"]


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

    died = here.workspace / ".bulk/tasks/another/working-1/chroma.sqlite3"
    died.parent.mkdir(parents=True)
    died.touch()

    assert {"inputs": [0], "shards": [0]} == bulk.lambda_handler(build.event, None)
    assert [] == build.left(), "a task that was cut off took this one's room"
    with pytest.raises(errors.BadInput, match="no task None"):
        bulk.lambda_handler(None, None)
    assert ["handler.bulk.lambda_handler"] == stack.properties("Task")["ImageConfig"]["Command"]


def test_what_can_be_tried_again_is_and_nothing_else(stack: Stack) -> None:
    """Errors are known by the names of their classes: those of the store and of a swap, and Lambda's own."""
    every = [*definition(stack)["States"].values(), *definition(stack, "Reshard")["States"].values()]
    states = [state for state in every if state["Type"] == "Task"]
    for each in every:
        states += each.get("ItemProcessor", {}).get("States", {}).values()

    assert 5 + 7 == len(states)
    for state in states:
        again = [name for retry in state["Retry"] for name in retry["ErrorEquals"]]
        assert len(again) == len(set(again))
        ours = {name for name in again if not name.startswith("Lambda.")}
        kinds = {getattr(errors, name) for name in ours}
        assert not any(issubclass(kind, (errors.BadInput, errors.NoRoom, errors.Corrupt)) for kind in kinds)
        assert {errors.StoreUnavailable, errors.OutcomeUnknown} <= kinds


def test_no_role_is_wider_than_it_must_be(stack: Stack) -> None:
    """Nothing is deleted; a star stands for a resource only where AWS knows none."""
    for role in ("TaskRole", "BuildRole"):
        for sid, each in statements(stack, role).items():
            assert each["Resource"] != "*" or sid in WITHOUT_RESOURCE, sid
            assert not any("*" in action or "Delete" in action for action in actions(each)), sid


def test_the_tasks_may_do_all_that_they_do(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build and a reshard in S3, by the function and with its rights alone."""
    use_server(monkeypatch)
    monkeypatch.setattr(bring, "read_chroma_delta", read_here)
    bucket, vectors = new_bucket(), new_bucket()
    build = Build(tmp_path, 2).write(ids(0, 6))
    for path in (tmp_path / "data").iterdir():
        put(vectors, f"january/{path.name}", path.read_bytes())
    given = Stack(read(ROOT / "bulk.yaml"), {**GIVEN, "BucketName": bucket, "DataSetBucketName": vectors})
    for name, value in given.properties("Task")["Environment"]["Variables"].items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("CHROMA_LIFECYCLE_MAPPING", build.here.mapping)
    monkeypatch.setenv("CHROMA_LIFECYCLE_WORKSPACE", str(tmp_path / "workspace"))
    allowed = Iam(statements(given, "TaskRole"), {})
    asked = {"collection": "notes", "source": f"s3://{vectors}/january", "dimension": 4, "space": "l2"}

    with allowed.playing():
        built = walk(definition(given), asked, lambda event: bulk.lambda_handler(event, None))
        ended = walk(definition(given, "Reshard"), ASKED, lambda event: bulk.lambda_handler(event, None))

    assert 6 == sum(shard["records"] for shard in built["shards"])
    assert {"generation": 2, "shards": ["notes.2-0"]} == ended
    assert set() == allowed.refused | allowed.idle


def test_the_machines_alone_take_on_their_role(stack: Stack) -> None:
    """Step Functions does, for a state machine of this stack, and for no other's."""
    (trust,) = stack.properties("BuildRole")["AssumeRolePolicyDocument"]["Statement"]
    (pattern,) = trust["Condition"]["ArnLike"].values()
    prefix = "arn:aws:states:eu-central-1:123456789012:stateMachine:"

    assert {"aws:SourceAccount": "123456789012"} == trust["Condition"]["StringEquals"]
    for machine in ("Build", "Reshard"):
        assert fnmatchcase(prefix + stack.properties(machine)["StateMachineName"], pattern)
    assert not fnmatchcase(f"{prefix}another", pattern)


@pytest.mark.parametrize(
    "given",
    [
        {"BucketName": "*"},
        {"DataSetBucketName": "s3://vectors"},
        {"StorePrefix": "bulk"},
        {"KmsKeyArn": "arn:aws:kms:*"},
    ],
)
def test_names_of_many_are_refused(given: dict[str, str]) -> None:
    """What a policy is made of names one thing, and versions do not lie where tasks put what is removed afterwards."""
    template = read(ROOT / "bulk.yaml")

    assert [] == Stack(template, GIVEN).refusals()
    assert list(given) == Stack(template, {**GIVEN, **given}).refusals()


def test_the_machine_may_start_itself(stack: Stack) -> None:
    """A distributed map runs its items as executions of the machine that it is in."""
    granted = statements(stack, "BuildRole")
    for number, machine in enumerate(("Build", "Reshard")):
        name = stack.properties(machine)["StateMachineName"]
        assert granted["StartChildren"]["Resource"][number].endswith(f":stateMachine:{name}")
        assert granted["WatchChildren"]["Resource"][number].endswith(f":execution:{name}:*")
    assert "Task.Arn" == granted["RunTasks"]["Resource"]
