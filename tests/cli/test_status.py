"""``status`` on a sound store, a broken one, an empty one, and with settings that disagree."""

from __future__ import annotations

import shutil
from pathlib import Path

from chroma_lifecycle.cli.status import _deltas
from tests.support.command_line import MAPPING, CommandLine


def torn_head(store: Path) -> None:
    """Leave of each copy of HEAD what is no JSON."""
    for path in (store / "notes/HEAD", *(store / "notes/heads").iterdir()):
        path.write_text("torn")


def todo(cli: CommandLine, *options: str) -> dict[str, str]:
    """Return what is to be done, by its text, and whether it is bad."""
    return {each["text"]: each["state"] for each in cli.at("status", "--json", *options).json["todo"]}


def test_a_sound_store_is_told_on_one_screen(cli: CommandLine) -> None:
    """Newest version, what it holds, what is kept; and nothing is written."""
    before = cli.contents()

    ended = cli.at("status", "--mapping", "notes.yaml")

    assert (0, "") == (ended.code, ended.err)
    lines = ended.out.splitlines()
    assert ("notes in store", "nothing to do") == (lines[0], lines[-1])
    assert len(lines) <= 24
    assert "version 3," in lines[1]
    assert before == cli.contents()


def test_programs_get_what_is_kept(cli: CommandLine) -> None:
    """Pins and expiries by their numbers, beside the counts of the newest version."""
    cli.at("pin", "release", "--version", "2")
    cli.at("expire", "--keep", "1")

    told = cli.at("status", "--json").json

    assert (3, 3, 1, {"release": 2}) == (told["version"], told["records"], told["floor"], told["pins"])
    assert [3] == [each["bound"] for each in told["expiries"]]
    assert ("good", [], None) == (told["state"], told["todo"], told["mirror"])
    assert "those before 3 are expired" in cli.at("status").out


def test_what_a_rollback_withholds_is_to_be_decided(cli: CommandLine) -> None:
    """It stands among what to do, and in its number."""
    cli.at("rollback", "2", "--workspace", "workspace")

    told = cli.at("status", "--json").json

    assert (4, 1, "look") == (told["version"], told["withheld"], told["state"])
    assert "facts" in told["todo"][0]["text"]


def test_an_empty_store_is_an_error_with_a_way_out(cli: CommandLine) -> None:
    """L13: what is not there is neither sound nor broken."""
    (cli.home / "nothing").mkdir()

    ended = cli.at("status", store="nothing")

    assert (2, "", True) == (ended.code, ended.out, "collection notes has no HEAD in nothing" in ended.err)


def test_a_broken_store_is_told(cli: CommandLine) -> None:
    """A lost older version stands on the screen; without HEAD's own bytes there is none, but a way out."""
    oldest = min((cli.home / "store/notes/manifests").iterdir())
    oldest.unlink()

    broken = cli.at("status")
    assert (0, True) == (broken.code, "bad: History is broken" in broken.out)
    assert "nothing to do" not in broken.out

    torn_head(cli.home / "store")
    torn = cli.at("status")
    assert (4, "", True) == (torn.code, torn.out, "chroma-lifecycle recover" in torn.err)


def test_a_mapping_that_it_was_not_made_under_is_told(cli: CommandLine) -> None:
    """L25: the function would refuse every batch."""
    (cli.home / "other.yaml").write_text(MAPPING.replace("[title, folder]", "[title]"))

    told = todo(cli, "--mapping", "other.yaml")

    assert ["bad"] == list(told.values())
    assert "every batch is refused" in next(iter(told))
    assert ["The mapping receipts has no collection notes."] == list(todo(cli, "--mapping", "receipts"))


def test_deltas_outside_the_bucket_are_told() -> None:
    """L25: of a bucket only; the default and the store's own bucket agree."""
    assert [] == [*_deltas("s3://bucket/snapshots", None), *_deltas("s3://bucket/snapshots", "s3://bucket/deltas/")]
    assert [] == [*_deltas("store", "deltas")]

    told = [*_deltas("s3://bucket/snapshots", "s3://bucket/deltas/, s3://other/, /mnt/deltas")]

    assert ["s3://other/", "/mnt/deltas/"] == [each.text.split()[4].rstrip(",") for each in told]


def copied(cli: CommandLine, to: str) -> Path:
    return Path(shutil.copytree(cli.home / "store", cli.home / to))


def test_the_mirror_is_told_as_it_is(cli: CommandLine) -> None:
    """L25: up to date, behind, damaged, of another store, not there."""
    copied(cli, "mirror")
    assert [{}, "up to date"] == [
        todo(cli, "--mirror", "mirror"),
        cli.at("status", "--json", "--mirror", "mirror").json["mirror"]["state"],
    ]

    cli.at("pin", "release")
    assert {"The mirror is behind the store.": "look"} == todo(cli, "--mirror", "mirror")

    torn_head(cli.home / "mirror")
    assert {"The mirror is damaged.": "bad"} == todo(cli, "--mirror", "mirror")
    assert {"The mirror does not answer.": "bad"} == todo(cli, "--mirror", "nowhere")

    made = cli.at("init", "--dimension", "3", "--workspace", "second", store="foreign")
    assert 0 == made.code
    assert {"The mirror is not this store's.": "bad"} == todo(cli, "--mirror", "foreign")
