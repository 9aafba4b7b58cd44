"""A survey names everything that opening a delta would refuse, and nothing that it would take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chroma_lifecycle.deltas.checks import Expectation
from chroma_lifecycle.deltas.open import Survey, survey_delta
from chroma_lifecycle.deltas.sources import directory_deltas
from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput
from tests.support.deltas import left_in_scratch, opened, record, write_jsonl, write_parquet


def surveyed(root: Path, address: str, *, most: int = 100) -> Survey:
    scratch = root.with_name(f"{root.name}-scratch")
    scratch.mkdir(exist_ok=True)
    expected = Expectation("words", 3, None, lambda id_: not id_.startswith("x"))
    return survey_delta(address, directory_deltas(root), scratch, expected, most=most)


BAD = [
    record("a"),
    record("a"),
    record("x1", embedding=[1.0, 2.0], document="\0", metadata={"#": 1}),
    record(""),
    record("b", embedding=None),
    record("c", embedding=[1.0, float("inf"), 2.0]),
    record("d", document="x" * ((1 << 20) + 1)),
    record("e", metadata={"k": 1 << 64}),
    record("f"),
]
FOUND = [
    (2, "id"),
    (3, "id"),
    (4, "id"),
    (3, "vector"),
    (5, "vector"),
    (6, "vector"),
    (3, "document"),
    (7, "document"),
    (3, "metadata"),
    (8, "metadata"),
]


def test_every_problem_of_every_record_is_named(tmp_path: Path) -> None:
    """L16, C2: one record may have four; each is told with its number; a sound record between them has none."""
    write_parquet(tmp_path / "root" / "d.parquet", BAD)

    found = surveyed(tmp_path / "root", "d.parquet")

    assert sorted(FOUND) == sorted((each.record or 0, each.kind) for each in found.problems.listed)
    assert (9, 10, None) == (found.records, found.problems.total, found.digest)
    assert [] == left_in_scratch(tmp_path / "root")


@pytest.mark.parametrize("at", range(len(BAD)))
def test_a_survey_and_a_cycle_agree(tmp_path: Path, at: int) -> None:
    """A delta of one record has a problem in the survey if and only if opening it is refused, in the same words."""
    write_parquet(tmp_path / "root" / "d.parquet", [BAD[at]])

    found = surveyed(tmp_path / "root", "d.parquet").problems
    try:
        opened(tmp_path / "root", "d.parquet", fits=lambda id_: not id_.startswith("x"))
        refused = None
    except BadInput as problem:
        refused = problem.message

    assert refused == (found.listed[0].text if found.total else None)


def test_problems_are_counted_beyond_those_that_are_kept(tmp_path: Path) -> None:
    """A delta of ten thousand bad records is told in as many words as were asked for, and a count of each kind."""
    rows = [record(f"i{number}", embedding=[1.0]) for number in range(10_000)]
    write_jsonl(tmp_path / "root" / "d.jsonl", [*rows, record("i1", metadata=[1])])

    found = surveyed(tmp_path / "root", "d.jsonl", most=3).problems

    assert (10_002, 3) == (found.total, len(found.listed))
    assert {"vector": 10_000, "id": 1, "metadata": 1} == dict(found.counts)


def test_what_cannot_be_read_is_told_and_the_rest_is_looked_through(tmp_path: Path) -> None:
    """A torn line, an unknown name, a file that is none: each is a problem, and the other files are surveyed."""
    root = tmp_path / "root"
    write_jsonl(root / "run" / "1.jsonl", [record("a"), record("b", vector=[1]), record("x2")])
    with (root / "run" / "1.jsonl").open("a") as file:
        file.write('{"id": "c", "embed\n' + json.dumps(record("d")) + "\n")
    write_jsonl(root / "run" / "2.jsonl", [record("a")])
    write_parquet(root / "torn" / "1.parquet", [record("a")])
    (root / "torn" / "0.parquet").write_bytes(b"PAR1 nothing")

    lines, torn = surveyed(root, "run"), surveyed(root, "torn")

    assert {"file": 2, "id": 2} == dict(lines.problems.counts)
    assert 4 == lines.records
    texts = [each.text for each in lines.problems.listed]
    assert "line 2 is refused: 'vector' is none of a delta's names" in texts[0]
    assert "line 4 is refused" in texts[1]
    assert ["no sound Parquet file" in each.text for each in torn.problems.listed] == [True]
    assert 1 == torn.records


def test_a_content_that_its_writer_did_not_put_there_is_found(tmp_path: Path) -> None:
    """The digest in the footer is compared as a cycle compares it; of a sound delta it is told.

    Where records are bad, it says no more than they do.
    """
    (tmp_path / "root").mkdir()
    with DeltaWriter(tmp_path / "root" / "d.parquet", dimension=3) as writer:
        writer.add(["a", "b"], [[1.0, 2.0, 3.0]] * 2)
    good = (tmp_path / "root" / "d.parquet").read_bytes()
    digest = writer.result.digest.encode()
    (tmp_path / "root" / "e.parquet").write_bytes(good.replace(digest, digest[::-1]))

    sound, other = surveyed(tmp_path / "root", "d.parquet"), surveyed(tmp_path / "root", "e.parquet")

    assert (writer.result.digest, 0) == (sound.digest, sound.problems.total)
    assert ["content is not what its writer put there" in each.text for each in other.problems.listed] == [True]
    with DeltaWriter(tmp_path / "root" / "four.parquet", dimension=4) as writer:
        writer.add(["a"], [[1.0] * 4])
    assert {"vector": 1} == dict(surveyed(tmp_path / "root", "four.parquet").problems.counts)
