"""The default workspace lies where every user of the machine may make a directory: it must be this user's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pytest

from chroma_lifecycle import config
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.snapshot import workspace
from chroma_lifecycle.snapshot.workspace import Workspace

STRANGER = 54_321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to become another user takes root")


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default workspace, in a directory for everybody."""
    everybody = tmp_path / "tmp"
    everybody.mkdir()
    everybody.chmod(0o1777)
    monkeypatch.setattr(workspace, "DEFAULT_WORKSPACE", everybody / "chroma-lifecycle")
    return everybody / "chroma-lifecycle"


def as_a_stranger(default: Path, work: Callable[[Path], object]) -> str:
    """Do *work* with the default workspace as another user, in a child; return what it says, or how it fails."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            # What leads there from the root is this user's own; from where it is, the child sees the last part.
            os.chdir(default.parent)
            workspace.DEFAULT_WORKSPACE = Path(default.name)
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            said = str(work(Path(default.name)))
        except BaseException as problem:
            said = f"{type(problem).__name__}: {problem}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


def opened(root: Path) -> str:
    with Workspace.open(root):
        return "opened"


def test_it_is_made_for_this_user_alone(default: Path) -> None:
    """Whatever the mask of new files is; again it is taken as it is."""
    mask = os.umask(0)
    try:
        assert "opened" == opened(default / "words") == opened(default / "words")
    finally:
        os.umask(mask)
    assert 0o700 == stat.S_IMODE(default.stat().st_mode)


def test_one_that_others_may_write_into_is_refused(default: Path) -> None:
    """It may hold what is somebody else's, and nothing is added."""
    default.mkdir()
    for mode in (0o777, 0o770, 0o702, 0o1777):
        default.chmod(mode)
        with pytest.raises(BadInput, match=rf"{default} can be written by other users .*CHROMA_LIFECYCLE_WORKSPACE"):
            Workspace.open(default / "words")
        assert not [*default.iterdir()]
    default.chmod(0o755)
    assert "opened" == opened(default / "words")


def test_a_link_is_refused(default: Path, tmp_path: Path) -> None:
    """Also one to a directory of this user: another user can lead it elsewhere."""
    (tmp_path / "mine").mkdir(mode=0o700)
    default.symlink_to(tmp_path / "mine")

    with pytest.raises(BadInput, match=f"{default} is no directory"):
        Workspace.open(default / "words")
    assert not [*(tmp_path / "mine").iterdir()]


@as_root
def test_what_another_user_has_prepared_is_refused(default: Path) -> None:
    """A real other user was first; what was put there is neither read nor changed."""

    def prepare(place: Path) -> str:
        (place / "words" / "pristine").mkdir(parents=True)
        (place / "words" / "stamp").write_text("planted")
        return "prepared"

    assert "prepared" == as_a_stranger(default, prepare)

    with pytest.raises(BadInput, match=f"{default} belongs to user {STRANGER}, and this is user 0"):
        Workspace.open(default / "words")
    assert ["pristine", "stamp"] == sorted(path.name for path in (default / "words").iterdir())


@as_root
def test_another_user_is_refused_what_is_ours(default: Path) -> None:
    """And told why, and what to do."""
    assert "opened" == opened(default / "words")
    default.chmod(0o755)

    told = as_a_stranger(default, lambda place: opened(place / "words"))

    assert told.startswith(f"BadInput: {default.name} belongs to user 0, and this is user {STRANGER}"), told
    assert "--workspace" in told


@as_root
def test_a_directory_that_was_asked_for_is_nobody_elses_business(default: Path) -> None:
    """Who names a workspace decides who shares it: a volume can belong to a group."""
    shared = default.with_name("shared")
    shared.mkdir()
    shared.chmod(0o777)

    assert "opened" == opened(shared / "words")
    assert "opened" == as_a_stranger(default, lambda place: opened(place.with_name("shared") / "pages"))


def test_the_default_is_one_directory_for_everybody() -> None:
    """So it matters who made it."""
    assert config.DEFAULT_WORKSPACE == workspace.DEFAULT_WORKSPACE == Path(gettempdir()) / "chroma-lifecycle"
