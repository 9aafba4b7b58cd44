"""Addresses of deltas: text in a run item becomes a place below one of the roots, or is refused.

Whoever writes items chooses the address, so it must not reach anything that the operator did
not open to deltas. The check is on the text; links are a matter of the source that follows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from chroma_lifecycle.errors import BadInput

SETTING = "CHROMA_LIFECYCLE_DELTAS"
MAX_ADDRESS_CHARACTERS = 2_000
MAX_NAME_BYTES = 255
"""Of one segment of a file's path; what the usual file systems take."""
MAX_PATH_CHARACTERS = 1_000

_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.DOTALL)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:/")


@dataclass(frozen=True, slots=True)
class BucketRoot:
    """Objects of one bucket below a prefix.

    Attributes:
        prefix: Empty, or ends with ``/``.
    """

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class DirectoryRoot:
    """Files below a directory, named by its absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"{str(self.path).rstrip('/')}/"


Root: TypeAlias = BucketRoot | DirectoryRoot


def parse_root(text: str) -> Root:
    """Return the root that *text* names: ``s3://bucket/prefix/``, or the path of a directory.

    Raises:
        BadInput: It is neither, or has an empty, ``.`` or ``..`` segment.
    """
    match = _BUCKET.fullmatch(text)
    if match:
        prefix = (match[2] or "").removesuffix("/")
        if prefix and (problem := segments_problem(prefix)):
            raise _bad_root(text, problem)
        return BucketRoot(match[1], f"{prefix}/" if prefix else "")
    if not text or _SCHEME.match(text):
        raise _bad_root(text, "allowed: s3://bucket/prefix/ or the path of a directory")
    if text.startswith("~"):
        raise _bad_root(text, "a ~ stands for a home directory in a shell alone; write the whole path, or ./~")
    if ".." in text.split("/"):
        raise _bad_root(text, "it has a '..' segment")
    return DirectoryRoot(Path(text).absolute())


def _bad_root(text: str, problem: str) -> BadInput:
    return BadInput(f"{SETTING}: {text!r} is no root for deltas: {problem}", hint=f"correct the setting {SETTING}")


def segments_problem(path: str) -> str | None:
    """Return what is wrong with a relative path that came from outside, or ``None``."""
    segments = path.split("/")
    for segment in segments:
        if segment in (".", ".."):
            return f"it has a {segment!r} segment"
    if "" in segments:
        return "it has an empty segment"
    # Control characters would let an address forge lines of a log; \x7f and lone surrogates name no object.
    return "it has a character that no name may have" if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", path) else None


def is_too_long(path: str) -> bool:
    """Return whether the usual file systems have no room for a relative path that came from outside."""
    return len(path) > MAX_PATH_CHARACTERS or any(len(name.encode()) > MAX_NAME_BYTES for name in path.split("/"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a delta lies, its address checked.

    Attributes:
        address: As the run item says it, for messages.
        path: Below the root; not empty, no segment empty, ``.`` or ``..``.
    """

    address: str
    root: Root
    path: str


@dataclass(frozen=True, slots=True)
class Roots:
    """Where deltas may lie; relative addresses start at the first."""

    roots: tuple[Root, ...]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Roots:
        """Return the roots that *texts* name.

        Raises:
            BadInput: One of them is no root, or there is none.
        """
        roots = tuple(parse_root(text) for text in texts)
        if not roots:
            raise BadInput(f"{SETTING} names no root for deltas", hint=f"set {SETTING}")
        return cls(roots)

    def __str__(self) -> str:
        return ", ".join(map(str, self.roots))

    def locate(self, address: str) -> Place:
        """Return the place that *address* names.

        Raises:
            BadInput: It lies outside every root, names a root itself, or is malformed.
        """
        if len(address) > MAX_ADDRESS_CHARACTERS:
            raise _refused(address[:60] + "…", f"is longer than {MAX_ADDRESS_CHARACTERS:,} characters")
        if not address:
            raise _refused(address, "is empty")
        root, path = self._split(address)
        path = path.removesuffix("/")
        if not path:
            raise _refused(address, "names a whole root, not a delta below it")
        if problem := segments_problem(path):
            raise _refused(address, f"is refused: {problem}")
        return Place(address, root, path)

    def _split(self, address: str) -> tuple[Root, str]:
        """Return the root of *address*, and the rest, which nobody has checked yet."""
        if not address.startswith("/") and not _SCHEME.match(address):
            return self.roots[0], address
        # The longest root first: of two nested ones the inner is the nearer description.
        for root in sorted(self.roots, key=lambda root: len(str(root)), reverse=True):
            if f"{address}/".startswith(str(root)):
                return root, address[len(str(root)) :]
        raise _refused(address, f"lies outside {SETTING} ({self})")


def _refused(address: str, problem: str) -> BadInput:
    return BadInput(
        f"delta {address!r} {problem}",
        hint=f"write the delta below one of the roots of {SETTING}, and its address into the run item",
    )
