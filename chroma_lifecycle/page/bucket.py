"""Health checks on the bucket of a store: rules that would take versions away, and rules that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from chroma_lifecycle.page.health import Check, State

if TYPE_CHECKING:
    from chroma_lifecycle.aws.bucket import Bucket


def check_bucket(bucket: Bucket) -> Iterator[Check]:
    """Yield a check for everything that the rules of a bucket do to a store."""
    yield from _takes_away(bucket)
    yield from _may_look(bucket)
    if "s3:GetLifecycleConfiguration" not in bucket.unseen:
        yield from _lacks(bucket)
    if not bucket.versioned and "s3:GetBucketVersioning" not in bucket.unseen:
        yield Check(
            State.LOOK,
            f"The bucket {bucket.name} keeps no older versions of an object.",
            "Switch on versioning: `recover` then has every HEAD that was.",
        )
    if bucket.locked:
        yield Check(
            State.LOOK,
            f"The bucket {bucket.name} has object lock: a record cannot be erased from it before its time.",
            "Use a bucket without object lock where erasure is owed.",
        )


def _takes_away(bucket: Bucket) -> Iterator[Check]:
    bad = False
    for rule in bucket.rules:
        for does, what in ((rule.expires, "deletes"), (rule.archives, "archives")):
            if does:
                bad = True
                yield Check(
                    State.BAD,
                    f"The lifecycle rule {rule.name!r} of {bucket.name} {what} objects of the store after a time: "
                    "an old base or pack is still needed by the newest version.",
                    "Remove it, or limit it to another prefix; `expire` and `sweep` make room.",
                )
    if not bad and "s3:GetLifecycleConfiguration" not in bucket.unseen:
        yield Check(State.GOOD, f"No lifecycle rule of {bucket.name} deletes or archives objects of the store.")


def _may_look(bucket: Bucket) -> Iterator[Check]:
    if not bucket.tells_missing:
        yield Check(
            State.BAD,
            f"{bucket.name} says 'forbidden' of a key that is not there: what is not begun looks forbidden.",
            "Allow s3:ListBucket on the bucket.",
        )
    if bucket.unseen:
        yield Check(
            State.LOOK,
            f"What {' and '.join(bucket.unseen)} would show was not looked at.",
            "Run this with the operator's permissions.",
        )


def _lacks(bucket: Bucket) -> Iterator[Check]:
    if not any(rule.aborts_uploads and rule.whole for rule in bucket.rules):
        yield Check(
            State.LOOK,
            f"No rule of {bucket.name} removes uploads that were never finished: they are paid for and not listed.",
            "Add a rule with AbortIncompleteMultipartUpload, of two days.",
        )
    if bucket.versioned and not any(rule.removes_noncurrent and rule.whole for rule in bucket.rules):
        yield Check(
            State.LOOK,
            f"No rule of {bucket.name} removes noncurrent versions: what `sweep` deletes stays and is paid for.",
            "Add a rule with NoncurrentVersionExpiration, of 30 days.",
        )
