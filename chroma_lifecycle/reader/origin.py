"""Which store a reader's local copy came from: while a store is away, the copy of another one is not served for it."""

from __future__ import annotations

import json
from pathlib import Path

from chroma_lifecycle.ports import Store
from chroma_lifecycle.snapshot.disk import disk_errors, replace_file
from chroma_lifecycle.snapshot.workspace import Workspace

_NAME = "origin"


def note_origin(workspace: Workspace, store: Store) -> None:
    """Take note that the version in *workspace* came from *store*.

    The version is named too: whoever puts another one there and dies before this leaves a note of neither.
    """
    with disk_errors(workspace.root):
        replace_file(workspace.root / _NAME, _spell(workspace, store))


def came_from(workspace: Workspace, store: Store) -> bool:
    """Return whether the version in *workspace* is known to have come from *store*."""
    with disk_errors(workspace.root):
        try:
            return (workspace.root / _NAME).read_bytes() == _spell(workspace, store)
        except FileNotFoundError:
            return False


def _spell(workspace: Workspace, store: Store) -> bytes:
    version = workspace.pristine.version()
    # A directory may be named from elsewhere the next time.
    address = store.address if "://" in store.address else str(Path(store.address).absolute())
    note = {"store": address, "manifest": version.digest if version else None}
    return json.dumps(note, sort_keys=True).encode("ascii")
