"""The store in S3, or in anything that speaks its protocol and has conditional writes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import md5
from typing import Any

from botocore import exceptions as boto

from chroma_lifecycle.aws.address import S3Address
from chroma_lifecycle.aws.clients import Checksums, make_client
from chroma_lifecycle.aws.errors import (
    NO_ANSWER,
    NOT_SENT,
    STORE_PERMISSIONS,
    aws_errors,
    code_of,
    is_archived,
    status_of,
    translated,
    was_asked_once,
)
from chroma_lifecycle.errors import PAST_DAMAGE, BadInput, Corrupt, ObjectMissing, StoreUnavailable
from chroma_lifecycle.ports import (
    HEAD_LIMIT_BYTES,
    PAST_HEADS,
    HeadToken,
    StoredHead,
    StoredObject,
    SwapRefused,
    SwapUnanswered,
)
from chroma_lifecycle.snapshot.names import Names

# The SDK retries requests, but not a body that breaks off while it is read.
_READS = 3
# S3's own limits of one request.
_KEYS_IN_A_PAGE = 1_000
_KEYS_IN_A_DELETE = 1_000
_NOT_MODIFIED = 304
_DELETING = "s3:DeleteObject on the store (and s3:DeleteObjectVersion for erasing)"
_OLDER_VERSIONS = "s3:ListBucketVersions and s3:GetObjectVersion on the store"


class S3Store:
    """A :class:`chroma_lifecycle.ports.Store` below a prefix of a bucket.

    An ETag is a token here and never a digest. Whoever reads an object checks it against the
    digest in its name or in its manifest; the checksums of the SDK come on top.
    """

    def __init__(self, address: S3Address, client: Any) -> None:
        self._at = address
        self._client = client
        # A store that knows none of the newer checksums knows the oldest: what arrives damaged is refused there.
        self._wants_md5 = client.meta.config.request_checksum_calculation == "when_required"

    @classmethod
    def open(cls, address: str, *, checksums: Checksums | None = None) -> S3Store:
        """Return the store at ``s3://bucket/prefix``.

        Raises:
            BadInput: This is no address in S3, or the SDK's settings do not make a client.
        """
        return cls(S3Address.parse(address), make_client("s3", checksums=checksums))

    @property
    def address(self) -> str:
        return str(self._at)

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        try:
            return self._get(name, limit_bytes)[0]
        except StoreUnavailable as problem:
            if not is_archived(problem):
                raise
            # As good as deleted, though listed: who has it elsewhere can write it again.
            raise ObjectMissing(problem.message, hint=problem.hint) from problem

    def _get(self, name: str, limit_bytes: int, **more: str) -> tuple[bytes, str]:
        """Return an object and its ETag; *more* is a condition, or which version of it."""
        for _ in range(_READS):
            with suppress(_BrokenOff):
                return self._get_once(name, limit_bytes, more)
        raise StoreUnavailable(f"{name} in {self.address} breaks off each time", hint="run the same again")

    def _get_once(self, name: str, limit_bytes: int, more: Mapping[str, str]) -> tuple[bytes, str]:
        with self._errors(name):
            try:
                answer = self._client.get_object(**self._object(name), **more)
            except boto.ClientError as problem:
                if status_of(problem) == _NOT_MODIFIED:
                    raise _Unchanged from problem
                raise
        # Not `with answer["Body"]`: that gives the socket's stream, which checks neither checksum nor length.
        with closing(answer["Body"]) as body:
            if (length := answer["ContentLength"]) > limit_bytes:
                raise Corrupt(
                    f"{name} in {self.address} has {length} bytes where at most {limit_bytes} can be",
                    hint=PAST_DAMAGE,
                )
            try:
                data: bytes = body.read()
            except NO_ANSWER as problem:
                raise _BrokenOff from problem
        if len(data) != length:
            raise _BrokenOff
        return data, answer["ETag"]

    def write(self, name: str, data: bytes) -> None:
        with self._errors(name):
            self._client.put_object(**self._object(name), **self._body(data))

    def present(self, names: Collection[str]) -> frozenset[str]:
        return frozenset(name for name in names if self._is_present(name))

    def _is_present(self, name: str) -> bool:
        try:
            with self._errors(name):
                self._client.head_object(**self._object(name))
        except ObjectMissing:
            return False
        return True

    def folders(self) -> Sequence[str]:
        """Return the names of what lies below the prefix, collections and others: the first thousand."""
        below = self._at.key("")
        with self._errors("the names of its collections"):
            page = self._client.list_objects_v2(Bucket=self._at.bucket, Prefix=below, Delimiter="/")
        return [row["Prefix"].removeprefix(below).rstrip("/") for row in page.get("CommonPrefixes", ())]

    def has_begun(self, collection: str) -> bool:
        """Return whether a collection has a HEAD."""
        return self._is_present(Names(collection).head)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        more: dict[str, str] = {}
        while True:
            with self._errors(f"the list of {prefix}"):
                page = self._client.list_objects_v2(
                    Bucket=self._at.bucket, Prefix=self._at.key(prefix), MaxKeys=_KEYS_IN_A_PAGE, **more
                )
            for row in page.get("Contents", ()):
                yield StoredObject(self._at.name(row["Key"]), row["Size"], row["LastModified"].astimezone(UTC))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, names: Collection[str]) -> None:
        self._delete([{"Key": self._at.key(name)} for name in sorted(names)])

    def remains(self, prefix: str) -> Iterator[StoredObject]:
        for name, row in self._versions(prefix):
            yield StoredObject(name, row.get("Size", 0), row["LastModified"].astimezone(UTC))

    def erase(self, prefix: str, condemned: Callable[[StoredObject], bool]) -> tuple[StoredObject, ...]:
        found = [
            (StoredObject(name, row.get("Size", 0), row["LastModified"].astimezone(UTC)), row["VersionId"])
            for name, row in self._versions(prefix)
        ]
        gone = [(row, version) for row, version in found if condemned(row)]
        self._delete([{"Key": self._at.key(row.name), "VersionId": version} for row, version in gone])
        return tuple(row for row, _ in gone)

    def _versions(self, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield every version of every object, the markers that deletes left included."""
        more: dict[str, str] = {}
        while True:
            with self._errors(f"the list of versions of {prefix}", _OLDER_VERSIONS):
                page = self._client.list_object_versions(
                    Bucket=self._at.bucket, Prefix=self._at.key(prefix), MaxKeys=_KEYS_IN_A_PAGE, **more
                )
            for row in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                yield self._at.name(row["Key"]), row
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _delete(self, keys: Sequence[Mapping[str, str]]) -> None:
        for start in range(0, len(keys), _KEYS_IN_A_DELETE):
            some = keys[start : start + _KEYS_IN_A_DELETE]
            with self._errors(f"the deletion of {len(some)} objects", _DELETING):
                answer = self._client.delete_objects(Bucket=self._at.bucket, Delete={"Objects": some, "Quiet": True})
            for error in answer.get("Errors", ()):
                refusal, what = boto.ClientError({"Error": error}, "DeleteObjects"), f"{error.get('Key')} in {self._at}"
                raise translated(refusal, what, _DELETING)

    def now(self) -> datetime:
        """Return the date of an answer of S3, exact to one second."""
        with self._errors("the time"):
            answer = self._client.head_bucket(Bucket=self._at.bucket)
        return _date_of(answer)

    def read_head(self, collection: str, *, known: StoredHead | None = None) -> StoredHead | None:
        name = Names(collection).head
        try:
            body, etag = self._get(name, HEAD_LIMIT_BYTES, **({"IfNoneMatch": known.token} if known else {}))
        except _Unchanged:
            return known
        except ObjectMissing:
            # Only a 404 about the key comes here: a bucket that is missing, or a key that
            # may not be read, is an error of its own.
            return None
        return StoredHead(body, HeadToken(etag))

    def past_heads(self, collection: str) -> Iterator[bytes]:
        """Yield the older versions of HEAD's object; without versioning there is the one that is HEAD alone."""
        name = Names(collection).head
        key = self._at.key(name)
        with self._errors(f"the versions of {name}", _OLDER_VERSIONS):
            answer = self._client.list_object_versions(Bucket=self._at.bucket, Prefix=key, MaxKeys=_KEYS_IN_A_PAGE)
        versions = [each for each in answer.get("Versions", ()) if each["Key"] == key]
        for each in versions[:PAST_HEADS]:  # S3 lists the newest version of a key first
            with suppress(Corrupt):  # longer than any HEAD: it never was one, and hides none of those before it
                yield self._get(name, HEAD_LIMIT_BYTES, VersionId=each["VersionId"])[0]

    def swap_head(self, collection: str, body: bytes, *, serial: int, expected: HeadToken | None) -> HeadToken:
        del serial  # the ETag decides: no two HEADs have the same bytes
        name = Names(collection).head
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        try:
            answer = self._client.put_object(**self._object(name), **self._body(body), **condition)
        except boto.ClientError as problem:
            raise self._judged(problem, name) from problem
        except (*NO_ANSWER, *NOT_SENT) as problem:
            # Also if it was not sent this time: the SDK may have sent it before, and retried.
            raise SwapUnanswered(f"no answer to the swap of {name} in {self.address}: {problem}") from problem
        return HeadToken(answer["ETag"])

    def _judged(self, problem: boto.ClientError, name: str) -> Exception:
        """Return what a refusal says about a swap: nothing, unless the SDK asked only once."""
        status, code, what = status_of(problem), code_of(problem), f"{name} in {self.address}"
        if status in (409, 412) or (status == 404 and code != "NoSuchBucket"):
            return SwapRefused(f"{code} at the swap of {what}")
        if status == 501:
            return BadInput(
                f"the store at {self.address} has no conditional writes, without which two writers lose updates",
                hint="use a store that implements If-Match and If-None-Match of PutObject",
            )
        if 400 <= status < 500 and was_asked_once(problem):
            return translated(problem, what)
        return SwapUnanswered(f"{code} at the swap of {what}")

    def _object(self, name: str) -> Mapping[str, str]:
        return {"Bucket": self._at.bucket, "Key": self._at.key(name)}

    def _body(self, data: bytes) -> Mapping[str, Any]:
        if not self._wants_md5:
            return {"Body": data}
        return {"Body": data, "ContentMD5": b64encode(md5(data, usedforsecurity=False).digest()).decode()}

    def _errors(self, name: str, permissions: str = STORE_PERMISSIONS) -> AbstractContextManager[None]:
        return aws_errors(f"{name} in {self.address}", permissions=permissions)


class _Unchanged(Exception):
    """An object has the ETag that the caller knows."""


class _BrokenOff(Exception):
    """A body ended before its length; read it again."""


def _date_of(answer: Mapping[str, Any]) -> datetime:
    text = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError as problem:
        raise StoreUnavailable(f"an answer has no date: {text!r}", hint="run the command again") from problem
