"""The template, and the ways to deploy it that the tests compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.cloudformation import Stack, read

ROOT = Path(__file__).parents[2]
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1"
STREAM = "arn:aws:dynamodb:eu-central-1:123456789012:table/theirs/stream/2026-01-01T00:00:00.000"
NETWORK = {"VpcId": "vpc-0a", "SubnetA": "subnet-0a", "SubnetB": "subnet-0b", "SubnetC": "subnet-0c"}

WAYS: dict[str, dict[str, str]] = {
    "defaults": {},
    "stream": {"Source": "stream"},
    "mirror": {**NETWORK, "RouteTableIds": "rtb-0a,rtb-0b"},
    "key": {**NETWORK, "KmsKeyArn": KEY},
    "theirs": {"TableName": "theirs", "StreamArn": STREAM, "DeltaBucketName": "embeddings"},
}


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """template.yaml as it is written."""
    return read(ROOT / "template.yaml")


@pytest.fixture(params=WAYS)
def stack(request: pytest.FixtureRequest, template: dict[str, Any]) -> Stack:
    """The template as deployed, in each of the ways."""
    return Stack(template, WAYS[request.param])


@pytest.fixture
def defaults(template: dict[str, Any]) -> Stack:
    """The template as deployed with nothing said."""
    return Stack(template)


@pytest.fixture
def mirrored(template: dict[str, Any]) -> Stack:
    """The template as deployed into a VPC of three zones."""
    return Stack(template, WAYS["mirror"])
