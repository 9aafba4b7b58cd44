"""Open descriptors below a directory, as the system tells them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chroma_lifecycle.errors import NotClosed
from chroma_lifecycle.snapshot import descriptors
from chroma_lifecycle.snapshot.descriptors import Descriptor, below, below_by_others, listing, require_closed


@pytest.fixture(params=["proc", "psutil"])
def _source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of asking: Linux has /proc, elsewhere psutil knows."""
    monkeypatch.setattr(descriptors, "_HAS_PROC", request.param == "proc")


@pytest.mark.usefixtures("_source")
def test_files_below_count_and_others_do_not(tmp_path: Path) -> None:
    """A file beside the directory, one of a longer name, and the directory itself are none of it."""
    inside, beside = tmp_path / "dir" / "sub" / "file", tmp_path / "dir-2" / "file"
    for path in (inside, beside):
        path.parent.mkdir(parents=True)
        path.touch()
    listed = os.open(tmp_path / "dir", os.O_RDONLY)
    with inside.open(), beside.open():
        assert [str(inside)] == [found.path for found in below(tmp_path / "dir")]
    os.close(listed)
    assert () == below(tmp_path / "dir")
    assert () == below_by_others(tmp_path / "dir")


def test_waiting_ends_when_the_last_one_goes(tmp_path: Path) -> None:
    """It looks at once, so a closed directory costs no wait; an open one is told after the time-out."""
    path = tmp_path / "file"
    path.touch()
    require_closed(tmp_path, timeout_seconds=0)
    with path.open() as file, pytest.raises(NotClosed, match=rf"process {os.getpid()}, descriptor {file.fileno()}"):
        require_closed(tmp_path, timeout_seconds=0.01)


def test_a_process_that_ended_or_is_not_ours_has_nothing(tmp_path: Path) -> None:
    assert () == below(tmp_path, pid=2**22 - 1)
    assert () == descriptors.regular_files(2**22 - 1)


def test_very_many_are_cut_short() -> None:
    many = tuple(Descriptor(1, number, "/f") for number in range(12))
    assert listing(many).endswith("(process 1, descriptor 9) and 2 more")
