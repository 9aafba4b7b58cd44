"""diff on the command line: what is listed and counted, how versions are named, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_wrong_inputs import assert_refused
from tests.support.command_line import CommandLine

A = "USER#u#NOTE#a"


def test_without_versions_the_newest_is_compared_with_the_one_before(cli: CommandLine) -> None:
    """One version names the older one; `latest` and pins name versions too."""
    cli.at("pin", "first", "--version", "1")

    told = {
        asked: tuple(cli.at("diff", *asked, "--json").json[side]["version"] for side in ("before", "after"))
        for asked in [(), ("1",), ("1", "2"), ("latest", "first")]
    }

    assert {(): (2, 3), ("1",): (1, 3), ("1", "2"): (1, 2), ("latest", "first"): (3, 1)} == told


def test_what_is_listed_is_bounded_and_what_is_counted_is_not(cli: CommandLine) -> None:
    """--limit cuts the list, --all does not; values come only when they are asked for, control characters never."""
    short, whole = cli.at("diff", "1", "--limit", "1"), cli.at("diff", "1", "--limit", "1", "--all")
    values, one = cli.at("diff", "--values"), cli.at("diff", "--record", A, "--record", "nobody")

    assert "records   3 added, 0 changed, 0 removed" in short.out
    assert "... and 2 more; --all lists them" in short.out
    assert [1, 3] == [ended.out.count("  added\n") for ended in (short, whole)]
    assert "Title" not in short.out + whole.out + cli.at("diff").out
    assert r'title: "Title a" -> "[b]Title[/b] \u001b[2J"' in values.out
    assert "~folder ~title" in cli.at("diff").out
    assert "\x1b" not in values.out + one.out
    assert "bytes before" in values.out
    assert "bytes before" not in one.out
    assert "nobody is in neither of them" in one.out
    assert "USER#u#NOTE#b is the same in both" in cli.at("diff", "--record", "USER#u#NOTE#b").out


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (["3"], ("both are version 3 of notes", "name two versions")),
        (["2", "2"], ("both are version 2 of notes", "name two versions")),
        (["9"], ("version 9 of notes is not there: versions 1 to 3 are", "`chroma-lifecycle log` lists them")),
        (["0"], ("'0' is no version of notes", "latest, or a pin (there is none)")),
        (["release"], ("'release' is no version of notes", "`chroma-lifecycle log`")),
        (["9" * 30], ("is no version of notes",)),
    ],
)
def test_versions_that_cannot_be_compared(cli: CommandLine, given: list[str], parts: tuple[str, ...]) -> None:
    """The same one twice, one that is gone, one that never was, no version at all."""
    assert_refused(cli.at("diff", *given), 2, *parts)


def test_a_collection_of_one_version_has_nothing_to_compare(cli: CommandLine) -> None:
    """It says so, and not that version 0 is missing."""
    cli("init", "--store", "new", "--collection", "notes", "--dimension", "3", "--workspace", "w")

    assert_refused(cli.at("diff", store="new"), 2, "notes has only version 1", "log")


def test_what_expired_can_be_compared_and_what_was_swept_cannot(cli: CommandLine) -> None:
    """Until the sweep an expired version is whole."""
    cli.at("expire", "--keep", "1")
    assert 0 == cli.at("diff", "1", "2").code

    cli.at("sweep", "--grace", "0s", "--delete")

    assert_refused(cli.at("diff", "1", "3"), 2, "version 1 of notes is not there: version 3 is", "log")
    assert_refused(cli.at("diff"), 2, "version 2 of notes is not there")


def test_the_same_content_is_told_as_such(cli: CommandLine) -> None:
    """A new base changes no byte of the content."""
    cli.at("rebase", "--workspace", "workspace")

    ended = cli.at("diff")

    assert "content   the same, byte for byte" in ended.out
    assert "pages" not in ended.out
    assert cli.at("diff", "--json").json["same"]


def damaged(home: Path) -> str:
    carrier = next(path for path in (home / "store/notes/objects").rglob("*") if path.is_file())
    carrier.write_bytes(carrier.read_bytes()[:-1])
    return carrier.name


def test_damage_is_named_and_the_mirror_is_a_way_out(cli: CommandLine) -> None:
    """C3: the object is named, exit code 4; a mirror that has it makes it go."""
    (cli.home / "mirror").mkdir()
    cli.at("mirror", "--mirror", "mirror", "--repair")
    name = damaged(cli.home)

    assert_refused(cli.at("diff"), 4, f"{name} is damaged", "from a mirror")
    assert 0 == cli.at("diff", "--mirror", "mirror").code


def test_a_pack_that_is_damaged_is_named(cli: CommandLine) -> None:
    """Packs of a small change travel in manifests."""
    manifest = next((cli.home / "store/notes/manifests").glob("0000000000000002-*"))
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"x")

    assert_refused(cli.at("diff", "1", "3"), 4, manifest.name, "is not the manifest that was published")


def test_nothing_is_written_and_nothing_left(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither in the store nor where temporary files lie."""
    before, scratch = cli.contents(), tmp_path_factory.mktemp("scratch")
    cli.monkeypatch.setattr("tempfile.tempdir", str(scratch))

    assert 0 == cli.at("diff", "1", "3", "--values").code

    assert (before, []) == (cli.contents(), list(scratch.iterdir()))
