"""A damaged store, as a user meets it: what is told of it, and the way on."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine
from tests.support.home import manifest_of

WAYS_ON = "`chroma-lifecycle recover --mirror DIRECTORY`", "`chroma-lifecycle restore --fallback`"


@pytest.mark.parametrize(
    "command",
    [["log"], ["show"], ["status"], ["query", "--id", "x"], ["restore", "--to", "out"], ["rollback", "1"], ["compact"]],
)
def test_a_damaged_newest_manifest_leads_to_what_works(cli: CommandLine, command: list[str]) -> None:
    """C3: this covers a case where every command led to `verify`, and that led to itself."""
    manifest_of(cli.home, 3).write_bytes(b"x\n")

    ended = cli.compact("third.json") if command == ["compact"] else cli.at(*command)

    assert (4, "") == (ended.code, ended.out)
    assert manifest_of(cli.home, 3).name in ended.err
    assert "without one `chroma-lifecycle recover` takes the version before" in ended.err
    assert all(way in ended.err for way in WAYS_ON)


@pytest.mark.parametrize("version", [2, 3])
def test_verify_names_a_damaged_manifest_once(cli: CommandLine, version: int) -> None:
    """C3: also that of the newest version, and a damaged object of older ones behind it."""
    manifest, first = manifest_of(cli.home, version), min((cli.home / "store/notes/objects").rglob("??/*"))
    manifest.write_bytes(b"x\n")
    first.write_bytes(first.read_bytes()[:-1])

    ended, value = cli.at("verify", "--all"), cli.at("verify", "--all", "--json").json

    assert 4 == ended.code
    assert {str(each.relative_to(cli.home / "store")) for each in (manifest, first)} == value["stored"]["damage"].keys()
    assert (1, 1) == (ended.out.count(manifest.name), ended.out.count(first.name))
    assert 3 == value["stored"]["versions"]
    assert all(way in ended.out for way in WAYS_ON)


def test_verify_counts_the_same_things_of_one_version_and_of_all(cli: CommandLine) -> None:
    """More versions never have fewer objects or bytes."""
    newest, every = (cli.at("verify", *more, "--json").json["stored"] for more in ([], ["--all"]))

    assert (1, 3) == (newest["versions"], every["versions"])
    assert newest["objects"] < every["objects"]
    assert newest["bytes_read"] < every["bytes_read"]
    stored = [path for part in ("objects", "manifests") for path in (cli.home / "store/notes" / part).rglob("*")]
    files = [path.stat().st_size for path in stored if path.is_file()]
    assert (len(files), sum(files)) == (every["objects"], every["bytes_read"])


@pytest.mark.parametrize("gone", [False, True])
def test_log_tells_what_it_can_read_and_where_history_breaks(cli: CommandLine, gone: bool) -> None:
    """C3: what is newer than a damaged manifest, or one that is gone, is told before the error."""
    manifest = manifest_of(cli.home, 2)
    manifest.unlink() if gone else manifest.write_bytes(b"x\n")

    ended, value = cli.at("log"), cli.at("log", "--json")

    assert (4, 4) == (ended.code, value.code)
    assert [3] == [each["version"] for each in value.json]
    assert "compact" in ended.out
    assert f"history breaks below version 3: notes/manifests/{manifest.name}" in ended.err
    assert WAYS_ON[0] in ended.err
    assert 0 == cli.at("log", "--limit", "1").code


@pytest.mark.parametrize("harm", ["gone", "longer", "other"])
def test_a_damaged_object_is_named_in_full(cli: CommandLine, harm: str) -> None:
    """C3: its collection and path below the store, what is wrong, and commands that exist."""
    first = min((cli.home / "store/notes/objects").rglob("??/*"))
    body = first.read_bytes()
    first.unlink() if harm == "gone" else first.write_bytes(body + b"x" if harm == "longer" else b"x" + body[1:])

    ended = cli.at("restore", "--to", "out")

    assert (4, False) == (ended.code, (cli.home / "out").exists())
    assert str(first.relative_to(cli.home / "store")) in ended.err
    assert all(way in ended.err for way in WAYS_ON)


def test_doctor_goes_on_past_damage(cli: CommandLine) -> None:
    """It is a finding like the others, and the exit code is that of a finding."""
    min((cli.home / "store/notes/objects").rglob("??/*")).unlink()

    ended = cli.at("doctor", "--trial")

    assert 1 == ended.code
    assert ended.out.startswith("good: store compares before it writes")
    assert "bad: The newest version of notes cannot be read: notes/objects/" in ended.out
    assert WAYS_ON[0] in ended.out


def test_doctor_tells_the_damage_of_each_collection(cli: CommandLine) -> None:
    """A damaged HEAD is one, too."""
    for path in (cli.home / "store/notes/HEAD", *(cli.home / "store/notes/heads").iterdir()):
        path.write_bytes(b"noise")

    checks = cli("doctor", "--store", "store", "--mapping", "notes.yaml", "--json").json["checks"]

    assert ["bad"] == [each["state"] for each in checks if "cannot be read" in each["text"]]
