"""Kill -9 anywhere: the next process finds the old version, the new one, or none, and never a mixture."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.snapshots import Site

MakeSite = Callable[..., Site]


def deaths(tmp_path: Path, action: str, *planted: str, when: str = "before", every: int = 1) -> list[str]:
    """What is found after each death of *action* on a copy of the site "one"."""
    prepared = tmp_path / "prepared"
    shutil.copytree(tmp_path / "store", prepared / "store")
    shutil.copytree(tmp_path / "workspace-one", prepared / "workspace")
    command = [sys.executable, "-m", "tests.support.kills", str(prepared), action, when, str(every), *planted]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert 0 == result.returncode, result.stderr
    found: list[str] = json.loads(result.stdout.splitlines()[-1])
    return found


def steps(found: list[str]) -> list[str]:
    """The distinct findings, in their order."""
    return [each for number, each in enumerate(found) if number == 0 or found[number - 1] != each]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_while_the_copy_follows_leaves_the_old_version_or_none(site: Site, tmp_path: Path, when: str) -> None:
    """C13: until the stamp is removed the copy is of the old version, then of none, then of the new one."""
    found = deaths(tmp_path, "follow", when=when, every=2)

    assert len(found) > 10
    # Its first call removes the stamp.
    assert [*(["1 []"] if when == "before" else []), "none", "2 ['new']"] == steps(found)


def test_a_kill_while_packs_are_applied_leaves_the_old_version_or_none(make_site: MakeSite, tmp_path: Path) -> None:
    """C8: a copy that is half brought forward is of no version."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    two.cycle(fact="a", label="A")
    two.cycle(fact="b", label="B")

    found = deaths(tmp_path, "restore", every=2)

    assert len(found) > 10
    assert ["1 []", "none", "3 ['a', 'b']"] == steps(found)


def test_a_kill_while_a_version_is_restored_whole_leaves_the_old_version_or_none(
    make_site: MakeSite, tmp_path: Path
) -> None:
    """C4: the half that was restored is cleared away, and never taken for a version."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.publish_base(fact="base")

    found = deaths(tmp_path, "restore", every=2)

    assert len(found) > 10
    assert ["1 []", "none", "2 ['base']"] == steps(found)


def test_a_kill_while_another_manifest_is_noted_leaves_the_old_one_or_the_new_one(
    make_site: MakeSite, tmp_path: Path
) -> None:
    """No byte of the copy changes, so at no moment is it of no version."""
    one, two = make_site("one"), make_site("two")
    one.initialise()
    two.restore()
    parent = two.restore()
    with two.sealed() as sealed:
        two.publish(sealed, parent)

    found = deaths(tmp_path, "restore")

    assert ["1 []", "2 []"] == steps(found)


def test_a_kill_at_the_start_leaves_the_version_and_the_next_start_clears_the_rest(site: Site, tmp_path: Path) -> None:
    """A working directory never outlives its cycle."""
    found = deaths(tmp_path, "start")

    assert len(found) > 5
    assert ["1 []"] == steps(found)


def test_a_kill_anywhere_in_a_cycle_loses_nothing(site: Site, tmp_path: Path) -> None:
    """C13: store and workspace are sound after every death, and the next restore succeeds."""
    found = deaths(tmp_path, "cycle", every=11)

    assert len(found) > 4
    assert ("1 []", "2 ['new']") == (found[0], found[-1])
    assert {*found} <= {"1 []", "none", "2 ['new']"}


@pytest.mark.parametrize(
    ("planted", "action", "told"),
    [("the_stamp_stays", "follow", "Corrupt"), ("nothing_is_cleared", "start", "working")],
)
def test_a_planted_defect_is_found(site: Site, tmp_path: Path, planted: str, action: str, told: str) -> None:
    """The kills are not blind: a copy that says too early what it is, and what nobody clears away, are seen."""
    with pytest.raises(AssertionError, match=told):
        assert {*deaths(tmp_path, action, planted)} <= {"1 []", "none", "2 ['new']"}
