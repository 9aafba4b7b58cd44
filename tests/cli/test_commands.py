"""What each command prints when all is well."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing

import pytest

from chroma_lifecycle.cli.output import Output, Table, one_line
from chroma_lifecycle.snapshot.manifest_object import pack_inside
from chroma_lifecycle.words import size, version_range
from tests.support.command_line import WITH, CommandLine


def test_nothing_that_others_wrote_reaches_a_terminal_as_it_is(cli: CommandLine) -> None:
    """Ids of messages, names in a HEAD, what a service answers: control characters are spelled out."""
    event = {
        "Records": [{"messageId": "m\x1b[2J", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:x", "body": "x"}]
    }
    (cli.home / "odd.json").write_text(json.dumps(event))

    failed = cli.compact("odd.json")
    missing = cli.at("show", store="no\x1b]0;such\x07\nplace")

    assert "failed: m\\x1b[2J: the message's body is refused" in failed.out
    assert "there is no directory no\\x1b]0;such\\x07" in missing.err
    assert "\x1b" not in failed.out + failed.err + missing.err
    assert [r"a\x1b"] == Table(("id",), [("a\x1b",)]).lines()[1:]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16", "utf-8", "UTF8"])
def test_json_is_json_whatever_the_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Programs read the same from every terminal: letters are escaped as JSON escapes them, but in UTF-8."""
    value, streams = "café € \U0001f600", {}
    for name in ("stdout", "stderr"):
        streams[name] = io.TextIOWrapper(io.BytesIO(), encoding, errors="backslashreplace", write_through=True)
        monkeypatch.setattr(f"sys.{name}", streams[name])

    Output(as_json=True).result([value])
    Output(as_json=True).error("Kind", value, "mend it")
    monkeypatch.undo()

    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams.values())
    assert ([value], value) == (json.loads(out), json.loads(err)["error"]["message"])
    assert ("é" in out) == encoding.startswith(("utf-8", "UTF"))


def test_a_collection_begins_is_compacted_and_restored_by_five_commands(empty: CommandLine) -> None:
    """The way of a newcomer: init, compact, log, query, restore; every number is that of the store."""
    begun = empty("init", *WITH[:6], "--dimension", "3")
    compacted = empty.compact("first.json")
    listed = empty.at("log")
    found = empty.at("query", "--id", "USER#u#NOTE#b")
    restored = empty.at("restore", "--to", "out")

    assert (0, "notes: version 1 in store (0 records, 3 dimensions, cosine)\n") == (begun.code, begun.out)
    assert (0, ["first.json: 4 received, 4 applied, 0 no-op, 0 ignored, 0 failed",
                "  notes: version 2 published: records 3 added, 0 changed, 0 removed"]) == (
        compacted.code, compacted.out.splitlines())  # fmt: skip
    assert ["version", "2", "1"] == [line.split()[0] for line in listed.out.splitlines()[4:]]
    assert ["notes version 2: 1 records", "", "USER#u#NOTE#b", "  text of USER#u#NOTE#b", '  folder: "in"',
            '  of: "USER#u#NOTE#b"', '  title: "Title b"'] == found.out.splitlines()  # fmt: skip
    assert "notes version 2 with 3 records is in out\n" == restored.out
    with closing(sqlite3.connect(empty.home / "out" / "chroma.sqlite3")) as database:
        assert [("notes",)] == database.execute("SELECT name FROM collections").fetchall()


def test_a_dry_run_tells_and_publishes_nothing(cli: CommandLine) -> None:
    """What would happen is told; the store keeps its bytes. Standard input is an event like any file."""
    before = cli.contents()
    first = (cli.home / "first.json").read_text().replace('"Title a\\', '"Another\\')

    ended = cli.compact("--dry-run", "-", stdin=first)

    assert (0, "standard input: 4 received, 0 applied, 4 no-op, 0 ignored, 0 failed") == (
        ended.code,
        ended.out.splitlines()[0],
    )
    assert before == cli.contents()


def test_the_numbers_of_a_batch_add_up(cli: CommandLine) -> None:
    """D6: applied + no-op + failed + ignored = received, in the printed line and in JSON."""
    events = ["first.json", "second.json", "missing.json", "other.json"]

    reports = cli.compact("--json", *events).json

    assert events == [report["event"] for report in reports]
    for report in reports:
        parts = [report[name] for name in ("applied", "no_op", "failed", "ignored")]
        assert report["received"] == sum(parts)
    assert [0, 1, 1, 0] == [report["failed"] for report in reports]
    assert [0, 0, 0, 1] == [report["ignored"] for report in reports]


def test_a_mirror_receives_what_is_published_and_is_told(empty: CommandLine) -> None:
    """The line of a published version says what became of the mirror; a missing one costs nothing else."""
    (empty.home / "mirror").mkdir()
    empty("init", *WITH[:6], "--dimension", "3")

    reached = empty.compact("first.json", "--mirror", "mirror")
    missed = empty.compact("second.json", "--mirror", "nowhere")

    assert "  notes: mirror brought forward" in reached.out
    assert "  notes: version 3 published" in missed.out
    assert "  notes: mirror failed" in missed.out


def test_show_tells_one_version(cli: CommandLine) -> None:
    """An old version is shown as it was, beside what is the newest."""
    shown, value = cli.at("show", "--version", "2").out, cli.at("show", "--version", "2", "--json").json

    assert "notes version 2\n" in shown
    assert "version 3 is the newest, 1 the oldest kept" in shown
    assert (2, 3, 3) == (value["version"], value["head"]["version"], value["counts"]["records"])
    assert {"chroma/chroma.sqlite3", "ledger.sqlite3"} <= {entry["path"] for entry in value["files"]}


def test_verify_reads_every_object(cli: CommandLine) -> None:
    """Every version's objects are counted once."""
    ended, value = cli.at("verify", "--all"), cli.at("verify", "--all", "--json").json

    assert (0, 3) == (ended.code, value["stored"]["versions"])
    assert "sound: every digest, every page, 3 records" in ended.out


def test_a_query_finds_the_nearest_of_those_selected(cli: CommandLine) -> None:
    """A vector from the line or from a file, and Chroma's filter."""
    (cli.home / "vector.json").write_text("[2, 2, 2]")

    one = cli.at("query", "--vector", "[2, 2, 2]", "--where", '{"folder": "out"}', "--json").json
    two = cli.at("query", "--vector", "@vector.json", "-n", "2", "--json").json

    assert ["USER#u#NOTE#a"] == [record["id"] for record in one]
    assert 2 == len(two)
    assert all(isinstance(record["distance"], float) for record in two)


def test_records_are_shown_and_not_obeyed(cli: CommandLine) -> None:
    """Brackets are no markup, and control characters do not reach the terminal; JSON has the value itself."""
    shown = cli.at("query", "--id", "USER#u#NOTE#a", "--id", "nobody")
    value = cli.at("query", "--id", "USER#u#NOTE#a", "--json").json

    assert r'  title: "[b]Title[/b] \u001b[2J"' in shown.out
    assert "no record nobody\n" in shown.out
    assert "[b]Title[/b] \x1b[2J" == value[0]["metadata"]["title"]


def test_variables_stand_behind_the_options(cli: CommandLine) -> None:
    """A shell that exports the settings needs no options; an option stands above its variable."""
    for name, value in {"STORE": "store", "COLLECTION": "notes", "MAPPING": "notes.yaml", "DELTAS": "deltas"}.items():
        cli.monkeypatch.setenv(f"CHROMA_LIFECYCLE_{name}", value)

    assert 0 == cli("log").code
    assert 0 == cli("compact", "first.json", "--workspace", "workspace").code
    assert 2 == cli("log", "--collection", "other").code


def test_a_mapping_is_explained(empty: CommandLine) -> None:
    """mapping check says what it owns, and with events what they would do; one that fails exits 1."""
    owned = empty("mapping", "check", "notes.yaml")
    told = empty("mapping", "check", "notes.yaml", "first.json")
    partly = empty("mapping", "check", "notes.yaml", "second.json", "--json")

    assert (0, 0, 1) == (owned.code, told.code, partly.code)
    assert "collection notes: USER#{user}#NOTE#{note}" in owned.out
    assert '    title: "Title a"' in told.out
    assert ["message-1"] == [each["source"] for each in partly.json["unreadable"]]


@pytest.mark.parametrize("command", [["log"], ["show"], ["verify"], ["query", "--id", "x"]])
def test_json_is_one_value(cli: CommandLine, command: list[str]) -> None:
    """Programs get one value on standard output and nothing beside it."""
    ended = cli.at(*command, "--json")

    json.loads(ended.out)
    assert (1, "") == (ended.out.count("\n"), ended.err)


ROW = (1_000_000, "2026-11-24 00:23", "compact", 1_000_000, 12, 0, 2_000_000, "1.4 kB", "232.8 MB", "host process 12")
HEADINGS = ("version", "time (UTC)", "action", "added", "changed", "removed", "records", "stored", "size", "writer")


@pytest.mark.parametrize("width", [60, 70, 80, 100, 200, None])
def test_a_table_keeps_to_the_terminal(width: int | None) -> None:
    """Spare columns give way, the first named first; the numbers of a version never do."""
    lines = Table(HEADINGS, [ROW], spare=("writer", "size", "stored", "action", "time (UTC)")).lines(width)

    assert all(len(line) <= (width or 1_000) for line in lines)
    assert ("writer" in lines[0]) == (width in (200, None))
    assert "removed" in lines[0]
    assert lines == [line.rstrip() for line in lines]


def test_log_fits_80_columns(cli: CommandLine) -> None:
    """Versions, times, changes and records can be read in a terminal as it opens."""
    cli.monkeypatch.setattr("chroma_lifecycle.cli.output._width", lambda: 80)

    lines = cli.at("log").out.splitlines()

    assert "version  time (UTC)        action   added  changed  removed  records  stored" == lines[4]
    assert all(len(line) <= 80 for line in lines)


def test_log_draws_the_versions_with_the_oldest_on_the_left(cli: CommandLine) -> None:
    """Version 2 added three records, version 3 changed one, version 1 none; bars only where they can be shown."""
    lines = cli.at("log").out.splitlines()

    assert "records  ▁█▃  at most 3 changed" == lines[2]
    cli.monkeypatch.setattr("chroma_lifecycle.cli.sparkline._BARS", "\udcff")
    assert cli.at("log").out.startswith("version")


def test_log_tells_what_a_version_added_to_the_store(cli: CommandLine) -> None:
    """Of a new base only the parts that were not there before; of every version together, what lies there."""
    cli.at("rebase", "--workspace", "workspace")
    cli.compact("third.json")
    based = cli.at("rebase", "--workspace", "workspace", "--json").json

    rows = cli.at("log", "--json").json

    assert 0 < based["stored_bytes"] < based["base_bytes"]
    assert based["stored_bytes"] == rows[0]["stored_bytes"]
    objects = sum(len(data) for name, data in cli.contents().items() if "/objects/" in name)
    packs = sum(len(pack_inside(data, name)) for name, data in cli.contents().items() if "/manifests/" in name)
    assert objects + packs == sum(row["stored_bytes"] for row in rows)


def test_sizes_are_told_in_units_of_people() -> None:
    """Three digits at most before the point."""
    assert ["0 B", "999 B", "1.0 kB", "1.5 MB", "2.0 GB", "3000.0 TB"] == [
        size(count) for count in (0, 999, 1_000, 1_500_000, 2_000_000_000, 3 * 10**15)
    ]


def test_one_version_is_no_range() -> None:
    """Of one nothing is said from and to."""
    assert ("version 10", "versions 9 to 10") == (version_range(10, 10), version_range(9, 10))


def test_a_document_is_one_line() -> None:
    """The first line, cut, without control characters."""
    assert [r"a\x1bb", "abc…", ""] == [one_line("a\x1bb\nc", 9), one_line("abcdef", 4), one_line("", 4)]
