"""Plays IAM before the moto server: what the statements of a policy do not allow is refused, as AWS would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tests.support.cloudformation import PSEUDO

_S3 = {
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "GetBucketVersioning": "GetBucketVersioning",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObject": "PutObject",
    "UploadFile": "PutObject",  # by several requests
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
}
_HERE = f"{PSEUDO['AWS::Region']}:{PSEUDO['AWS::AccountId']}"

Needed = tuple[str, str]
"""An action, and the ARN that it is for."""


def needed(service: str, operation: str, given: Mapping[str, Any]) -> Iterator[Needed]:
    """Yield what a request must be allowed; a KeyError is an operation that nobody has thought of here."""
    match service:
        case "s3":
            yield from _of_s3(operation, given)
        case "dynamodb":
            yield f"dynamodb:{operation}", f"arn:aws:dynamodb:{_HERE}:table/{given['TableName']}"
        case "lambda":
            yield f"lambda:{operation}", f"arn:aws:lambda:{_HERE}:event-source-mapping:{given['UUID']}"
        case _:
            raise KeyError(service)


def _of_s3(operation: str, given: Mapping[str, Any]) -> Iterator[Needed]:
    bucket = f"arn:aws:s3:::{given['Bucket']}"
    version = "Version" if "VersionId" in given else ""
    match operation:
        case "GetObject" | "HeadObject":
            yield f"s3:GetObject{version}", f"{bucket}/{given['Key']}"
        case "DeleteObjects":
            for each in given["Delete"]["Objects"]:
                yield f"s3:DeleteObject{'Version' if 'VersionId' in each else ''}", f"{bucket}/{each['Key']}"
        case _:
            yield f"s3:{_S3[operation]}", f"{bucket}/{given['Key']}" if "Key" in given else bucket
    if "IfMatch" in given:  # S3 compares on behalf of one who could read
        yield "s3:GetObject", f"{bucket}/{given['Key']}"


class Iam:
    """What some statements allow, and what was asked for.

    Args:
        statements: Of policies, resolved; conditions are not looked at.
        names: What the resources of the template are called here: ``{"Bucket.Arn": "arn:aws:s3:::..."}``.
    """

    def __init__(self, statements: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> None:
        self._allowed = [
            (action, _named(resource, names))
            for each in statements.values()
            for action in _several(each["Action"])
            for resource in _several(each["Resource"])
        ]
        self._used: set[tuple[str, str]] = set()
        self.asked: set[str] = set()
        self.refused: set[Needed] = set()

    @property
    def idle(self) -> set[str]:
        """What is allowed of objects and items, and was needed by no request.

        Without s3:ListBucket, which no request may need: S3 asks for it before it says that a key is missing.
        """
        unused = {action for action, _ in set(self._allowed) - self._used}
        return {action for action in unused if action.startswith(("s3:", "dynamodb:"))} - {"s3:ListBucket"}

    @contextmanager
    def playing(self) -> Iterator[Iam]:
        """Refuse what is not allowed, for as long as the block lasts."""
        send = BaseClient._make_api_call

        def checked(client: Any, operation: str, given: Mapping[str, Any]) -> Any:
            self._check(client.meta.service_model.service_name, operation, given)
            return send(client, operation, given)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(BaseClient, "_make_api_call", checked)
            yield self

    def _check(self, service: str, operation: str, given: Mapping[str, Any]) -> None:
        self.asked.add(f"{service}:{operation}")
        refused = [each for each in needed(service, operation, given) if not self._allows(*each)]
        if refused:
            self.refused.update(refused)
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": refused[0][0]}}, operation)

    def _allows(self, action: str, arn: str) -> bool:
        found = {(known, pattern) for known, pattern in self._allowed if action == known and fnmatchcase(arn, pattern)}
        self._used |= found
        return bool(found)


def _several(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _named(resource: str, names: Mapping[str, str]) -> str:
    name, slash, rest = resource.partition("/")
    return f"{names.get(name, name)}{slash}{rest}"
