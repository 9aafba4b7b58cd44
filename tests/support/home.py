"""A user's directory with a small store of three versions."""

from __future__ import annotations

import json
from pathlib import Path

from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import Settings
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import compactor, create_store
from tests.support.command_line import COLLECTION, write_files


def begun_home(home: Path) -> Path:
    """Make *home* a directory with mapping, deltas, events, and a store that compacted two of them."""
    home.mkdir()
    write_files(home)
    settings = Settings(
        store=str(home / "store"),
        mapping=str(home / "notes.yaml"),
        workspace=home / "scratch",
        deltas=(str(home / "deltas"),),
    )
    with Workspace.open(home / "scratch" / COLLECTION) as workspace:
        mapping = load_mapping(settings.mapping).digest
        store = create_store(settings.store)
        begin(Beginning(COLLECTION, mapping, store, workspace, SYSTEM_CLOCK, "a test"), CollectionSettings("cosine", 3))
    with compactor(settings) as machine:
        for name in ("first.json", "second.json"):
            machine.compact(json.loads((home / name).read_text()))
    return home


def manifest_of(home: Path, version: int) -> Path:
    """Return the file of the one manifest of a version."""
    [found] = (home / "store" / COLLECTION / "manifests").glob(f"{version:016x}-*")
    return found
