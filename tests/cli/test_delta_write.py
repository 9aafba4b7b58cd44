"""``delta write``: by the command line, on directories and on S3, with a table, and wrong inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import MAPPING, CommandLine, Ended
from tests.support.deltas import record, write_jsonl, write_parquet
from tests.support.pipeline import Pipeline, cold
from tests.support.s3 import client, moto_url, new_bucket, use_server

IDS = [f"USER#u#NOTE#{name}" for name in "abc"]
KEY = ("--key", "user=u", "--key", "run=7")


def written(cli: CommandLine, source: str, *more: str) -> Ended:
    return cli("delta", "write", source, "--mapping", "notes.yaml", "--deltas", "out", *KEY, *more)


@pytest.fixture
def out(empty: CommandLine) -> CommandLine:
    (empty.home / "out").mkdir()
    return empty


def test_a_file_becomes_the_delta_of_a_run_once(out: CommandLine) -> None:
    """JSON Lines, then the same records as Parquet in another order: found there; another content is refused."""
    rows = [record(id_, metadata={"n": number}) for number, id_ in enumerate(IDS)]
    write_jsonl(out.home / "vectors.jsonl", rows)
    write_parquet(out.home / "vectors.parquet", rows[::-1])
    write_jsonl(out.home / "other.jsonl", rows[1:])

    first = written(out, "vectors.jsonl", "--dimension", "3", "--json")
    before = out.contents("out")
    again = written(out, "vectors.parquet", "--dimension", "3", "--json")
    other = written(out, "other.jsonl", "--dimension", "3")

    assert (0, 0, 2) == (first.code, again.code, other.code)
    assert (True, False) == (first.json["new"], again.json["new"])
    assert {"partition": "USER#u", "sort": "RUN#7"} == first.json["item"]
    assert (3, False, None) == (first.json["records"], first.json["begins"], first.json["table"])
    assert [f"out/{first.json['address']}"] == list(before)
    assert "exists already, with another content" in other.err
    assert before == out.contents("out")
    inspected = out("delta", "inspect", f"out/{again.json['address']}", "--json").json
    assert inspected["digest"] == out("delta", "inspect", "vectors.jsonl", "--json").json["digest"]


def test_a_delta_of_the_collections_own_dimension(out: CommandLine, cli: CommandLine) -> None:
    """Without --dimension the store says it; with neither it is asked for."""
    unknown = written(out, "deltas/run-1.parquet")
    known = written(out, "deltas/run-1.parquet", "--store", "store")
    wrong = written(out, "deltas/of-four.parquet", "--store", "store", "--address", "four.parquet")
    validated = cli("delta", "validate", "deltas/run-1.parquet", "--mapping", "notes.yaml", "--store", "store")

    assert (2, 0, 2, 0) == (unknown.code, known.code, wrong.code, validated.code)
    assert "give --store, where it lives, or else --dimension N" in unknown.err
    assert "collection 'notes' has dimension 3" in wrong.err
    assert "not announced: give --table, or put this address and PENDING into item USER#u, RUN#7" in known.out


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ((), "the run's key needs run"),
        (("--key", "run"), "--key 'run' gives no placeholder"),
        (("--key", "run=1", "--key", "user=v"), "--key 'user=v' gives no placeholder"),
        (("--key", "run=1", "--key", "note=1"), "--key 'note=1' gives no placeholder"),
        (("--key", "run=1", "--rule", "note"), "there is: none"),
        (("--key", "run=1", "--address", "../x.parquet"), "'..' segment"),
        (("--key", "run=1", "--address", "s3://other/x.parquet"), "lies outside"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_read(
    out: CommandLine, changes: tuple[str, ...], problem: str
) -> None:
    """The error says which value is meant; nothing is written."""
    ended = out(
        *("delta", "write", "deltas/run-1.parquet", "--mapping", "notes.yaml", "--deltas", "out", "--dimension", "3"),
        *("--key", "user=u", *changes),
    )

    assert (2, "") == (ended.code, ended.out)
    assert problem in ended.err
    assert {} == out.contents("out")


def test_bad_records_are_refused_whole(out: CommandLine) -> None:
    """L16: nothing is delivered of a file with one bad record, and the message names the delta that it would be."""
    write_jsonl(out.home / "bad.jsonl", [record(IDS[0]), record("USER#v#NOTE#a")])

    ended = written(out, "bad.jsonl", "--dimension", "3")

    assert 2 == ended.code
    assert "delta 'notes/USER_u_RUN_7" in ended.err
    assert "record 2 ('USER#v#NOTE#a') has an id that does not lie below its run's partition key" in ended.err
    assert {} == out.contents("out")


def test_one_command_goes_the_whole_way(empty: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a file in a bucket: the delta is delivered and announced, the function merges it, the item says COMPLETED.

    The same command afterwards changes nothing, and begins nothing.
    """
    use_server(monkeypatch, moto_url())
    pipeline = Pipeline()
    (tmp_path / "map.yaml").write_text(MAPPING)
    for name, value in pipeline.settings(tmp_path / "workspace", str(tmp_path / "map.yaml")).items():
        monkeypatch.setenv(name, value)
    assert 0 == empty("init", "--dimension", "3").code
    client().upload_file("deltas/run-1.parquet", pipeline.name, "made/vectors.parquet")
    command = ("delta", "write", f"s3://{pipeline.name}/made/vectors.parquet", *KEY)

    first = empty(*command, "--json")
    pipeline.drain()
    again = empty(*command)
    pipeline.drain()
    cold()

    assert (0, 0) == (first.code, again.code), first.err + again.err
    assert (True, True, pipeline.name) == (first.json["new"], first.json["begins"], first.json["table"])
    assert f"says so in {pipeline.name} already, or is completed: nothing begins" in again.out
    assert ("COMPLETED", "3") == (
        pipeline.item("USER#u", "RUN#7")["state"],
        pipeline.item("USER#u", "RUN#7")["merged"],
    )
    assert [2, 1] == [each["version"] for each in empty("log", "--json").json]


def test_the_other_commands_read_and_write_objects(empty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect, validate and convert take s3://bucket/key; a key that exists is never written over."""
    use_server(monkeypatch)
    bucket = new_bucket()
    client().upload_file("deltas/run-1.parquet", bucket, "a/run-1.parquet")
    source, target = f"s3://{bucket}/a/run-1.parquet", f"s3://{bucket}/b/run-1.jsonl"

    inspected = empty("delta", "inspect", source, "--json").json
    checked = empty("delta", "validate", source, "--mapping", "notes.yaml", "--dimension", "4", "--json")
    converted = empty("delta", "convert", source, target, "--json")
    again = empty("delta", "convert", f"{source}.not", target)  # refused before the source is looked at
    back = empty("delta", "inspect", target, "--json").json
    nothing = empty("delta", "inspect", f"s3://{bucket}/a/nothing.parquet")
    no_bucket = empty("delta", "inspect", "s3://no-such-bucket-here/x.parquet")

    assert (2, {"vector": 3}) == (checked.code, checked.json["by_kind"])
    assert inspected["digest"] == converted.json["digest"] == back["digest"]
    assert (2, 2, 2) == (again.code, nothing.code, no_bucket.code)
    assert f"{target} is there already" in again.err
    assert "there is no delta" in nothing.err
    assert ["a/run-1.parquet", "b/run-1.jsonl"] == [
        row["Key"] for row in client().list_objects_v2(Bucket=bucket)["Contents"]
    ]
