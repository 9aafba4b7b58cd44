"""``recover``, ``mirror``, ``move``, ``copy``, as a user gives them, wrong inputs included."""

from __future__ import annotations

import shutil

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
    """C3: the way that `verify` names for what `recover` leaves alone, since HEAD names it and it is there."""
    (cli.home / "mirror").mkdir()
    assert 0 == cli.at("mirror", "--mirror", "mirror", "--repair").code
    sound = min(path for path in (cli.home / "mirror/notes/objects").rglob("*") if path.is_file())
    stored = cli.home / "store" / sound.relative_to(cli.home / "mirror")
    stored.chmod(0o644)
    stored.write_bytes(bytes([sound.read_bytes()[0] ^ 1]) + sound.read_bytes()[1:])

    found = cli.at("verify", "--all")
    left = cli.at("recover", "--mirror", "mirror")
    shutil.copyfile(sound, stored)

    assert (4, 2) == (found.code, left.code)
    assert f"damaged: {sound.relative_to(cli.home / 'mirror')}: " in found.out
    assert "hint: copy each from where the same name is sound" in found.out
    assert 0 == cli.at("verify", "--all").code
