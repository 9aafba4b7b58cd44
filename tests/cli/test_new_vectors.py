"""New vectors for a collection that is not in shards, as a user gives them."""

from __future__ import annotations

from tests.support.command_line import CommandLine
from tests.support.deltas import write_delta

IDS = [f"USER#u#NOTE#{name}" for name in "abc"]


def test_every_record_gets_its_new_vector(cli: CommandLine) -> None:
    """By one version; one that lacks a vector is refused by name, and nothing is published."""
    (cli.home / "new").mkdir()
    write_delta(cli.home / "new" / "1.parquet", IDS[:2], 5)
    given = ("rebuild", "--workspace", "workspace", "--vectors", "new", "--dimension", "5")

    refused = cli.at(*given)
    write_delta(cli.home / "new" / "2.parquet", IDS[2:], 5)
    published = cli.at(*given, "--json")

    assert (2, "1 records of notes have no vector in") == (refused.code, refused.err[len("error: ") :][:36])
    assert f"'{IDS[2]}'" in refused.err
    assert (5, 3) == (published.json["dimension"], published.json["records"])
    assert published.json["version"] == cli.at("show", "--json").json["version"]
    assert "reembed" in cli.at("log").out
    assert 3 == len(cli.at("query", "--vector", "[1, 0, 0, 0, 0]", "-n", "9", "--json").json)


def test_wrong_use_is_told(cli: CommandLine) -> None:
    """One option without the other; a data set that is not there, or of another dimension; the command for shards."""
    rebuild = ("rebuild", "--workspace", "workspace")
    (cli.home / "new").mkdir()
    write_delta(cli.home / "new" / "1.parquet", IDS, 5)
    (cli.home / "lines.jsonl").write_text("{}")
    before = cli.contents()

    for options, said in (
        (("--vectors", "new"), "--vectors and --dimension go together"),
        (("--dimension", "5"), "--vectors and --dimension go together"),
        (("--vectors", "nowhere", "--dimension", "5"), "nowhere"),
        (("--vectors", "lines.jsonl", "--dimension", "5"), "data set 'lines.jsonl' is refused: it is no .parquet"),
        (("--vectors", "new", "--dimension", "6"), "5 numbers"),
    ):
        ended = cli.at(*rebuild, *options)
        assert (2, True) == (ended.code, said in ended.err), ended.err
    for_shards = cli.at("bulk", "reembed", "new", "--dimension", "5", "--mapping", "notes.yaml")
    assert "hint: `chroma-lifecycle bulk reshard --shards N` cuts it into shards" in for_shards.err
    assert "`chroma-lifecycle rebuild --vectors`" in for_shards.err
    assert before == cli.contents()
