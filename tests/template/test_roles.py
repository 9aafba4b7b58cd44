"""What each role may do. Whether AWS reads the policies as meant can only be seen in an account."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cloudformation import Stack
from tests.template.conftest import WAYS

# Actions for which IAM or EC2 knows no resource, or names it only afterwards.
WITHOUT_RESOURCE = {"Trace", "Network", "FindEventSources", "Look"}


def statements(stack: Stack, name: str) -> dict[str, dict[str, Any]]:
    """Return the statements of a role or managed policy by their Sid."""
    properties = stack.properties(name)
    documents = [each["PolicyDocument"] for each in properties.get("Policies", [])] or [properties["PolicyDocument"]]
    return {each["Sid"]: each for document in documents for each in document["Statement"]}


def actions(statement: dict[str, Any]) -> set[str]:
    """Return the actions of a statement."""
    named = statement["Action"]
    return {named} if isinstance(named, str) else set(named)


def test_the_compactor_deletes_nothing(stack: Stack) -> None:
    """Nothing in the publishing path deletes, so the function cannot: neither objects nor items nor files."""
    allowed = set().union(*(actions(each) for each in statements(stack, "CompactorRole").values()))

    assert {"sqs:DeleteMessage", "ec2:DeleteNetworkInterface"} >= {each for each in allowed if "Delete" in each}
    assert not {each for each in allowed if "*" in each}


def test_the_compactor_by_default(defaults: Stack) -> None:
    """Each thing that it does, on the one resource that it does it to."""
    found = {
        sid: (sorted(actions(each)), each["Resource"], each.get("Condition"))
        for sid, each in statements(defaults, "CompactorRole").items()
    }

    assert {
        "ReadAndPublishVersions": (
            ["s3:GetObject", "s3:PutObject"], "Bucket.Arn/snapshots/*", None
        ),
        "ReadDeltas": (["s3:GetObject"], "Bucket.Arn/deltas/*", None),
        "TellMissingFromForbidden": (["s3:ListBucket"], ["Bucket.Arn"], None),
        "WriteRunStatus": (["dynamodb:DescribeTable", "dynamodb:UpdateItem"], "Table.Arn", None),
        "Consume": (
            ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], "Queue.Arn", None
        ),
        "Log": (
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/stack-compactor:*", None,
        ),
        "Trace": (["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*", None),
    } == found  # fmt: skip


def test_other_peoples_buckets_and_tables_are_named(template: dict[str, Any]) -> None:
    """Deltas and run items that lie outside the stack are granted by name."""
    granted = statements(Stack(template, WAYS["theirs"]), "CompactorRole")

    assert "arn:aws:s3:::embeddings/*" == granted["ReadDeltas"]["Resource"]
    assert ["Bucket.Arn", "arn:aws:s3:::embeddings"] == granted["TellMissingFromForbidden"]["Resource"]
    assert "arn:aws:dynamodb:eu-central-1:123456789012:table/theirs" == granted["WriteRunStatus"]["Resource"]


@pytest.mark.parametrize("role", ["CompactorRole", "ReaderPolicy"])
def test_a_missing_object_looks_missing(stack: Stack, role: str) -> None:
    """L13: without s3:ListBucket on the bucket, or with a condition on a prefix, S3 answers 403 for a missing HEAD."""
    listing = statements(stack, role)["TellMissingFromForbidden"]

    assert {"s3:ListBucket"} == actions(listing)
    assert "Bucket.Arn" in listing["Resource"]
    assert "Condition" not in listing


def test_the_mirror_is_reached_by_its_access_point_only(mirrored: Stack) -> None:
    """The compactor may write there, readers may not, and neither mounts the root of the file system."""
    compactor, reader = (
        statements(mirrored, "CompactorRole")["Mirror"],
        statements(mirrored, "ReaderPolicy")["MountMirror"],
    )

    assert {"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"} == actions(compactor)
    assert {"elasticfilesystem:ClientMount"} == actions(reader)
    for each in (compactor, reader):
        assert "FileSystem.Arn" == each["Resource"]
        assert {"StringEquals": {"elasticfilesystem:AccessPointArn": "AccessPoint.Arn"}} == each["Condition"]


def test_the_functions_code_makes_no_network(mirrored: Stack) -> None:
    """Lambda's own calls come without the name of a function; those of its code, which has the same role, with it."""
    network = statements(mirrored, "CompactorRole")["Network"]

    assert {"Null": {"lambda:SourceFunctionArn": "true"}} == network["Condition"]


def test_the_pipe_reads_one_stream_and_fills_one_queue(defaults: Stack) -> None:
    """And it tells what it gave up."""
    found = {sid: (sorted(actions(each)), each["Resource"]) for sid, each in statements(defaults, "PipeRole").items()}

    assert {
        "ReadStream": (
            ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"], "Table.StreamArn"
        ),
        "FindStream": (["dynamodb:ListStreams"], "Table.Arn/stream/*"),
        "Send": (["sqs:SendMessage"], ["Queue.Arn", "LostRecords.Arn"]),
    } == found  # fmt: skip


def test_no_policy_is_wider_than_it_must_be(stack: Stack) -> None:
    """A star stands for a resource only where AWS knows none, and for an action nowhere."""
    names = [*stack.of_type("AWS::IAM::Role"), *stack.of_type("AWS::IAM::ManagedPolicy")]

    for sid, each in [pair for name in names for pair in statements(stack, name).items()]:
        assert each["Resource"] != "*" or sid in WITHOUT_RESOURCE, sid
        assert not any(action.endswith("*") for action in actions(each)), sid


def test_queues_take_tls_only(stack: Stack) -> None:
    """Every queue is covered by a policy that denies plain HTTP."""
    covered = {queue for each in stack.of_type("AWS::SQS::QueuePolicy").values() for queue in each["Queues"]}
    denials = [each["PolicyDocument"]["Statement"][0] for each in stack.of_type("AWS::SQS::QueuePolicy").values()]

    assert stack.of_type("AWS::SQS::Queue").keys() == covered
    assert all(("Deny", "sqs:*") == (each["Effect"], each["Action"]) for each in denials)
    assert all({"Bool": {"aws:SecureTransport": "false"}} == each["Condition"] for each in denials)
