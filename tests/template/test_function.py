"""The function's settings, its alarms, and the parameters that people see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import function_process
from chroma_lifecycle.config import NAMES, Settings, keeps_freed_memory
from tests.closing.test_kept_memory import FUNCTION
from tests.support.cloudformation import Stack
from tests.template.conftest import KEY, NETWORK, ROOT, STREAM


def variables(stack: Stack) -> dict[str, str]:
    """Return the environment of the function."""
    return {name: str(value) for name, value in stack.properties("Compactor")["Environment"]["Variables"].items()}


def of_the_c_library(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("MALLOC_")}


def test_the_function_keeps_what_it_frees(stack: Stack) -> None:
    """S2: what tests/closing/test_kept_memory.py shows is what the template says, and what the benchmarks measure."""
    settings = of_the_c_library(variables(stack))

    assert keeps_freed_memory(settings)
    assert function_process.SETTINGS == settings == FUNCTION


def test_the_function_reads_the_settings_that_the_template_gives(stack: Stack) -> None:
    """L25: store, table and deltas are those of the stack, and no name is one that nobody reads."""
    environment = variables(stack)
    settings = Settings.read(environment)

    assert {*NAMES, *of_the_c_library(environment)} == {*NAMES, *environment}
    assert "s3://Bucket/snapshots" == settings.store
    assert Path("/tmp/chroma-lifecycle") == settings.workspace
    assert "Table" == settings.table or "theirs" == settings.table
    assert (("s3://Bucket/deltas/",) if settings.table == "Table" else ("s3://embeddings/",)) == settings.deltas


def test_work_that_does_not_fit_is_handed_back_in_time(template: dict[str, Any]) -> None:
    """L14: what is kept in reserve is a part of the shortest time-out."""
    reserve = template["Parameters"]["DeadlineReserveSeconds"]

    assert reserve["MaxValue"] <= min(map(int, template["Parameters"]["TimeoutSeconds"]["AllowedValues"])) / 2


def test_everything_can_be_left_out(template: dict[str, Any]) -> None:
    """Each parameter has a default and says what it does."""
    without = {
        name
        for name, each in template["Parameters"].items()
        if "Default" not in each or len(each.get("Description", "")) < 20
    }

    assert set() == without


REFUSED = {
    "a name of all tables": ({"TableName": "*", "StreamArn": STREAM}, "TableName"),
    "a name of all buckets": ({"DeltaBucketName": "*"}, "DeltaBucketName"),
    "an address for a bucket": ({"DeltaBucketName": "s3://embeddings"}, "DeltaBucketName"),
    "all keys": ({"KmsKeyArn": KEY.replace("key/1", "*")}, "KmsKeyArn"),
    "an alias, which no policy knows": ({"KmsKeyArn": KEY.replace("key/1", "alias/mine")}, "KmsKeyArn"),
    "any stream of a table": ({"TableName": "theirs", "StreamArn": STREAM[:-23] + "*"}, "StreamArn"),
    "versions where producers write": ({"StorePrefix": "deltas"}, "StorePrefix"),
    "versions below what is emptied": ({"StorePrefix": "bulk/snapshots"}, "StorePrefix"),
    "a table without its stream": ({"TableName": "theirs"}, "belong together"),
    "a VPC without a subnet": ({"VpcId": "vpc-0a"}, "needs SubnetA"),
    "a subnet without a VPC": ({"SubnetB": "subnet-0a"}, "give VpcId too"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(template: dict[str, Any], case: str) -> None:
    """Nor can a name that a policy is made of be one of many."""
    given, why = REFUSED[case]
    (refusal,) = Stack(template, given).refusals()

    assert why in refusal


def test_what_is_meant_is_taken(stack: Stack, template: dict[str, Any]) -> None:
    """In each of the ways, and where names look alike."""
    assert [] == stack.refusals()
    assert (
        [] == Stack(template, {**NETWORK, "StorePrefix": "deltas-of/bulk", "DeltaBucketName": "my.deltas-1"}).refusals()
    )


def test_every_parameter_stands_in_a_group(template: dict[str, Any]) -> None:
    """Whoever deploys from the console sees them in order."""
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    assert sorted(template["Parameters"]) == sorted(name for group in groups for name in group["Parameters"])


def test_log_lines_are_kept_as_long_as_said(defaults: Stack) -> None:
    """The function writes to the group that the stack owns, and only there."""
    assert {"LogGroup": "Logs"} == defaults.properties("Compactor")["LoggingConfig"]
    assert 30 == defaults.properties("Logs")["RetentionInDays"]


def test_the_image_is_built_from_this_repository(template: dict[str, Any]) -> None:
    """`sam build` uses the Dockerfile with arguments that it knows."""
    metadata = template["Resources"]["Compactor"]["Metadata"]
    dockerfile = (ROOT / metadata["DockerContext"] / metadata["Dockerfile"]).read_text()

    for name, value in metadata["DockerBuildArgs"].items():
        assert f"ARG {name}={value}\n" in dockerfile
