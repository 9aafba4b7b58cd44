"""Getting a version out of its store, into a directory that anybody may use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chroma_lifecycle.clock import Deadline
from chroma_lifecycle.errors import BadInput, NoRoom
from chroma_lifecycle.ports import Store
from chroma_lifecycle.publishing.history import find_version
from chroma_lifecycle.publishing.published import Published
from chroma_lifecycle.publishing.restore import restore_to
from chroma_lifecycle.snapshot.disk import disk_errors
from chroma_lifecycle.snapshot.files import CHROMA
from chroma_lifecycle.snapshot.manifest import Manifest
from chroma_lifecycle.values import Version

_ROOM = "name a directory that can be written, on a disk with room enough,"


@dataclass(frozen=True, slots=True)
class Stores:
    """Where versions are read from: the store decides, the mirror is asked first for objects."""

    store: Store
    mirror: Store | None = None


def find_manifest(store: Store, published: Published, number: int | None) -> Manifest:
    """Return the manifest of version *number*, or of the newest without one.

    Raises:
        BadInput: It is not retained, or was never published.
    """
    if number is None or number == published.manifest.version.number:
        return published.manifest
    return find_version(store, published.head, Version(number))[1]


def restore_directory(directory: Path, manifest: Manifest, stores: Stores) -> None:
    """Make *directory* the plain Chroma directory of a version, every byte of it proven.

    Raises:
        BadInput: There is something at *directory* already.
        Corrupt: An object is damaged; nothing is left behind.
    """
    with _outside_workspaces(f"{_ROOM} with --to"), disk_errors(directory):
        if directory.is_symlink() and not directory.exists():
            raise BadInput(
                f"{directory} is a link to {directory.readlink()}, where nothing is",
                hint="give the path of a new directory, or remove the link",
            )
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise BadInput(f"{directory} is not empty", hint="give the path of a new directory")
        directory.parent.mkdir(parents=True, exist_ok=True)
        with files_of(manifest, stores, beside=directory) as files:
            (files / CHROMA).rename(directory)


@contextmanager
def _outside_workspaces(way_out: str) -> Iterator[None]:
    """Tell the disk's errors with the way out that fits here: these files are in no workspace."""
    try:
        yield
    except (NoRoom, BadInput) as problem:
        if "WORKSPACE" not in problem.hint:
            raise
        raise type(problem)(problem.message, hint=way_out) from problem


@contextmanager
def files_of(manifest: Manifest, stores: Stores, *, beside: Path | None = None) -> Iterator[Path]:
    """Give a directory with a version's files for as long as the block lasts.

    Args:
        beside: Put it on the disk of this path; by default where temporary files lie.
    """
    with scratch_directory(beside) as scratch:
        files = scratch / "version"
        restore_to(files, manifest, stores.store, stores.mirror, Deadline())
        yield files


@contextmanager
def scratch_directory(beside: Path | None = None) -> Iterator[Path]:
    """Give an empty directory for as long as the block lasts, on the disk of *beside* or of temporary files."""
    parent = Path(tempfile.gettempdir()) if beside is None else beside.absolute().parent
    with (
        _outside_workspaces(f"{_ROOM} with {'--to' if beside else 'TMPDIR'}"),
        disk_errors(parent),
        tempfile.TemporaryDirectory(prefix=".chroma-lifecycle-", dir=parent) as scratch,
    ):
        yield Path(scratch).resolve()
