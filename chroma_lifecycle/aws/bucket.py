"""What the rules of a store's bucket say, as S3 tells them; :mod:`chroma_lifecycle.page.bucket` judges them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore import exceptions as boto

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.clients import make_client
from chroma_lifecycle.aws.errors import FORBIDDEN, MISSING, aws_errors, code_of
from chroma_lifecycle.clock import new_id

# Codes of "nobody has set any". The last is what some compatible stores say of a part of S3 that they have not.
_UNSET = {
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ObjectLockConfigurationNotFound",
    "NotImplemented",
}
# From these an object must be brought back, for hours, before it can be read. Intelligent tiering moves objects
# there only where somebody has set that up beside the lifecycle rules.
_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A lifecycle rule that is in force for objects of the store.

    Attributes:
        name: Its id.
        whole: Whether it is in force for all of them, and not for some alone.
        expires: It deletes current objects.
        archives: It moves current objects to where they cannot be read at once.
        aborts_uploads: It removes what was uploaded of objects that were never finished.
        removes_noncurrent: It removes versions that were replaced or deleted.
    """

    name: str
    whole: bool
    expires: bool
    archives: bool
    aborts_uploads: bool
    removes_noncurrent: bool


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was found out about a bucket, as far as one may look.

    Attributes:
        name: The bucket.
        rules: Its lifecycle rules that concern the store.
        versioned: Whether replaced and deleted objects are kept as noncurrent versions.
        locked: Whether object lock can forbid to delete them.
        tells_missing: Whether a key that is not there is told as missing, and not as forbidden.
        unseen: The permissions that were missing; what they would show is told as if it were not set.
    """

    name: str
    rules: tuple[Rule, ...]
    versioned: bool
    locked: bool
    tells_missing: bool
    unseen: tuple[str, ...]


def look_at_bucket(address: str) -> Bucket:
    """Return what is known of the bucket of the store at *address*, ``s3://bucket/prefix``; it only reads.

    Raises:
        BadInput: This is no address in S3, or the SDK's settings do not make a client.
        StoreUnavailable: There is no such bucket, or S3 does not answer.
    """
    at = S3Address.parse(address)
    look = _Look(at, make_client("s3"))
    # First, because a bucket that does not exist is told best by a request that everybody makes.
    tells_missing = look.tells_missing()
    lifecycle = look.setting("s3:GetLifecycleConfiguration", "get_bucket_lifecycle_configuration")
    versioning = look.setting("s3:GetBucketVersioning", "get_bucket_versioning")
    lock = look.setting("s3:GetBucketObjectLockConfiguration", "get_object_lock_configuration")
    return Bucket(
        at.bucket,
        tuple(_rules(lifecycle.get("Rules", ()), f"{at.prefix}/" if at.prefix else "")),
        versioning.get("Status") == "Enabled",
        lock.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled",
        tells_missing,
        tuple(look.unseen),
    )


class _Look:
    def __init__(self, at: S3Address, client: Any) -> None:
        self._at = at
        self._client = client
        self.unseen: list[str] = []

    def setting(self, permission: str, operation: str) -> Mapping[str, Any]:
        """Return an answer about the bucket; nothing if nobody has set it, or we may not know."""
        with aws_errors(f"the bucket {self._at.bucket}", permissions=permission):
            try:
                answer: Mapping[str, Any] = getattr(self._client, operation)(Bucket=self._at.bucket)
            except boto.ClientError as problem:
                if code_of(problem) in FORBIDDEN:
                    self.unseen.append(permission)
                elif code_of(problem) not in _UNSET:
                    raise
                return {}
        return answer

    def tells_missing(self) -> bool:
        """Return whether a key that nobody has written is told as missing."""
        nowhere = self._at.key(f"doctor-{new_id()}/HEAD")
        with aws_errors(f"the bucket {self._at.bucket}"):
            try:
                self._client.get_object(Bucket=self._at.bucket, Key=nowhere)
            except boto.ClientError as problem:
                if code_of(problem) in MISSING:
                    return True
                if code_of(problem) not in FORBIDDEN:
                    raise
        return False


def _rules(told: Any, prefix: str) -> Iterator[Rule]:
    for rule in told:
        both = rule.get("Filter", {}).get("And", {})
        of = rule.get("Prefix") or rule.get("Filter", {}).get("Prefix") or both.get("Prefix") or ""
        tagged = "Tag" in rule.get("Filter", {}) or bool(both.get("Tags"))  # none of our objects has a tag
        if rule.get("Status") != "Enabled" or tagged or not (prefix.startswith(of) or of.startswith(prefix)):
            continue
        sized = any("ObjectSize" in key for key in (*rule.get("Filter", {}), *both))
        expiration = rule.get("Expiration", {})
        yield Rule(
            rule.get("ID", "without a name"),
            prefix.startswith(of) and not sized,
            "Days" in expiration or "Date" in expiration,
            any(move.get("StorageClass") in _ARCHIVES for move in rule.get("Transitions", ())),
            "AbortIncompleteMultipartUpload" in rule,
            "NoncurrentVersionExpiration" in rule,
        )
