"""``export --output`` and ``init --from FILE``: out and back by the command line, on a disk and through a bucket."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine
from tests.support.deltas import record, write_jsonl
from tests.support.s3 import client, new_bucket, use_server

QUESTION = ("query", "--vector", "[1.0, 2.0, 2.5]", "--json")


def test_out_and_back(cli: CommandLine) -> None:
    """The records of an older version, as JSON Lines: looked at, begun again in another store, and asked the same."""
    out = cli.at("export", "--output", "notes.jsonl", "--version", "2", "--json")
    again = cli.at("export", "-o", "notes.jsonl")
    inspected = cli("delta", "inspect", "notes.jsonl", "--json").json
    dry = cli("init", "--from", "notes.jsonl", "--store", "new", "-c", "notes", "--workspace", "w", "--dry-run")
    begun = cli("init", "--from", "notes.jsonl", "--store", "new", "-c", "notes", "--workspace", "w")
    answers = [cli.at(*QUESTION, store="new").json, cli.at(*QUESTION, "--version", "2").json]

    assert (0, 2, 0, 0) == (out.code, again.code, dry.code, begun.code)
    assert (2, 3, inspected["digest"]) == (out.json["version"], out.json["records"], out.json["digest"])
    assert ("notes", 2, "cosine") == tuple(inspected["origin"][name] for name in ("collection", "version", "space"))
    assert "notes.jsonl is there already" in again.err
    assert "exported from notes version 2, cosine" in cli("delta", "inspect", "notes.jsonl").out
    assert "notes: would be version 1 in new (3 records, 3 dimensions, cosine)" in dry.out
    assert "notes: version 1 in new (3 records, 3 dimensions, cosine)" in begun.out
    for each in (row for answer in answers for row in answer):
        each["distance"] = round(each["distance"], 5)
    assert answers[0] == answers[1]
    assert 3 == len(answers[0])


def test_through_a_bucket(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is an object, never written over another, and `init --from` reads it there."""
    use_server(monkeypatch)
    bucket = new_bucket()
    place = f"s3://{bucket}/out/notes.parquet"

    out, again = cli.at("export", "--output", place), cli.at("export", "--output", place)
    begun = cli("init", "--from", place, "--store", f"s3://{bucket}/snapshots", "-c", "notes", "--workspace", "w")

    assert (0, 2, 0) == (out.code, again.code, begun.code), out.err + begun.err
    assert ["out/notes.parquet"] == [
        row["Key"] for row in client().list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]
    ]
    assert f"  from {place}" in begun.out


def test_wrong_inputs_are_told_and_change_nothing(cli: CommandLine) -> None:
    """Both places, none, no form, no directory, no records, no such version; a store that has begun, a strange id."""
    cli.monkeypatch.setenv("CHROMA_LIFECYCLE_WORKSPACE", "w")
    empty = cli("init", "--store", "void", "-c", "notes", "--dimension", "3")
    assert 0 == cli.at("export", "-o", "notes.jsonl").code
    before = cli.contents()

    def said(*arguments: str) -> str:
        ended = cli(*arguments)
        assert (2, "") == (ended.code, ended.out), ended.err
        return ended.err

    at = ("--store", "store", "-c", "notes")
    assert 0 == empty.code
    assert "give --output FILE.parquet or FILE.jsonl, or --to PLACE" in said("export", *at)
    assert "exported as a file of records, or as a directory" in said("export", *at, "--to", "x", "-o", "x.jsonl")
    assert "says no form that is written" in said("export", *at, "-o", "notes.csv")
    assert "there is no directory" in said("export", *at, "-o", "no/notes.jsonl")
    assert "version 9 of notes is not there" in said("export", *at, "--version", "9", "-o", "x.jsonl")
    assert "has no records: there is nothing to take out" in said(
        "export", "--store", "void", "-c", "notes", "-o", "x.jsonl"
    )
    assert "is already initialised" in said("init", "--from", "notes.jsonl", *at)
    assert "there is no delta 'x.jsonl'" in said("init", "--from", "x.jsonl", "--store", "void2", "-c", "notes")
    assert "leave --space out" in said("init", "--from", "out", "--space", "l2", "--store", "void2", "-c", "notes")
    misfit = said("init", "--from", "notes.jsonl", "--store", "void2", "--mapping", "receipts", "-c", "words")
    assert "does not fit the mapping's pattern" in misfit
    write_jsonl(cli.home / "long.jsonl", [record("USER#u#NOTE#a", embedding=[1e20, 0.0, 0.0])])
    long = ("init", "--from", "long.jsonl", "--dry-run", "--store", "void2", "-c", "notes")
    assert "a vector too long or too short for a cosine space" in said(*long)
    assert 0 == cli(*long, "--space", "l2").code
    assert before == cli.contents()
    assert not (cli.home / "x.jsonl").exists()
