"""Deltas in S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from botocore import exceptions as boto

from chroma_lifecycle.aws.errors import (
    ARCHIVED,
    FORBIDDEN,
    MISSING,
    NO_ANSWER,
    NO_BUCKET_HINT,
    aws_errors,
    code_of,
    message_of,
)
from chroma_lifecycle.deltas.addresses import BucketRoot, Place
from chroma_lifecycle.deltas.disk import writing
from chroma_lifecycle.deltas.listing import MAX_FILES
from chroma_lifecycle.deltas.sources import CHUNK_BYTES, DeltaFile, missing
from chroma_lifecycle.errors import BadInput, StoreUnavailable

# The SDK retries requests, but not a body that breaks off while it is read.
_READS = 3
_EXISTS = {"PreconditionFailed", "ConditionalRequestConflict"}
_WRITING = "s3:PutObject, s3:GetObject and s3:ListBucket below the root"
_PERMISSIONS = "s3:GetObject and s3:ListBucket on the roots of CHROMA_LIFECYCLE_DELTAS"


class S3DeltaSource:
    """A :class:`chroma_lifecycle.deltas.sources.DeltaSource` for roots in buckets."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def list(self, place: Place) -> Sequence[DeltaFile]:
        # One more than is allowed, so that the caller sees that they are too many, is enough.
        return list(islice(self._files(place), MAX_FILES + 1))

    def _files(self, place: Place) -> Iterator[DeltaFile]:
        bucket, key = _key(place)
        # The key itself comes first of all keys that begin with it.
        for name, size in islice(self._rows(place, Bucket=bucket, Prefix=key, MaxKeys=1), 1):
            if name == key:
                yield DeltaFile("", size)
        for name, size in self._rows(place, Bucket=bucket, Prefix=f"{key}/"):
            yield DeltaFile(name.removeprefix(f"{key}/"), size)

    def _rows(self, place: Place, **what: Any) -> Iterator[tuple[str, int]]:
        more: Mapping[str, str] = {}
        while True:
            with _reading(place):
                page = self._client.list_objects_v2(**what, **more)
            yield from ((row["Key"], row["Size"]) for row in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def fetch(self, place: Place, file: DeltaFile, to: Path) -> None:
        bucket, key = _key(place)
        name = f"{key}/{file.name}" if file.name else key
        with writing(to), to.open("xb") as target:
            for _ in range(_READS):
                if self._copied(place, bucket, name, target):
                    return
                target.seek(0)
                target.truncate()
        raise StoreUnavailable(
            f"delta {place.address!r}: {name} in {bucket} breaks off each time",
            hint="the message comes again by itself",
        )

    def put(self, place: Place, file: Path) -> bool:
        """Store *file* unless there is an object of this key (see :class:`.delivery.Delivery`)."""
        bucket, key = _key(place)
        with aws_errors(f"delta {place.address!r} (below {place.root})", permissions=_WRITING), file.open("rb") as body:
            try:
                self._client.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
            except boto.ClientError as problem:
                # Of a retry that comes after our own request: whoever asked compares the content.
                if code_of(problem) in _EXISTS:
                    return False
                raise
        return True

    def _copied(self, place: Place, bucket: str, key: str, target: BinaryIO) -> bool:
        """Write the object to *target*; return whether all of it came."""
        with _reading(place):
            answer = self._client.get_object(Bucket=bucket, Key=key)
        with closing(answer["Body"]) as body:
            try:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    target.write(chunk)
            except NO_ANSWER:
                return False
        return bool(target.tell() == answer["ContentLength"])


def _key(place: Place) -> tuple[str, str]:
    assert isinstance(place.root, BucketRoot)
    return place.root.bucket, place.root.prefix + place.path


@contextmanager
def _reading(place: Place) -> Iterator[None]:
    """Say what went wrong: what concerns this delta alone is bad input, so that only its message fails."""
    with aws_errors(f"delta {place.address!r} (below {place.root})", permissions=_PERMISSIONS):
        try:
            yield
        except boto.ClientError as problem:
            code = code_of(problem)
            if code == "NoSuchBucket":
                where = f"{_key(place)[0]}, for {place.address!r} below {place.root}"
                raise BadInput(f"there is no bucket {where}", hint=NO_BUCKET_HINT) from problem
            if code in MISSING:
                raise missing(place) from problem
            if code in FORBIDDEN or code == ARCHIVED:
                raise BadInput(
                    f"delta {place.address!r} (below {place.root}) may not be read ({code}: {message_of(problem)})",
                    hint=f"allow {_PERMISSIONS}, or what the message names; an archived delta must be restored first",
                ) from problem
            raise
