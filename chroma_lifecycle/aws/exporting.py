"""A bucket that another system reads from: an :class:`chroma_lifecycle.publishing.export.ExportTarget`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.clients import Checksums, make_client
from chroma_lifecycle.aws.errors import aws_errors
from chroma_lifecycle.errors import StoreUnavailable

_PERMISSIONS = "s3:PutObject and s3:ListBucket where it is exported to"


class S3Target:
    """A prefix of a bucket."""

    def __init__(self, address: S3Address, client: Any) -> None:
        self._at = address
        self._client = client

    @classmethod
    def open(cls, address: str, *, checksums: Checksums | None = None) -> S3Target:
        """Return the place ``s3://bucket/prefix``.

        Raises:
            BadInput: This is no address in S3, or the SDK's settings do not make a client.
        """
        return cls(S3Address.parse(address), make_client("s3", checksums=checksums))

    @property
    def address(self) -> str:
        return str(self._at)

    def holds(self, below: str) -> bool:
        with aws_errors(f"the list of {below} in {self.address}", permissions=_PERMISSIONS):
            page = self._client.list_objects_v2(Bucket=self._at.bucket, Prefix=f"{self._at.key(below)}/", MaxKeys=1)
        return bool(page.get("KeyCount"))

    def put(self, name: str, file: Path) -> None:
        with aws_errors(f"{name} in {self.address}", permissions=_PERMISSIONS):
            try:
                self._client.upload_file(str(file), self._at.bucket, self._at.key(name))
            except S3UploadFailedError as problem:  # the transfer's own wrapping of any refusal
                raise StoreUnavailable(
                    f"{name} could not be written to {self.address}: {problem}",
                    hint=f"allow {_PERMISSIONS}, and run it again",
                ) from problem
