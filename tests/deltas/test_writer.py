"""The writer for the jobs that embed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chroma_lifecycle.deltas.writer import DeltaWriter
from chroma_lifecycle.errors import BadInput
from chroma_lifecycle.values import Scalar
from tests.support.deltas import opened, records_of, write_delta

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
documents = st.none() | text.map(lambda value: value.replace("\0", ""))
ids = st.lists(text.filter(bool), min_size=1, max_size=12, unique=True)
keys = text.filter(lambda key: key and key[0] not in "#$" and not key.startswith("chroma:"))
values = text | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
metadatas = st.none() | st.dictionaries(keys, st.none() | values, max_size=4)
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ids=ids, dimension=st.integers(1, 5), cut=st.integers(0, 12))
def test_what_is_written_is_what_is_opened(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, ids: list[str], dimension: int, cut: int
) -> None:
    """Ids, vectors, documents and metadata come back as they were, types included; nulls are left out."""
    root = tmp_path_factory.mktemp("root")
    vectors = [data.draw(st.lists(numbers, min_size=dimension, max_size=dimension)) for _ in ids]
    texts = [data.draw(documents) for _ in ids]
    metas: list[dict[str, Scalar | None] | None] = [data.draw(metadatas) for _ in ids]

    with DeltaWriter(root / "d.parquet", dimension=dimension) as writer:
        for part in (slice(0, cut), slice(cut, None)):
            writer.add(ids[part], vectors[part], texts[part], metas[part])
    delta = opened(root, "d.parquet", dimension=dimension)

    written = [
        {"id": id_, "embedding": vector, "document": document, "metadata": _without_nulls(metadata)}
        for id_, vector, document, metadata in zip(ids, vectors, texts, metas, strict=True)
    ]
    assert repr(written) == repr(records_of(delta))
    assert (len(ids), writer.result.digest) == (writer.result.count, delta.digest)
    assert (tuple(ids), dimension) == (delta.ids, delta.dimension)


def _without_nulls(metadata: dict[str, Scalar | None] | None) -> dict[str, Scalar | None]:
    return {key: metadata[key] for key in sorted(metadata) if metadata[key] is not None} if metadata else {}


def test_numpy_values_are_taken_as_what_they_are(tmp_path: Path) -> None:
    """Vectors and metadata of numpy's types need no conversion by the caller."""
    metadata = {"i": np.int64(7), "b": np.bool_(True), "f": np.float32(0.5)}
    with DeltaWriter(tmp_path / "d.parquet", dimension=2) as writer:
        writer.add(["a"], np.ones((1, 2), np.float64), None, [metadata])  # type: ignore[list-item]

    [record] = records_of(opened(tmp_path, "d.parquet", dimension=2))
    assert {"b": True, "f": 0.5, "i": 7} == record["metadata"]


def test_an_empty_delta_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """L23: an empty delta is an error of the job that wrote it, never a success with nothing."""
    with pytest.raises(BadInput, match="would be empty"), DeltaWriter(tmp_path / "d.parquet", dimension=3) as writer:
        writer.add([], [])

    assert [] == list(tmp_path.iterdir())


def test_an_error_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    """A delta that was half written cannot be announced."""
    with pytest.raises(ZeroDivisionError), DeltaWriter(tmp_path / "d.parquet", dimension=3) as writer:
        writer.add(["a"], [[1, 2, 3]])
        1 / 0  # noqa: B018

    assert [] == list(tmp_path.iterdir())
    with pytest.raises(BadInput, match="not complete"):
        writer.result  # noqa: B018


def test_the_name_appears_only_at_the_end(tmp_path: Path) -> None:
    """Until then its name begins with a dot, which readers of a directory of parts ignore."""
    with DeltaWriter(tmp_path / "d.parquet", dimension=3) as writer:
        writer.add(["a"], [[1, 2, 3]])
        assert [True] == [path.name.startswith(".d.parquet.") for path in tmp_path.iterdir()]

    assert ["d.parquet"] == [path.name for path in tmp_path.iterdir()]


def test_a_job_that_is_killed_leaves_no_delta(tmp_path: Path) -> None:
    """Kill -9 in the middle of writing: nothing is under the name, and the name can be written later."""
    script = f"""
import os, signal
from chroma_lifecycle.deltas.writer import DeltaWriter
with DeltaWriter({str(tmp_path / "run" / "d.parquet")!r}, dimension=3) as writer:
    writer.add([str(n) for n in range(5000)], [[1, 2, 3]] * 5000)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "run").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )

    assert -9 == done.returncode
    with pytest.raises(BadInput, match="there is no delta"):
        opened(tmp_path, "run")
    write_delta(tmp_path / "run" / "d.parquet", ["a"])
    assert ("a",) == opened(tmp_path, "run").ids


def test_a_delta_is_never_written_over(tmp_path: Path) -> None:
    """An address holds one content for ever."""
    before = write_delta(tmp_path / "d.parquet", ["a"])

    with pytest.raises(BadInput, match="exists already"):
        write_delta(tmp_path / "d.parquet", ["b"])

    assert before.digest == opened(tmp_path, "d.parquet").digest


def test_what_comes_outside_the_block_is_refused_and_not_lost(tmp_path: Path) -> None:
    """Before it, nothing is there to write to; after it, the delta is whole, and what is added would be in none."""
    writer = DeltaWriter(tmp_path / "d.parquet", dimension=2)
    with pytest.raises(BadInput, match="is not being written") as told:
        writer.add(["a"], [[1, 2]])
    assert "inside the `with` block" in told.value.hint
    with writer:
        writer.add(["a"], [[1, 2]])
    with pytest.raises(BadInput, match="is not being written"):
        writer.add(["b"], [[1, 2]])
    assert (1, 1) == (writer.count, writer.result.count)


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    """The writer makes no directories: a mistyped path is an error."""
    with pytest.raises(BadInput, match="there is no directory"), DeltaWriter(tmp_path / "x" / "d", dimension=3):
        pass


def test_a_call_that_fails_adds_nothing_and_can_be_made_again(tmp_path: Path) -> None:
    """The caller may leave out a bad record and go on."""
    with DeltaWriter(tmp_path / "d.parquet", dimension=3) as writer:
        with pytest.raises(BadInput, match=r"record 2 \('b'\) has a number in its vector"):
            writer.add(["a", "b"], [[1, 2, 3], [1, 2, math.nan]])
        writer.add(["a"], [[1, 2, 3]])

    assert ("a",) == opened(tmp_path, "d.parquet").ids


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((["a", "b"], [[1, 2, 3]]), "2 ids, 1 embeddings"),
        (("ab", [[1, 2, 3]] * 2), "ids is no list"),
        ((["a"], [["x", "y", "z"]]), "no list of numbers"),
        ((["a"], [[[1, 2, 3]]]), "no list of numbers"),
        ((["a"], [[True, False, True]]), "no list of numbers"),
        ((["a"], [[1, [2], 3]]), "no list of numbers"),
        ((["a"], [[1, 2]]), "a vector of 2 numbers; this writer has dimension 3"),
        ((["a", "a"], [[1, 2, 3]] * 2), "another record of the delta has too"),
        ((["a"], [[1, 2, 3]], ["x", "y"]), "2 documents"),
        ((["a"], [[1, 2, 3]], None, [{"n": 2**63}]), "past 64 bits"),
    ],
)
def test_the_writer_makes_the_compactors_checks(tmp_path: Path, arguments: tuple[object, ...], problem: str) -> None:
    """L16: the job that makes a bad record hears of it, not the compactor."""
    with pytest.raises(BadInput, match=problem), DeltaWriter(tmp_path / "d.parquet", dimension=3) as writer:
        writer.add(*arguments)  # type: ignore[arg-type]

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("dimension", [0, -1, 65_537])
def test_a_dimension_that_no_collection_has_is_refused(tmp_path: Path, dimension: int) -> None:
    """The dimension is a number from 1 to 65,536."""
    with pytest.raises(BadInput, match="dimension"):
        DeltaWriter(tmp_path / "d.parquet", dimension=dimension)


def test_the_digest_tells_contents_apart_and_nothing_else(tmp_path: Path) -> None:
    """The same records in another order and in other batches are the same content; the ledger compares digests."""
    rows = [("a", [1.0, 2.0], "x", {"k": 1}), ("b", [3.0, 4.0], None, {})]

    def digest(name: str, *batches: list[tuple[str, list[float], str | None, dict[str, Scalar]]]) -> str:
        with DeltaWriter(tmp_path / name, dimension=2) as writer:
            for batch in batches:
                columns = [list(column) for column in zip(*batch, strict=True)]
                writer.add(*columns)  # type: ignore[arg-type]
        return writer.result.digest

    same = {digest("1", rows), digest("2", rows[::-1]), digest("3", rows[:1], rows[1:])}
    others = {
        digest("4", rows[:1]),
        digest("5", [("a", [1.0, 2.5], "x", {"k": 1}), rows[1]]),
        digest("6", [("a", [1.0, 2.0], "y", {"k": 1}), rows[1]]),
        digest("7", [("a", [1.0, 2.0], "x", {"k": 1.0}), rows[1]]),
        digest("8", [("a", [1.0, 2.0], "x", {"k": True}), rows[1]]),
        digest("9", [rows[0], ("b", [3.0, 4.0], "", {})]),
        digest("10", [rows[0], ("c", [3.0, 4.0], None, {})]),
    }
    assert {"bf20"} == {value[:4] for value in same}, "a released digest never changes: ledgers hold it"
    assert (1, 7) == (len(same), len(others - same))
