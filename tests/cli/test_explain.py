"""``explain``: every key of a record leads to the item that gave it."""

from __future__ import annotations

import json

from tests.support.command_line import CommandLine
from tests.support.table import Table, in_sqs


def explained(cli: CommandLine, record: str, *options: str) -> dict[str, object]:
    ended = cli("explain", record, "--store", "store", "--mapping", "notes.yaml", "--json", *options)
    assert 0 == ended.code, ended.err
    return dict(ended.json)


def rows(told: dict[str, object]) -> list[tuple[object, ...]]:
    given = told["given"]
    assert isinstance(given, list)
    return [(each["what"], each["item"]["sort"], each["version"], each["wins"], each["withheld"]) for each in given]


def test_each_key_leads_to_its_item_and_version(cli: CommandLine) -> None:
    """The run of version 2 brought the record, the edit of version 3 its title and folder."""
    told = explained(cli, "USER#u#NOTE#a")

    assert [
        ("run", "RUN#1", 2, True, False),
        ("folder", "NOTE#a", 3, True, False),
        ("title", "NOTE#a", 3, True, False),
    ] == rows(told)
    assert "out" == told["keys"]["folder"]  # type: ignore[index]


def test_an_older_version_is_explained_by_its_own_ledger(cli: CommandLine) -> None:
    """Before the edit, the first event gave the folder."""
    assert "in" == explained(cli, "USER#u#NOTE#a", "--version", "2")["keys"]["folder"]  # type: ignore[index]


def test_what_waits_for_its_vector_is_told(cli: CommandLine) -> None:
    """Version 1 has no record; after a rollback to it, what is known of the note is withheld."""
    assert 0 == cli.at("rollback", "1", "--workspace", "workspace").code

    told = explained(cli, "USER#u#NOTE#a")

    assert told["exists"] is False
    assert [("folder", "NOTE#a", False, True), ("title", "NOTE#a", False, True)] == [
        (what, item, wins, withheld) for what, item, _, wins, withheld in rows(told)
    ]


def test_an_unknown_id_and_another_mapping_are_told(cli: CommandLine) -> None:
    """No fact speaks of it; and facts of another mapping cannot be read by this one."""
    assert [] == explained(cli, "USER#u#NOTE#zz")["given"]
    (cli.home / "other.yaml").write_text((cli.home / "notes.yaml").read_text().replace("[title, folder]", "[title]"))

    refused = cli("explain", "USER#u#NOTE#a", "--store", "store", "--mapping", "other.yaml")

    assert (2, True) == (refused.code, "made under another mapping" in refused.err)


def test_what_ended_a_record_is_told(cli: CommandLine) -> None:
    """The removal of its item, by name, or an erasure: neither gives a value, and neither is told as one."""
    table = Table()
    edits = [table.put("USER#u", "NOTE#a", title=f"Title {number}") for number in range(20)]
    assert 0 == cli.compact("-", stdin=json.dumps(in_sqs([*edits, table.remove("USER#u", "NOTE#a")]))).code
    assert 0 == cli.at("erase", "USER#u#NOTE#b", "--delete", "--workspace", "workspace").code

    told = {each: cli("explain", f"USER#u#NOTE#{each}", "--store", "store", "--mapping", "notes.yaml") for each in "ab"}

    headline = "USER#u#NOTE#{} is no record of notes version 5: {}; what else is known of it waits"
    assert headline.format("a", "the removal of USER#u / NOTE#a deleted it") == told["a"].out.splitlines()[0]
    assert headline.format("b", "it was erased") == told["b"].out.splitlines()[0]
    assert ["deletes", "erased"] == [explained(cli, f"USER#u#NOTE#{each}")["given"][0]["what"] for each in "ab"]
    ends = [line for each in told.values() for line in each.out.splitlines() if line.startswith(("deletes", "erased"))]
    assert 2 == len(ends)
    assert not any("nothing" in line for line in ends)


def test_values_are_told_as_everywhere_else(cli: CommandLine) -> None:
    """In JSON's words, as by `query` and `diff`."""
    told = cli("explain", "USER#u#NOTE#a", "--store", "store", "--mapping", "notes.yaml")
    assert '"out"' in told.out


def test_what_is_withheld_never_wins(cli: CommandLine) -> None:
    """Also where it says what the key has anyway: `folder` went back to "in" in what a rollback withholds."""
    table = Table()
    for number, folder in enumerate(("in", "out", "in")):
        event = in_sqs([table.put("USER#w", "NOTE#x", title=f"Title {number}", folder=folder)])
        assert 0 == cli.compact("-", stdin=json.dumps(event)).code
    assert 0 == cli.at("rollback", "4", "--workspace", "workspace").code

    given = explained(cli, "USER#w#NOTE#x")["given"]

    assert isinstance(given, list)
    assert [("in", True, False), ("in", False, True)] == [
        (each["value"], each["wins"], each["withheld"]) for each in given if each["what"] == "folder"
    ]
