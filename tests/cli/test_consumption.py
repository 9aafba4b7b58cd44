"""``pause`` and ``resume`` on moto's Lambda; wrong ids, and what is missing."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from tests.support.command_line import CommandLine
from tests.support.s3 import client, use_server


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an event source mapping from a queue to a function."""
    use_server(monkeypatch)
    queue = client("sqs").create_queue(QueueName="changes")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    name = "compactor"
    roles = {role["RoleName"]: role["Arn"] for role in client("iam").list_roles()["Roles"]}
    if name not in roles:
        made = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        roles[name] = made["Role"]["Arn"]
    if name not in {each["FunctionName"] for each in client("lambda").list_functions()["Functions"]}:
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", "")
        client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=roles[name],
            Handler="app.f",
            Code={"ZipFile": code.getvalue()},
        )
    return str(client("lambda").create_event_source_mapping(EventSourceArn=arn, FunctionName=name)["UUID"])


def test_a_source_is_paused_and_resumed(empty: CommandLine, source: str) -> None:
    """AWS says what it is on the way to; the mapping's own state follows."""
    paused = empty("pause", source)
    assert (0, True) == (paused.code, paused.out.startswith(f"event source mapping {source}: "))
    assert client("lambda").get_event_source_mapping(UUID=source)["State"].startswith("Disabl")

    resumed = empty("resume", source, "--json")
    assert (0, True) == (resumed.code, resumed.json["enabled"])
    assert client("lambda").get_event_source_mapping(UUID=source)["State"].startswith("Enabl")


def test_what_is_not_there_is_told(empty: CommandLine, source: str) -> None:
    """A pipe or a mapping that nobody made, an id that is none, nothing named, both named."""
    for wrong in (("--pipe", "nobody"), ("12345678-1234-1234-1234-123456789012",), ("compactor",), ("--pipe", "")):
        ended = empty("resume", *wrong)
        assert (2, True) == (ended.code, "hint: take it from the stack's output" in ended.err), ended.err
    assert 2 == empty("pause").code
    assert 2 == empty("resume", source, "--pipe", "x").code
