"""A user's directory, empty or with three versions of a collection, and the command line in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from chroma_lifecycle.chroma.client import CollectionSettings
from chroma_lifecycle.clock import SYSTEM_CLOCK
from chroma_lifecycle.config import Settings
from chroma_lifecycle.intake.mapping_file import load_mapping
from chroma_lifecycle.lifecycle import Beginning, begin
from chroma_lifecycle.snapshot.workspace import Workspace
from chroma_lifecycle.wiring import compactor, create_store
from tests.support.command_line import COLLECTION, CommandLine, copy_of, write_files


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of ours is set, and no logger keeps a stream that the test has closed."""
    for name in [name for name in os.environ if name.startswith("CHROMA_LIFECYCLE_")]:
        monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A directory with a mapping, deltas and events, and no store."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path, capsys, monkeypatch)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store of three versions, made once."""
    home = tmp_path_factory.mktemp("cli") / "home"
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
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with compactor(settings) as machine:
        for name in ("first.json", "second.json"):
            machine.compact(json.loads((home / name).read_text()))
    structlog.reset_defaults()
    return home


@pytest.fixture
def cli(template: Path, empty: CommandLine) -> CommandLine:
    """A directory whose store has three versions; the workspace is cold."""
    copy_of(template / "store", empty.home / "store")
    return empty
