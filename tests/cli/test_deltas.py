"""``delta inspect``, ``validate`` and ``convert``: by the command line, wrong inputs included."""

from __future__ import annotations

import tarfile

import pytest

from tests.support import bombs
from tests.support.command_line import CommandLine
from tests.support.deltas import record, write_jsonl

CHECKED = ("--mapping", "notes.yaml", "--dimension", "3")
IDS = [f"USER#u#NOTE#{name}" for name in "abc"]


def test_inspect_tells_types_and_no_content(empty: CommandLine) -> None:
    """Form, records, dimension, keys with their types, first ids; nothing of documents or values."""
    rows = [record("a", document="secret", metadata={"n": 1, "t": "hidden"}), record("b", metadata={"n": 1.5})]
    write_jsonl(empty.home / "two.jsonl", rows)

    told, shown = empty("delta", "inspect", "two.jsonl", "--json").json, empty("delta", "inspect", "two.jsonl")

    assert ("JSON Lines", 2, 3, ["a", "b"]) == (told["form"], told["records"], told["dimension"], told["first_ids"])
    assert {"n": {"integer": 1, "float": 1}, "t": {"text": 1}} == told["keys"]
    assert "secret" not in shown.out + str(told)
    assert "hidden" not in shown.out + str(told)


@pytest.mark.parametrize(
    "command",
    [("inspect", "bomb.parquet"), ("validate", "bomb.parquet", *CHECKED), ("convert", "bomb.parquet", "to.jsonl")],
)
def test_a_bomb_is_refused_with_its_numbers(empty: CommandLine, command: tuple[str, ...]) -> None:
    """C11: a file of a few kB that would unpack to 1.3 GB; nothing is written."""
    size = bombs.vectors(empty.home / "bomb.parquet", groups=100).stat().st_size

    ended = empty("delta", *command)

    assert 2 == ended.code
    assert f"its {size:,} bytes unpack to 1,310,834,900 or more; allowed: 268,435,456" in " ".join(
        (ended.out + ended.err).split()
    )
    assert not (empty.home / "to.jsonl").exists()


def test_forms_become_one_another_with_the_same_content(empty: CommandLine) -> None:
    """Parquet to JSON Lines and back: the digest of the content, which covers every bit of a record, is kept."""
    rows = [
        record("é\u2028", embedding=[0.1, -1e-30, 3e38], document='q"\n', metadata={"n": 1, "f": 1.0, "b": True}),
        record("b", document=None, metadata={}),
    ]
    write_jsonl(empty.home / "one.jsonl", rows)

    ends = [
        empty("delta", "convert", *names, "--json")
        for names in (("one.jsonl", "two.parquet"), ("two.parquet", "three.jsonl"))
    ]
    digests = {empty("delta", "inspect", name, "--json").json["digest"] for name in ("one.jsonl", "three.jsonl")}

    assert [0, 0] == [ended.code for ended in ends]
    assert digests == {ended.json["digest"] for ended in ends}
    assert 1 == len(digests)
    assert [] == list(empty.home.glob(".*.partial"))


def test_the_records_of_a_version_become_a_file(cli: CommandLine) -> None:
    """A restored directory, and a .tar.gz of it, are deltas: both give the same records."""
    assert 0 == cli.at("restore", "--to", "out").code
    with tarfile.open(cli.home / "out.tar.gz", "w:gz") as archive:
        archive.add(cli.home / "out", "out")

    unnamed = cli("delta", "convert", "out", "notes.parquet")
    files = [
        cli("delta", "convert", name, to, "-c", "notes", "--json").json
        for name, to in (("out", "notes.parquet"), ("out.tar.gz", "notes.jsonl"))
    ]

    assert "which collection is meant?" in unnamed.err
    assert [3, 3] == [file["records"] for file in files]
    assert files[0]["digest"] == files[1]["digest"]
    assert IDS == sorted(cli("delta", "inspect", "notes.jsonl", "--json").json["first_ids"])


@pytest.mark.parametrize(
    ("rows", "more", "problem"),
    [
        ([record(IDS[0], embedding=[1.0])], (), "collection 'notes' has dimension 3"),
        ([record("x")], (), "does not fit the mapping's pattern"),
        ([record(IDS[0]), record(IDS[0])], (), "another record of the delta has too"),
        ([record(IDS[0])], ("--below", "USER#v"), "does not lie below its run's partition key"),
        ([record(IDS[0], metadata={"#n": 1})], (), "which Chroma refuses"),
        ([record(IDS[0]) | {"text": "x"}], (), "none of a delta's names"),
    ],
)
def test_validate_refuses_what_a_cycle_would(
    empty: CommandLine, rows: list[dict[str, object]], more: tuple[str, ...], problem: str
) -> None:
    """By the mapping, the dimension and the run; the record is named, and the code is that of bad input."""
    write_jsonl(empty.home / "bad.jsonl", rows)

    ended = empty("delta", "validate", "bad.jsonl", *CHECKED, *more)
    told = empty("delta", "validate", "bad.jsonl", *CHECKED, *more, "--json")

    assert (2, 2) == (ended.code, told.code)
    assert problem in ended.out
    assert "1 problems" in ended.out
    assert 1 == told.json["problems"] == sum(told.json["by_kind"].values())


def test_validate_knows_the_space_from_the_store(cli: CommandLine) -> None:
    """L16: a vector without a direction is no problem of every collection, but of a cosine space."""
    write_jsonl(cli.home / "long.jsonl", [record(IDS[0], embedding=[0.0, 1e20, 0.0])])

    unknown = cli("delta", "validate", "long.jsonl", *CHECKED)
    known = cli("delta", "validate", "long.jsonl", "--mapping", "notes.yaml", "--store", "store")

    assert (0, 2) == (unknown.code, known.code)
    assert "a vector too long or too short for a cosine space" in known.out


def test_validate_names_every_problem_and_counts_the_rest(empty: CommandLine) -> None:
    """As many as were asked for are listed, by record; the others are counted; what they would say stays inside."""
    rows = [record(IDS[0]), *(record(f"x{number}\x1b[2J", document=None) for number in range(30))]
    write_jsonl(empty.home / "bad.jsonl", rows)

    ended = empty("delta", "validate", "bad.jsonl", *CHECKED, "--limit", "2")

    first, *listed = ended.out.splitlines()
    assert "31 records, 30 problems (id 30); no cycle would take it" in first
    assert ["record 2", "record 3", "and 28 more"] == [
        each for each, line in zip(("record 2", "record 3", "and 28 more"), listed, strict=False) if each in line
    ]
    assert "\x1b" not in ended.out


def test_validate_says_what_it_could_not_check(empty: CommandLine) -> None:
    """Without the run's key, where the ordering is exact, one check is left out, and told."""
    without = empty("delta", "validate", "deltas/run-1.parquet", *CHECKED)
    whole = empty("delta", "validate", "deltas/run-1.parquet", *CHECKED, "--below", "USER#u")

    assert (0, 0) == (without.code, whole.code)
    assert "not checked" in without.out
    assert "not checked" not in whole.out


def test_wrong_inputs_are_told_and_change_nothing(empty: CommandLine) -> None:
    """No delta, no form, a file that is there, no directory, unequal vectors, nothing in it."""
    write_jsonl(empty.home / "uneven.jsonl", [record("a"), record("b", embedding=[1.0])])
    (empty.home / "void.jsonl").write_text("")
    before = empty.contents("deltas")
    source = "deltas/run-1.parquet"

    assert "there is no delta 'nowhere'" in empty("delta", "inspect", "nowhere").err
    assert "which dimension does notes have?" in empty("delta", "validate", source, "--mapping", "notes.yaml").err
    assert "no form of delta" in empty("delta", "inspect", "notes.yaml").err
    assert "the first record has dimension 3" in empty("delta", "inspect", "uneven.jsonl").err
    assert "says no form" in empty("delta", "convert", source, "x.csv").err
    assert "is there already" in empty("delta", "convert", source, source).err
    assert "there is no directory" in empty("delta", "convert", source, "no/x.jsonl").err
    assert "is empty" in empty("delta", "convert", "void.jsonl", "x.jsonl").err
    assert 0 == empty("delta", "inspect", "void.jsonl", "--json").json["records"]
    assert "has no collection 'words'" in empty("delta", "validate", source, *CHECKED, "-c", "words").err
    assert before == empty.contents("deltas")
    assert not (empty.home / "x.jsonl").exists()
