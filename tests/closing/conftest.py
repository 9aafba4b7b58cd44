"""Closing: how many rounds, quiet logs, a directory to start from, and nothing left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from chromadb.api.shared_system_client import SharedSystemClient

from chroma_lifecycle.chroma import ownership, systems
from chroma_lifecycle.snapshot.descriptors import below
from scripts.closing_holder import Holder
from tests.support.chroma_directories import make_directory

Rounds = Callable[[int, int], int]


@pytest.fixture
def rounds() -> Rounds:
    """Choose between a few rounds and all of them (CHROMA_LIFECYCLE_ROUNDS=full, as CI does)."""
    full = os.environ.get("CHROMA_LIFECYCLE_ROUNDS") == "full"
    return lambda few, many: many if full else few


@pytest.fixture(autouse=True)
def quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20), cache_logger_on_first_use=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed directory with one collection, made once."""
    directory = tmp_path_factory.mktemp("template") / "chroma"
    make_directory(directory)
    return directory


@pytest.fixture
def directory(tmp_path: Path, template: Path) -> Path:
    """A private copy of the template."""
    return Path(shutil.copytree(template, tmp_path / "chroma"))


@pytest.fixture(scope="session")
def _holders() -> Iterator[list[Holder]]:
    """The other process; starting one takes seconds, so it is kept until a test kills it."""
    started: list[Holder] = []
    yield started
    for other in started:
        other.kill()


@pytest.fixture
def holder(_holders: list[Holder]) -> Iterator[Holder]:
    """Another process that can open directories; it has none open when the test ends."""
    if not _holders or not _holders[-1].is_alive():
        _holders.append(Holder())
    yield _holders[-1]
    if _holders[-1].is_alive():
        _holders[-1].tell("close")


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Every test ends with no system of its directories in Chroma's cache, no owner, no descriptor."""
    yield
    systems_left = [
        system.settings.persist_directory
        for system in SharedSystemClient._identifier_to_system.values()
        if (home := systems.directory_of(system)) and home.resolve().is_relative_to(tmp_path)
    ]
    owned_left = [held for held in ownership._owned if held.directory.is_relative_to(tmp_path)]
    assert ([], [], ()) == (systems_left, owned_left, below(tmp_path))
