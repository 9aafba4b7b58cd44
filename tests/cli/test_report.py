"""``report``: the page of a real store, and what is told when it cannot be made."""

from __future__ import annotations

from tests.support.command_line import CommandLine


def test_a_store_becomes_one_file(cli: CommandLine) -> None:
    """With a row for each version, newest first, and what is not well told on the terminal too."""
    ended = cli.at("report", "--output", "report.html")

    text = (cli.home / "report.html").read_text("utf-8")
    assert (0, "notes: 3 versions drawn in report.html") == (ended.code, ended.out.splitlines()[0])
    assert "The newest 3 of 3 versions" in text
    assert 3 == text.count("<tr><td>")
    assert ["report.html"] == [path.name for path in cli.home.glob("*report*")]


def test_an_older_page_is_replaced(cli: CommandLine) -> None:
    """The name stays for whoever has it in a bookmark."""
    (cli.home / "report.html").write_text("old")

    assert 0 == cli.at("report", "-o", "report.html", "--limit", "1").code
    assert "The newest 1 of 1 versions" in (cli.home / "report.html").read_text("utf-8")


def test_programs_get_the_checks(cli: CommandLine) -> None:
    """Each check has a state, a text, and a way out where there is something to do."""
    checks = cli.at("report", "-o", "report.html", "--mirror", "nowhere", "--json").json["checks"]

    assert {"state", "text", "way_out"} == set(checks[0])
    assert "bad" == checks[0]["state"]


def test_a_damaged_version_is_on_the_page(cli: CommandLine) -> None:
    """A page with what can be read helps more than an error without."""
    manifests = sorted((cli.home / "store" / "notes" / "manifests").iterdir())
    manifests[0].write_bytes(b"torn")

    ended = cli.at("report", "-o", "report.html")

    assert 0 == ended.code
    assert "History is broken" in ended.out
    assert "The newest 2 of 2 versions" in (cli.home / "report.html").read_text("utf-8")


def test_what_cannot_be_written_or_read_is_told(cli: CommandLine) -> None:
    """A directory, a place that is not there, a store without the collection (L13): an error, and no file."""
    assert "is a directory" in cli.at("report", "-o", ".").err
    assert "cannot be written" in cli.at("report", "-o", "no/such/report.html").err
    missing = cli.at("report", "-o", "report.html", store="deltas")
    assert (2, True) == (missing.code, "no HEAD" in missing.err)
    assert not (cli.home / "report.html").exists()
