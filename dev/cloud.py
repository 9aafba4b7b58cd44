"""Where the services are: addresses, and what leads the AWS SDK and command line of any process to them."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

REGION = "eu-central-1"
_KEY = "local"


@dataclass(frozen=True)
class Cloud:
    """The services.

    Attributes:
        url: Of S3 and SQS.
        dynamodb_url: Of DynamoDB and its streams.
    """

    url: str
    dynamodb_url: str

    def client(self, service: str) -> Any:
        """Return a client of boto3."""
        return _client(service, self.dynamodb_url if service.startswith("dynamodb") else self.url)

    def variables(self) -> dict[str, str]:
        """Return the SDK's own variables for these services."""
        return {
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb_url,
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": self.dynamodb_url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a function with *settings*: nothing of this process's own for AWS or for us."""
        own = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "CHROMA_LIFECYCLE_"))}
        return {**own, **self.variables(), **settings}


@functools.cache
def _client(service: str, url: str) -> Any:
    config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 3})
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=_KEY,
        aws_secret_access_key=_KEY,
        config=config,
    )
