"""``expire``, ``pin``, ``unpin``, ``sweep``, as a user gives them, wrong inputs included."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

TWO_DAYS = 2 * 86_400


def grow_old(home: Path) -> None:
    """Let every file of the store be two days older."""
    for path in (home / "store").rglob("*"):
        os.utime(path, (time.time() - TWO_DAYS,) * 2)


def versions(cli: CommandLine, *options: str) -> list[int]:
    return [each["version"] for each in cli.at("log", "--json", *options).json]


def test_a_version_expires_comes_back_and_goes(cli: CommandLine) -> None:
    """The whole way: expire, undo, expire, sweep; the version that is left is sound."""
    told = cli.at("expire", "--keep", "1")
    assert (0, "notes: versions 1 to 2 expired; the history is now version 3") == (told.code, told.out.splitlines()[0])
    assert ([3], [3, 2, 1]) == (versions(cli), versions(cli, "--all"))
    assert "expired" in cli.at("log", "--all").out
    assert "notes: versions 1 to 2 back in the history\n" == cli.at("expire", "--undo").out
    assert [3, 2, 1] == versions(cli)
    cli.at("expire", "--keep", "1")
    grow_old(cli.home)

    before = cli.contents()
    dry = cli.at("sweep", "--grace", "0s")
    assert before == cli.contents()
    assert "would be deleted" in dry.out
    assert "nothing was deleted; do it with --delete" in dry.out
    swept = cli.at("sweep", "--grace", "0s", "--delete", "--json").json["store"]

    # A pack of one version lives in the manifests of those after it, so not every old manifest can go.
    assert {row["name"] for row in swept["condemned"]} == {
        name.removeprefix("store/") for name in before.keys() - cli.contents().keys() if "/heads/" not in name
    }
    assert (True, 3, 1) == (swept["deleted"], swept["floor"], swept["sweeps"])
    assert [3] == versions(cli, "--all")
    assert 0 == cli.at("verify", "--all").code


def test_a_pinned_version_is_told_and_stays(cli: CommandLine) -> None:
    """`log` shows the name of the pin; a sweep leaves the version whole."""
    assert "notes: version 1 is pinned as first\n" == cli.at("pin", "first", "--version", "1").out
    assert "pinned: first" in cli.at("log").out
    cli.at("expire", "--keep", "1")
    grow_old(cli.home)
    cli.at("sweep", "--grace", "0s", "--delete")

    # Nothing could go: the manifest of version 2 carries a pack that version 3 needs. So HEAD is as it was.
    assert ([3], [3, 2, 1]) == (versions(cli), versions(cli, "--all"))
    assert 0 == cli.at("restore", "--version", "1", "--to", "out").code
    assert "notes: version 1 is no longer pinned as first\n" == cli.at("unpin", "first").out


def test_a_fresh_expiry_survives_a_sweep(cli: CommandLine) -> None:
    """The grace period is a day unless told otherwise."""
    cli.at("expire", "--keep", "1")

    told = cli.at("sweep", "--delete")

    assert "0 files deleted" in told.out
    assert [3, 2, 1] == versions(cli, "--all")


def test_foreign_files_are_told_and_taken_by_name_alone(cli: CommandLine) -> None:
    """D4: with how to take them."""
    (cli.home / "store/notes/objects/README").write_text("somebody's")
    (cli.home / "store/notes/objects/\x1b[2J").write_text("somebody's")
    grow_old(cli.home)

    told = cli.at("sweep", "--delete")
    assert "unknown: notes/objects/README  10 B" in told.out
    assert "\x1b" not in told.out
    assert (cli.home / "store/notes/objects/README").exists()

    taken = cli.at("sweep", "--delete", "--name", "notes/objects/README", "--name", "READMI", "--json").json
    assert ["READMI"] == taken["without_effect"]
    assert "--name READMI: nothing that could go has this name" in cli.at("sweep", "--name", "READMI").out
    assert not (cli.home / "store/notes/objects/README").exists()


def test_the_mirror_is_swept_with_the_store(cli: CommandLine) -> None:
    """Both are told; a mirror that is not there is an error that comes after the store's sweep."""
    (cli.home / "mirror").mkdir()
    cli.compact("third.json", "--mirror", "mirror")
    cli.compact("first.json", "--mirror", "mirror")
    cli.at("expire", "--keep", "1")
    grow_old(cli.home)

    told = cli.at("sweep", "--grace", "0s", "--delete", "--mirror", "mirror")

    assert 0 == told.code
    assert ["notes in store: 1 files deleted", "notes in the mirror mirror: 0 files deleted"] == [
        line.partition(",")[0] for line in told.out.splitlines() if line.startswith("notes in ")
    ]
    shutil.rmtree(cli.home / "mirror")
    ended = cli.at("sweep", "--mirror", "mirror")
    assert (3, "there is no directory mirror" in ended.err) == (ended.code, True)


REFUSED: list[tuple[list[str], int, str]] = [
    (["expire"], 2, "what is to expire?"),
    (["expire", "--keep", "0"], 2, "--keep"),
    (["expire", "--older-than", "yesterday"], 2, "'yesterday' is no age"),
    (["expire", "--older-than", "-1d"], 2, "'-1d' is no age"),
    (["expire", "--undo", "--keep", "1"], 2, "--undo takes the last expiry back"),
    (["pin"], 2, "Missing argument 'NAME'"),
    (["pin", "a b"], 2, "a pin's name must be"),
    (["pin", "p", "--version", "9"], 2, "version 9 of notes is not there: versions 1 to 3 are"),
    (["unpin", "p"], 2, "notes has no pin 'p'; it has: none"),
    (["sweep", "--grace", "a day"], 2, "'a day' is no age"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "text"), REFUSED, ids=lambda each: " ".join(each) if isinstance(each, list) else ""
)
def test_what_makes_no_sense_is_refused(cli: CommandLine, arguments: list[str], code: int, text: str) -> None:
    """One error and a way out; HEAD stays as it is."""
    before = cli.contents()

    ended = cli.at(*arguments)

    assert (code, "", True) == (ended.code, ended.out, text in ended.err), ended
    assert "hint:" in ended.err
    assert before == cli.contents()


@pytest.mark.parametrize(
    "command", [["expire", "--keep", "1"], ["expire", "--undo"], ["pin", "p"], ["unpin", "p"], ["sweep"]], ids=" ".join
)
def test_a_missing_head_is_told_by_all_of_them(cli: CommandLine, command: list[str]) -> None:
    """L13: and nothing is written, not even by those that write HEAD."""
    (cli.home / "store/notes/HEAD").unlink()
    before = cli.contents()

    ended = cli.at(*command)

    assert (2, True) == (ended.code, "collection notes has no HEAD in store" in ended.err)
    assert before == cli.contents()


def test_a_version_that_was_swept_cannot_be_pinned_or_shown(cli: CommandLine) -> None:
    """The error names those that are there."""
    cli.at("expire", "--keep", "2")
    grow_old(cli.home)
    cli.at("sweep", "--grace", "0s", "--delete")

    for command in (
        ["pin", "p", "--version", "1"],
        ["show", "--version", "1"],
        ["restore", "--version", "1", "--to", "out"],
    ):
        ended = cli.at(*command)
        assert (2, True) == (ended.code, "version 1 of notes is not there: versions 2 to 3 are" in ended.err)
