"""``recover``, ``mirror``, ``move``, ``copy``, as a user gives them, wrong inputs included."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine


def test_a_head_that_was_deleted_is_recovered(cli: CommandLine) -> None:
    """L13: the dry run tells, the command does it, and the collection goes on."""
    (cli.home / "store/notes/HEAD").unlink()
    before = cli.contents()

    dry = cli.at("recover", "--dry-run")
    assert (0, before) == (dry.code, cli.contents())
    assert dry.out.startswith("notes: HEAD would be version 3, from an older HEAD in store, serial 3\n")
    done = cli.at("recover")
    assert done.out.startswith("notes: HEAD is version 3, from")
    assert 0 == cli.at("verify", "--all").code
    assert "notes: version 4 published" in cli.compact("third.json").out
    assert 2 == cli.at("recover").code


def test_the_last_sound_copy_of_everything_is_the_mirror(cli: CommandLine) -> None:
    """A store that was lost whole comes back from the mirror."""
    (cli.home / "mirror").mkdir()
    cli.compact("third.json", "--mirror", "mirror")
    shutil.rmtree(cli.home / "store/notes")

    assert (2, True) == ((ended := cli.at("recover")).code, "--mirror" in ended.err)
    told = cli.at("recover", "--mirror", "mirror", "--json").json

    assert (4, 4, True) == (told["version"], told["floor"], told["brought_from_mirror"] > 0)
    assert 0 == cli.at("verify", "--all").code


def test_a_mirror_is_told_and_repaired(cli: CommandLine) -> None:
    """L24: empty, up to date, behind, damaged; after the repair it is up to date and whole."""
    (cli.home / "mirror").mkdir()
    state = lambda: cli.at("mirror", "--mirror", "mirror", "--json").json["state"]  # noqa: E731
    assert "empty" == state()
    cli.compact("third.json", "--mirror", "mirror")
    assert "up to date" == state()
    cli.at("pin", "p")
    assert "behind" == state()
    assert re.search(
        r"is behind: version 4 as in the store, with HEAD (\d+) of (?!\1\b)\d+\n",
        cli.at("mirror", "--mirror", "mirror").out,
    )
    for head in [cli.home / "mirror/notes/HEAD", *(cli.home / "mirror/notes/heads").iterdir()]:
        head.write_bytes(b"noise")
    assert "damaged" == state()
    assert "mirror --repair" in cli.at("mirror", "--mirror", "mirror").out

    repaired = cli.at("mirror", "--mirror", "mirror", "--repair")

    assert (0, "up to date") == (repaired.code, state())
    assert 0 == cli.at("verify", store="mirror").code


def test_a_collection_moves_and_is_copied(cli: CommandLine) -> None:
    """The old place refuses with the new address; the copy goes on by itself."""
    copied = cli.at("copy", "--to", "copy")
    moved = cli.at("move", "--to", "moved")

    assert (0, 0) == (copied.code, moved.code)
    assert f"notes has moved to {cli.home / 'moved'}: versions 1 to 3" in moved.out
    for ended in (cli.at("log"), cli.compact("third.json"), cli.at("copy", "--to", "another")):
        assert f"has moved to {cli.home / 'moved'}" in ended.err
    for place in ("copy", "moved"):
        assert [3, 2, 1] == [each["version"] for each in cli.at("log", "--json", store=place).json]
        assert 0 == cli.at("verify", "--all", store=place).code
    assert 0 == cli.at("move", "--to", "moved").code


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["recover", "--manifest", "notes/manifests/x"], "there is nothing to recover"),
        (["mirror"], "which mirror is meant?"),
        (["move", "--to", "store"], "is not free for notes: it has a HEAD"),
        (["copy", "--to", "s3:/bucket"], "write s3://bucket/prefix"),
        (["move"], "Missing option '--to'"),
    ],
)
def test_what_makes_no_sense_is_refused(cli: CommandLine, arguments: list[str], text: str) -> None:
    """One error and a way out; the store stays as it is."""
    before = cli.contents()

    ended = cli.at(*arguments)

    assert (2, "", True) == (ended.code, ended.out, text in ended.err), ended
    assert before == cli.contents()


def test_a_damaged_object_is_replaced_by_that_of_the_mirror(cli: CommandLine) -> None:
    """C3: the way that `verify` names; HEAD, which is sound, stays as it is, and a dry run changes nothing."""
    (cli.home / "mirror").mkdir()
    assert 0 == cli.at("mirror", "--mirror", "mirror", "--repair").code
    stored = min(path for path in (cli.home / "store/notes/objects").rglob("*") if path.is_file())
    name, before = stored.relative_to(cli.home / "store"), cli.contents()
    damage(stored)
    damaged = cli.contents()

    found, refused = cli.at("verify", "--all"), cli.at("recover")
    dry = cli.at("recover", "--mirror", "mirror", "--dry-run")
    assert (4, 4, 0, damaged) == (found.code, refused.code, dry.code, cli.contents())
    mended = cli.at("recover", "--mirror", "mirror")

    assert f"damaged: {name} " in found.out
    assert "chroma-lifecycle recover --mirror" in found.out
    assert f"{name} is damaged" in refused.err
    assert "notes: HEAD is version 3, and stays\n  1 object came back from the mirror\n" in mended.out
    assert before == cli.contents()
    assert 0 == cli.at("verify", "--all").code


def test_an_older_version_is_the_newest_where_nothing_else_is_left(cli: CommandLine) -> None:
    """C3: no mirror has what is damaged: the version that `recover` names is taken by its name, and told what for."""
    begun = {path for path in (cli.home / "store/notes/objects").rglob("*") if path.is_file()}
    assert 0 == cli.at("rebase", "--workspace", "workspace").code
    damage(min({path for path in (cli.home / "store/notes/objects").rglob("*") if path.is_file()} - begun))
    refused = cli.at("recover")
    assert (4, True) == (refused.code, "its version 4 is not whole" in refused.err)
    name = refused.err.partition("recover --manifest ")[2].partition("`")[0]

    taken = cli.at("recover", "--manifest", name)

    assert (0, True) == (taken.code, taken.out.startswith("notes: HEAD is version 3, from the manifest that was asked"))
    assert "  given up: version 4, notes/manifests/" in taken.out
    assert "found in the table by chroma-lifecycle resync" in taken.out
    assert 0 == cli.at("verify", "--all").code
    assert "notes: version 4 published" in cli.compact("third.json").out
    assert 0 == cli.at("verify", "--all").code


def damage(path: Path) -> None:
    """Flip a bit of a stored file."""
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
