"""``restore``: by time, and past damage."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from tests.support.command_line import CommandLine
from tests.support.home import manifest_of


def written(cli: CommandLine) -> dict[int, datetime]:
    return {each["version"]: datetime.fromisoformat(each["written_at"]) for each in cli.at("log", "--json").json}


def test_the_version_of_a_moment_is_restored(cli: CommandLine) -> None:
    """The one that was the newest then; before the first there was none."""
    times = written(cli)
    for version in (1, 2, 3):
        told = cli.at("restore", "--to", f"out-{version}", "--at", times[version].isoformat(), "--json").json
        assert version == told["version"]
    just_before = (times[2] - timedelta(microseconds=1)).isoformat()
    assert 1 == cli.at("restore", "--to", "out-before", "--at", just_before, "--json").json["version"]
    today = times[3].date().isoformat()
    assert 3 == cli.at("restore", "--to", "out-today", "--at", today, "--json").json["version"]

    ended = cli.at("restore", "--to", "out-none", "--at", "2020-01-31T12:00")
    assert (2, True) == (ended.code, "no version of notes that is there is as old as 2020-01-31 12:00:59" in ended.err)
    assert not (cli.home / "out-none").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--at", "yesterday"], "'yesterday' is no time"),
        (["--at", "2026-01-31", "--version", "1"], "leave --version or"),
    ],
)
def test_a_time_that_is_none_is_refused(cli: CommandLine, options: list[str], text: str) -> None:
    """One error and a way out."""
    ended = cli.at("restore", "--to", "out", *options)

    assert (2, True) == (ended.code, text in ended.err)


def test_past_damage_the_newest_sound_version_is_restored(cli: CommandLine) -> None:
    """C3: the damage is named; without --fallback it is an error, and nothing is left behind."""
    # Version 3 needs the pack that travels in the manifest of version 2; version 1 needs neither.
    manifest = manifest_of(cli.home, 2)
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"x")

    refused = cli.at("restore", "--to", "out")
    assert (4, True, False) == (refused.code, manifest.name in refused.err, (cli.home / "out").exists())
    told = cli.at("restore", "--to", "out", "--fallback", "--json").json

    assert 1 == told["version"]
    assert [3, 2] == [int(text.split()[1].rstrip(":")) for text in told["damage"]]


def test_a_version_behind_a_damaged_manifest_is_reached_as_the_hint_says(cli: CommandLine) -> None:
    """C3: the version itself is whole; what hides it is named, and so is the way past it."""
    torn = manifest_of(cli.home, 2)
    torn.write_bytes(b"torn")

    for command in (["restore", "--to", "out", "--version", "1"], ["diff", "1", "3"]):
        ended = cli.at(*command)
        told = " ".join(ended.err.split())
        assert (4, True) == (ended.code, f"version 1 of notes cannot be found: notes/manifests/{torn.name}" in told)
        assert "restore --version 1 --fallback" in told
    assert 1 == cli.at("restore", "--to", "out", "--version", "1", "--fallback", "--json").json["version"]


def test_past_a_damaged_newest_manifest(cli: CommandLine) -> None:
    """C3: HEAD's own version cannot be read at all; the one before it, and one that was asked for, can."""
    manifest_of(cli.home, 3).write_bytes(b"torn")

    assert 4 == cli.at("restore", "--to", "out").code
    assert 2 == cli.at("restore", "--to", "out", "--fallback", "--json").json["version"]
    assert 1 == cli.at("restore", "--to", "out-1", "--version", "1", "--fallback", "--json").json["version"]
    ended = cli.at("restore", "--to", "out-9", "--version", "9", "--fallback")
    assert (2, True) == (ended.code, "version 9 of notes is not there" in ended.err)


def test_a_damaged_object_of_the_newest_version_is_passed_over(cli: CommandLine) -> None:
    """C3, C4: the version before it has what it needs."""
    cli.compact("third.json")
    before = {path for path in (cli.home / "store/notes/objects").rglob("*") if path.is_file()}
    cli("rebase", "--store", "store", "--collection", "notes", "--workspace", "workspace")
    fresh = [path for path in (cli.home / "store/notes/objects").rglob("*") if path.is_file() and path not in before]
    assert fresh
    fresh[0].write_bytes(b"damaged")

    told = cli.at("restore", "--to", "out", "--fallback", "--json").json

    newest = max(written(cli))
    assert newest - 1 == told["version"]
    assert fresh[0].name in json.dumps(told["damage"])
