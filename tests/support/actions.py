"""What the processes do that are killed: each works on a store that `prepare` has made."""

from __future__ import annotations

from pathlib import Path

from chroma_lifecycle.stores.directory import DirectoryStore

OLD, NEW = b"the old HEAD", b"the new HEAD"
KEPT, WRITTEN = "words/objects/ab/kept", "words/objects/cd/written"
DATA = b"data" * 10_000


def prepare(root: Path) -> None:
    """Make a store with one object, and one collection with a HEAD."""
    store = DirectoryStore(root)
    store.write(KEPT, DATA)
    store.swap_head("words", OLD, serial=1, expected=None)


def swap(root: Path) -> None:
    """Replace HEAD."""
    store = DirectoryStore(root)
    seen = store.read_head("words")
    assert seen
    store.swap_head("words", NEW, serial=2, expected=seen.token)


def create(root: Path) -> None:
    """Make the HEAD of another collection."""
    DirectoryStore(root).swap_head("places", NEW, serial=1, expected=None)


def write(root: Path) -> None:
    """Write an object."""
    DirectoryStore(root).write(WRITTEN, DATA)


def delete(root: Path) -> None:
    """Delete the object."""
    DirectoryStore(root).delete([KEPT])
