"""Addresses of the form ``s3://bucket/prefix``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chroma_lifecycle.errors import BadInput

SCHEME = "s3://"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
_RESERVED_STARTS = ("xn--", "sthree-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
# S3's limit is 1,024 bytes for a key, of which a collection and an object's name need up to 650.
_LONGEST_PREFIX = 300


@dataclass(frozen=True, slots=True)
class S3Address:
    """A place in a bucket; *prefix* has no slash at either end, and may be empty."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> S3Address:
        """Return the address that *text* spells; one slash at its end is allowed.

        Raises:
            BadInput: It is none, or S3 would refuse the bucket's name.
        """
        bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
        prefix = prefix.removesuffix("/")
        if problem := _problem(text, bucket, prefix):
            raise BadInput(f"not an address in S3: {text!r}: {problem}", hint="write it as s3://bucket/prefix")
        return cls(bucket, prefix)

    def key(self, name: str) -> str:
        """Return the key of the object *name*."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def name(self, key: str) -> str:
        """Return the name of the object that has *key*; the inverse of :meth:`key`."""
        return key.removeprefix(f"{self.prefix}/") if self.prefix else key

    def __str__(self) -> str:
        return SCHEME + (f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket)


def _problem(text: str, bucket: str, prefix: str) -> str | None:
    if not text.startswith(SCHEME):
        return f"it does not begin with {SCHEME}"
    if (
        not _BUCKET.fullmatch(bucket)
        or ".." in bucket
        or _IP_ADDRESS.fullmatch(bucket)
        or bucket.startswith(_RESERVED_STARTS)
        or bucket.endswith(_RESERVED_ENDS)
    ):
        return f"a bucket has 3 to 63 of a-z 0-9 . -, letter or digit first and last; {bucket!r} is none"
    if prefix and any(part in {"", ".", ".."} for part in prefix.split("/")):
        return "a part of its prefix is empty or made of dots"
    if not prefix.isprintable() or len(prefix.encode(errors="replace")) > _LONGEST_PREFIX:
        return f"its prefix is not a printable text of at most {_LONGEST_PREFIX} bytes"
    return None
