"""A user's directory, empty or with three versions of a collection, and the command line in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog

from tests.support.command_line import CommandLine, copy_of, write_files
from tests.support.home import begun_home


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of ours is set."""
    for name in [name for name in os.environ if name.startswith("CHROMA_LIFECYCLE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A directory with a mapping, deltas and events, and no store."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return CommandLine(tmp_path, capsys, monkeypatch)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store of three versions, made once."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    home = begun_home(tmp_path_factory.mktemp("cli") / "home")
    structlog.reset_defaults()
    return home


@pytest.fixture
def cli(template: Path, empty: CommandLine) -> CommandLine:
    """A directory whose store has three versions; the workspace is cold."""
    copy_of(template / "store", empty.home / "store")
    return empty
